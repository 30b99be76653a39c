/** The console: the door (connect, or go and pair) and the room (sessions, chat, events). */

import { newSessionKey } from "../client/gateway.js";
import { Actions } from "./actions.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Door } from "./door.js";
import { EventLog } from "./eventlog.js";
import { Files } from "./files.js";
import { SESSION, USER, keep, kept } from "./keep.js";
import { Line } from "./line.js";
import { clientFor } from "./person.js";
import { openWhen, stickToEnd } from "./screen.js";
import { ServerLog } from "./serverlog.js";
import { SessionList } from "./sessions.js";
import { Transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);
const tell = (text) => ($("notice").textContent = text);

const CALLS = {
  rename: (key, label) => ["sessions.patch", { key, label }],
  compact: (key) => ["sessions.compact", { key }],
  delete: (key) => ["sessions.delete", { key }],
};

const log = new EventLog($("log"));
const line = new Line({ state: $("state"), banner: $("line"), text: $("line-text"), count: $("line-count"), queued: $("line-queued"), retry: $("retry") });
const serverLog = new ServerLog({ panel: $("server-panel"), list: $("server-log"), level: $("level"), pause: $("pause"), state: $("server-state") });
const composer = new Composer({
  form: $("composer"), text: $("message"), attach: $("attach"), picker: $("picker"), area: $("chat"), list: $("attachments"), tell,
  say: (text, media) => {
    conversation.send(text, media);
    line.changed();
  },
});
const actions = new Actions({
  menu: $("chat-menu"), dialog: $("ask"), title: $("ask-title"), text: $("ask-text"), name: $("ask-name"), label: $("ask-label"),
  yes: $("ask-yes"), no: $("ask-no"), tell, chat: () => ({ key: conversation.key, label: sessions.label(conversation.key) }),
  act: (action, key, label) => client.request(...CALLS[action](key, label)), done: (action, key, answer) => acted(action, key, answer),
});
const door = new Door({
  door: $("door"), form: $("connect"), user: $("user"), token: $("token"), enter: $("enter"), problem: $("problem"), pending: $("pending"),
  connect: (userId, token) => become(userId, token).start(),
});
let client, conversation, sessions, asked = "";

/** The page is this person's from here on. */
function become(userId, token) {
  if (client && client.state !== "idle") client.stop();
  client = clientFor(userId, token);
  door.follow(client, token);
  sessions = new SessionList({ client, list: $("sessions"), search: $("search"), choose: (key) => show(key) });
  const transcript = new Transcript($("messages").firstElementChild, new Files(client));
  conversation = new Conversation(client, { transcript, tell, changed, restore: (entries) => composer.restore(entries) });
  composer.follow(client, userId === asked);
  asked = userId;
  line.follow(client);
  serverLog.follow(client);
  listen();
  return client;
}

function listen() {
  client.on("state", (change) => stateChanged(change));
  client.on("retry", ({ delayMs, reason }) => log.add("retry", { delayMs, reason }));
  client.on("ready", (identity) => enter(identity));
  client.on("resumed", (news) => resumed(news));
  client.on("dropped", ({ method, reason }) => log.add(`dropped ${method}`, reason));
  client.on("event", (frame) => frame.event === "log" || log.event(frame)); // the server's log has its own panel
  client.on("agent", (event) => agentEvent(event));
  client.on("session.updated", () => listSessions());
  client.on("notice", (notice) => announced(notice));
  client.on("shutdown", () => tell("The server restarts; the connection comes back by itself."));
}

function stateChanged({ state, reason, error }) {
  log.add(`state ${state}`, reason);
  const inRoom = state === "ready" || (state === "reconnecting" && conversation.key !== "");
  $("room").hidden = !inRoom;
  $("disconnect").hidden = state !== "ready" && state !== "connecting" && state !== "reconnecting";
  $("attach").disabled = state !== "ready";
  if (state === "stopped") leave(error);
}

/** At the door again: nothing of this person stays on the screen. */
function leave(error) {
  conversation.clear();
  sessions.clear();
  serverLog.clear();
  actions.clear();
  $("announcement").hidden = true;
  log.clear();
  if (error) log.add("stopped", error.message);
}

// ------------------------------------------------------------------------------------ the room

function enter({ user_id: userId, role }) {
  line.name(`${userId || "no user id"} · ${role}`);
  listSessions();
  if (conversation.key) return; // back after a reconnect: `resumed` reads it again
  const last = kept("tab", SESSION);
  if (last) show(last);
  else newChat();
  if (userId !== asked) tell(`This browser acts for ${userId}, not for ${asked}.`);
  composer.focus();
}

async function resumed({ recovered, missed, reason }) {
  listSessions();
  await conversation.resumed(reason);
  line.changed();
  const back = reason === "reconnected" ? "Back." : "Caught up.";
  if (!recovered) tell(`${back} Some messages may be missing: the history was read again.`);
  else if (missed) tell(`${back} ${missed} new ${missed === 1 ? "message" : "messages"}.`);
  else if (reason === "reconnected") tell("Back. Nothing was missed.");
}

function announced({ text, by }) {
  $("announcement-text").textContent = by ? `${by}: ${text}` : text;
  $("announcement").hidden = false;
}

async function listSessions() {
  try {
    await sessions.refresh();
    entitle();
  } catch (error) {
    log.add("sessions.list failed", error.message);
  }
}

function entitle() {
  $("chat-title").textContent = sessions.label(conversation.key);
  $("chat-menu").hidden = !sessions.has(conversation.key);
  $("to-session").href = `/sessions/#${encodeURIComponent(conversation.key)}`;
}

function show(key, options) {
  keep("tab", SESSION, key);
  sessions.mark(key);
  conversation.open(key, options);
  entitle();
  changed();
}

function newChat() {
  show(newSessionKey(), { stored: false });
  composer.focus();
}

function acted(action, key, { message, kept, original }) {
  listSessions();
  if (key !== conversation.key) return;
  if (action === "delete") newChat();
  if (action !== "compact") return;
  conversation.refresh();
  tell(message ?? `Compacted: ${kept} of ${original} messages stay.`);
}

function agentEvent(event) {
  conversation.heard(event);
  if (event.type.startsWith("run.")) listSessions();
}

function changed() {
  const running = conversation.runId !== "";
  if (!running && document.activeElement === $("abort")) composer.focus();
  $("abort").hidden = !running;
}

$("new").addEventListener("click", () => newChat());
$("abort").addEventListener("click", () => conversation.abort());
$("disconnect").addEventListener("click", () => client.stop());
$("retry").addEventListener("click", () => client.start());
$("heard").addEventListener("click", () => {
  $("announcement").hidden = true;
  composer.focus();
});
addEventListener("beforeunload", (event) => {
  if (client.queued || composer.busy) event.preventDefault(); // it would be lost with the page
});

for (const sign of ["online", "offline"]) addEventListener(sign, () => conversation.redraw());
for (const list of [$("messages"), $("log-panel"), $("server-panel")]) stickToEnd(list);
openWhen("(min-width: 50.01rem)", $("sessions-panel"));
openWhen("(min-width: 70rem)", $("log-panel"));
become(kept("local", USER), "");
door.arrive();
