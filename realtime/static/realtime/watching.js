/** The page of sessions: the door, the list, and one session as 002 tells it, to watch and to steer. */

import { GatewayClient, newId } from "../client/gateway.js";
import { SessionClient } from "../client/sessions.js";
import { Actions } from "./actions.js";
import { Here } from "./here.js";
import { SESSION, USER, keep, kept } from "./keep.js";
import { Line } from "./line.js";
import { isPaired } from "./person.js";
import { Questions } from "./questions.js";
import { tryingAgain } from "./runs.js";
import { openWhen, stickToEnd } from "./screen.js";
import { SessionLog } from "./sessionlog.js";
import { answerOf, Visa } from "./visa.js";
import { SessionRows } from "./sessionrows.js";

const LOOK_AGAIN_MS = 10_000; // at the list, and at who is here
const REFUSED = 4003;
const OUT = "You are not let in any more. Log in again.";
const PING_MS = 10_000; // a line that has died is noticed within twice that
const STORED = new Set(["user", "assistant", "result", "system"]);
const BEGINS_WORK = new Set(["user", "assistant", "stream_event", "control_request"]);
const AT_WORK = new Set(["running", "requires_action"]);
const BY_WORKER = new Set(["assistant", "stream_event", "tool_progress", "control_request"]);
const STATUS = { compacting: () => "The agent shortens what it remembers…", retrying: tryingAgain };

const $ = (id) => document.getElementById(id);

const line = new Line({ state: $("state"), banner: $("line"), text: $("line-text"), count: $("line-count"), queued: $("line-queued"), retry: $("retry") });
const log = new SessionLog($("messages").firstElementChild);
const questions = new Questions($("questions"), {
  answer: (id, response) => client.answer(id, response),
  connected: () => client.isConnected(),
  late: () => tell("Your answer came too late: the question was settled already."),
  changed: (count, held) => {
    if (held) $("message").focus();
    asked = count;
    title();
  },
});
const here = new Here({ people: $("here"), hint: $("waits"), read: (id) => call(`/${encodeURIComponent(id)}/watchers`), known: (key) => nameInConsole(key) });
const actions = new Actions({
  menu: $("chat-menu"), dialog: $("ask"), title: $("ask-title"), text: $("ask-text"), name: $("ask-name"), label: $("ask-label"),
  yes: $("ask-yes"), no: $("ask-no"), tell, chat: () => ({ key: current, label: rows.title(current) }), act: (...asked) => change(...asked), done: () => rows.refresh(),
});
const rows = new SessionRows({ list: $("sessions"), search: $("search"), more: $("more"), archived: $("archived"), read: (query) => call(query), choose: (id) => open(id), changed: () => listed() });
let visa = null;
let who = "";
let client = null;
let current = "";
let working = false;
let renewed = false; // the token, since the line was ready last
let replayed = 0; // events, until all that was stored is told; then null
let toldAt = 0; // by the socket, or by the person
let asked = 0; // questions on the screen
let sought = ""; // what is being looked for, to be opened
let passing = false; // what is told ends with the next word

function tell(text, passes = false) {
  $("notice").textContent = text;
  passing = passes;
}

// ------------------------------------------------------------------------------------ the door

async function enter() {
  const [user, password, token] = ["user", "password", "token"].map((id) => $(id).value.trim());
  $("enter").disabled = true;
  complain("");
  try {
    visa = password && !token ? await Visa.logIn(user, $("password").value) : shown(user, token);
    await rows.refresh();
    keep("local", USER, user);
    come(user);
  } catch (error) {
    const nothing = !password && !token && error.status === 401;
    complain(nothing ? "Enter your password, or a token." : error.message);
  }
  $("enter").disabled = false;
}

/** A token, or that this browser is paired. */
function shown(user, token) {
  const person = new GatewayClient({ userId: user, token: () => token });
  return { headers: () => person.credentials(), distrust: () => {}, over: "" };
}

function come(user) {
  who = user;
  $("password").value = $("token").value = "";
  $("door").hidden = true;
  $("room").hidden = $("disconnect").hidden = false;
  idle();
  const [first = ""] = rows.ids;
  seek(named() || first);
}

/** At the door again: nothing of this person stays on the screen. */
function leave(words) {
  visa = null;
  close();
  rows.clear();
  actions.clear();
  history.replaceState(null, "", location.pathname);
  $("door").hidden = false;
  $("room").hidden = $("disconnect").hidden = true;
  $("state").dataset.state = "idle";
  line.name("Not connected");
  $("message").value = "";
  complain(words);
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = text === "";
}

/** Who one is, while no session is open. */
function idle() {
  $("state").dataset.state = "ready";
  line.name(who || "Connected");
}

/** An answer of the server's. Throws what it says instead. */
async function call(path, { method = "GET", body, keepCookie = false } = {}) {
  const headers = { ...(await visa.headers()), "Content-Type": "application/json" };
  const credentials = keepCookie ? "same-origin" : "omit";
  return answerOf(fetch(`/v1/sessions${path}`, { method, headers, credentials, body: body && JSON.stringify(body) }));
}

// ------------------------------------------------------------------------------------ one session

/** What the address names. */
function named() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

/** By its id, or by the name that it has in the console. */
async function seek(name) {
  sought = name;
  if (!name || rows.ids.includes(name)) return open(name);
  try {
    const found = await call(`/${encodeURIComponent(name)}`);
    if (name !== sought) return;
    rows.learn(found);
    open(found.id);
  } catch (error) {
    if (name !== sought) return;
    if (error.status === 401) leave(OUT);
    else lost(error.message);
  }
}

function open(id) {
  sought = "";
  if (!id || id === current) return;
  close();
  current = id;
  renewed = false;
  replayed = 0;
  // The way back leads through the sessions that were open.
  const address = `#${encodeURIComponent(id)}`;
  const move = rows.ids.includes(named()) && location.hash !== address ? "pushState" : "replaceState";
  history[move](null, "", address);
  rows.mark(id);
  $("chat").hidden = $("composer").hidden = false;
  const mine = new SessionClient({ session: id, replay: true, maxRetries: Infinity, pingMs: PING_MS, token: () => pass(id) });
  client = mine;
  line.follow(mine);
  listed();
  const heeded = (listener) => (detail) => mine === client && listener(detail);
  mine.on("state", heeded((change) => stateChanged(change)));
  mine.on("message", heeded((frame) => heard(frame)));
  mine.on("resumed", heeded((news) => resumed(news)));
  mine.on("rtt", heeded(({ ms }) => ($("rtt").textContent = `${ms} ms`)));
  mine.start();
}

function close() {
  const over = client;
  client = null;
  over?.stop();
  current = "";
  log.clear();
  questions.clear();
  work(false);
  here.clear();
  $("to-console").hidden = true;
  $("line").hidden = $("measure").hidden = $("chat").hidden = true;
  tell("");
}

/** A cookie that opens the socket, for each attempt anew. */
async function pass(id) {
  try {
    await call(`/${encodeURIComponent(id)}/pass`, { method: "POST", keepCookie: true });
  } catch (error) {
    if (id !== current) return "";
    if (visa?.over) leave(visa.over);
    else if (error.status === 401) leave(OUT);
    else if (error.status === 404 || error.status === 403) lost(error.message);
    else throw error;
  }
  return "";
}

function lost(words) {
  close();
  idle();
  $("chat").hidden = false;
  $("composer").hidden = $("chat-menu").hidden = true;
  $("chat-title").textContent = "No such session";
  log.hear({ type: "system", subtype: "informational", content: words });
  history.replaceState(null, "", location.pathname);
}

function stateChanged({ state, error, code }) {
  $("measure").hidden = state !== "ready";
  if (state === "ready") {
    renewed = false;
    if (replayed >= $("chat").dataset.most) log.precede(`Here are the newest ${replayed} events; earlier ones are not shown.`);
    replayed = null;
    line.name(who || "Connected");
    questions.delivered();
    rows.soon();
    here.look(current);
  } else if (state === "reconnecting") {
    log.doubt();
    here.clear();
  } else if (state === "stopped" && code === REFUSED && !renewed) {
    log.doubt();
    renewed = true; // a token lasts minutes, a session all day: once more, with another
    visa.distrust();
    client.start();
  } else if (state === "stopped" && code) leave(error?.message ?? "The connection was ended.");
}

function heard(frame) {
  const { type } = frame;
  toldAt = Date.now();
  if (replayed !== null && STORED.has(type)) replayed += 1;
  if (BEGINS_WORK.has(type)) work(true);
  if (type === "result") work(false);
  if (type === "result" || type === "session_status") rows.soon();
  if (type === "control_request") questions.ask(frame);
  else if (type === "control_cancel_request") questions.settle(frame.request_id);
  else if (type === "control_response") refused(frame.response);
  else if (type === "session_status") work(AT_WORK.has(frame.status));
  else log.hear(frame, replayed === null);
  if (BY_WORKER.has(type) && here.served()) here.look(current);
  if (type === "system" && frame.subtype === "status") tell(STATUS[frame.status]?.(frame) ?? "", true);
  else if ((type === "stream_event" || type === "assistant" || type === "result") && passing) tell("");
}

/** What the server did not take, by the name that we gave it. */
function refused({ subtype, request_id: id, error } = {}) {
  if (subtype === "error" && id) questions.refuse(id, error);
}

function resumed({ recovered, missed }) {
  line.changed();
  if (recovered && !missed && renewed) return; // it was not away
  const events = `${missed} new ${missed === 1 ? "event" : "events"}`;
  if (!recovered) tell("Back. Something may be missing before what came last: reload the page to see all.");
  else tell(missed ? `Back. ${events}, nothing was missed.` : "Back. Nothing was missed.");
}

function work(now) {
  working = now;
  if (!now && document.activeElement === $("abort")) $("message").focus();
  $("abort").hidden = !now;
}

function listed() {
  title();
  if (!client) return;
  $("chat-title").textContent = rows.title(current) || "Session";
  $("chat-menu").hidden = false;
  const status = rows.status(current);
  const away = status === "archived";
  here.archived(away);
  $("away").value = away ? "restore" : "archive";
  $("away").textContent = away ? "Take out of the archive" : "Archive";
  if (status && client.isConnected() && rows.since > toldAt) work(AT_WORK.has(status));
}

/** How many sessions ask something is seen from another tab, too. */
function title() {
  const elsewhere = rows.asking.filter((id) => id !== current).length;
  const asking = elsewhere + (asked ? 1 : 0);
  document.title = `${asking ? `(${asking}) ` : ""}Sessions · Trunkline`;
}

/** The console opens the chat that its tab had open last. */
function nameInConsole(key) {
  $("to-console").hidden = false;
  $("to-console").onclick = () => keep("tab", SESSION, key);
}

/** Rename a session, put it away, or take it out again. */
async function change(action, id, title) {
  const body = { rename: { title }, archive: { session_status: "archived" }, restore: { session_status: "idle" } }[action];
  rows.learn(await call(`/${encodeURIComponent(id)}`, { method: "PATCH", body }));
  listed();
}

async function lookAgain() {
  if (!visa || document.hidden) return;
  try {
    await rows.refresh();
  } catch (error) {
    if (error.status === 401 && visa) leave(visa.over || OUT);
  }
  if (client?.isConnected()) here.look(current);
}

// ------------------------------------------------------------------------------------ what is said

function say() {
  const text = $("message").value.trim();
  if (!text || !client) return;
  $("message").value = "";
  const uuid = newId();
  toldAt = Date.now();
  const [session, to] = [current, client];
  log.waits(uuid, text);
  tell("");
  to.sendMessage(text, uuid).catch(({ message }) => {
    if (session !== current || to !== client) return;
    log.forget(uuid);
    $("message").value = [text, $("message").value].filter(Boolean).join("\n"); // given back
    tell(`Not sent: ${message}`);
    line.changed();
  });
  to.ping(); // a line that has died is noticed soon when there is something to say
  line.changed();
}

async function interrupt() {
  tell("");
  try {
    await client.sendControlRequest({ subtype: "interrupt" });
    if (working) tell("Asked to stop.", true);
  } catch ({ message }) {
    tell(message);
  }
}

async function begin() {
  $("new").disabled = true;
  try {
    const made = await call("", { method: "POST", body: { agent: $("agent").value } });
    await rows.refresh();
    open(made.id);
    $("message").focus();
  } catch ({ message }) {
    tell(message);
  }
  $("new").disabled = false;
}

$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  enter();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  say();
});
$("abort").addEventListener("click", () => interrupt());
$("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
$("disconnect").addEventListener("click", () => leave(""));
$("retry").addEventListener("click", () => client?.start());
$("measure").addEventListener("click", () => client?.ping());
addEventListener("hashchange", () => visa && named() && seek(named()));
addEventListener("beforeunload", (event) => {
  if (client?.queued) event.preventDefault(); // it would be lost with the page
});
setInterval(() => lookAgain(), LOOK_AGAIN_MS);
document.addEventListener("visibilitychange", () => lookAgain());
stickToEnd($("messages"));
openWhen("(min-width: 50.01rem)", $("sessions-panel"));
$("user").value ||= kept("local", USER);
$("enter").disabled = false;
if (isPaired() && $("user").value) enter();
