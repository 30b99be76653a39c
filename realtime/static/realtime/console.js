/** The console: the door (connect or pair) and the room (sessions, chat, events). */

import { GatewayClient, newSessionKey } from "../client/gateway.js";
import { Conversation } from "./conversation.js";
import { EventLog } from "./eventlog.js";
import { stickToEnd } from "./scrolling.js";
import { SessionList } from "./sessions.js";

const USER = "trunkline.user"; // in localStorage: who was here last; no secret
const SESSION = "trunkline.session"; // in sessionStorage: what this tab shows
const NAMES = {
  idle: "Not connected",
  connecting: "Connecting…",
  pairing: "Waiting for approval",
  reconnecting: "Reconnecting…",
  stopped: "Not connected",
};

const $ = (id) => document.getElementById(id);
const log = new EventLog($("log"));
let client, conversation, sessions;

function remember(storage, key, value) {
  try {
    if (value === undefined) return storage().getItem(key) ?? "";
    storage().setItem(key, value);
  } catch {
    // Forbidden by the reader: the page works, and forgets.
  }
  return "";
}

const local = () => localStorage;
const tab = () => sessionStorage;

/** A client for this person; the token lives in this closure and nowhere else. */
function become(userId, token) {
  if (client && client.state !== "idle") client.stop();
  client = new GatewayClient({ userId, token: () => token });
  sessions = new SessionList({ client, list: $("sessions"), choose: (key) => show(key) });
  conversation = new Conversation(client, { list: $("messages"), notice: $("notice"), changed, restore });
  client.on("state", (change) => stateChanged(change));
  client.on("retry", ({ delayMs, reason }) => log.add("retry", { delayMs, reason }));
  client.on("pairing", ({ code }) => code && ($("code").textContent = code));
  client.on("ready", (identity) => enter(identity));
  client.on("resumed", () => readAgain());
  client.on("event", ({ event, payload }) => log.add(event, payload));
  client.on("agent", (payload) => agentEvent(payload));
  client.on("session.updated", () => listSessions());
}

// ------------------------------------------------------------------------------------ the door

function tellState(text) {
  $("state").textContent = text;
}

function stateChanged({ state, reason, error }) {
  $("state").dataset.state = state === "stopped" && !error ? "idle" : state;
  if (NAMES[state]) tellState(NAMES[state]);
  log.add(`state ${state}`, reason);
  const inRoom = state === "ready" || (state === "reconnecting" && conversation.key !== "");
  $("door").hidden = inRoom || state === "connecting" || state === "pairing";
  $("waiting").hidden = state !== "pairing";
  $("room").hidden = !inRoom;
  $("retry").hidden = state !== "reconnecting";
  $("disconnect").hidden = state !== "ready" && state !== "connecting" && state !== "reconnecting";
  nameEntrance();
  $("send").disabled = state !== "ready";
  if (state === "pairing") $("code").focus();
  if (state === "stopped") leave(error);
}

function leave(error) {
  conversation.clear();
  sessions.clear();
  problem(error ? error.message : "");
  $("user").focus();
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = text === "";
}

$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  const userId = $("user").value.trim();
  const token = $("token").value;
  $("token").value = "";
  problem("");
  remember(local, USER, userId);
  become(userId, token);
  client.start();
});

// What the button will do: only a first visit without a token asks an administrator.
function nameEntrance() {
  const known = client.hasDevice || $("token").value !== "";
  $("enter").textContent = known ? "Connect" : "Pair this browser";
  $("forget").hidden = !client.hasDevice;
}

$("token").addEventListener("input", nameEntrance);
$("forget").addEventListener("click", () => {
  client.forgetDevice();
  problem("");
  nameEntrance();
});
$("cancel").addEventListener("click", () => client.stop());
$("disconnect").addEventListener("click", () => client.stop());
$("retry").addEventListener("click", () => client.start());

// ------------------------------------------------------------------------------------ the room

function enter({ user_id: userId, role }) {
  tellState(`${userId || "no user id"} · ${role}`);
  if (conversation.key) return; // back after a reconnect: `resumed` reads it again
  listSessions();
  const last = remember(tab, SESSION);
  if (last) show(last);
  else newChat();
  const asked = $("user").value.trim();
  if (userId !== asked) $("notice").textContent = `This browser acts for ${userId}, not for ${asked}.`;
  $("message").focus();
}

function readAgain() {
  listSessions();
  conversation.refresh();
}

async function listSessions() {
  try {
    await sessions.refresh();
    $("chat-title").textContent = sessions.label(conversation.key);
  } catch (error) {
    log.add("sessions.list failed", error.message);
  }
}

function show(key, options) {
  remember(tab, SESSION, key);
  sessions.mark(key);
  $("chat-title").textContent = sessions.label(key);
  conversation.open(key, options);
  changed();
}

function newChat() {
  show(newSessionKey(), { stored: false });
  $("message").focus();
}

function agentEvent(payload) {
  conversation.heard(payload);
  if (payload.type.startsWith("run.")) listSessions();
}

function changed() {
  const running = conversation.runId !== "";
  if (!running && document.activeElement === $("abort")) $("message").focus();
  $("abort").hidden = !running;
}

/** Give unsent text back, without touching what is being typed. */
function restore(text) {
  const { value } = $("message");
  $("message").value = value ? `${text}\n${value}` : text;
}

$("new").addEventListener("click", () => newChat());
$("abort").addEventListener("click", () => conversation.abort());

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  if (!text || client.state !== "ready") return;
  $("message").value = "";
  conversation.send(text);
});

$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

stickToEnd($("messages"));
stickToEnd($("log").closest("aside"));

// A narrow screen shows the chat first; a turned or resized one is asked again.
function openWhen(query, panel) {
  const room = matchMedia(query);
  const follow = () => (panel.open = room.matches);
  room.addEventListener("change", follow);
  follow();
}

openWhen("(min-width: 50.01rem)", $("sessions-panel"));
openWhen("(min-width: 70rem)", $("log-panel"));

const userId = remember(local, USER);
$("user").value = userId;
become(userId, "");
if (client.hasDevice) client.start();
else stateChanged({ state: "idle" });
