/** The pairing page: ask for a code, show it, and move on by itself when it is approved. */

import { ASK, CODE, ENDED, USER, keep, kept } from "./keep.js";
import { NO_ROOM, clientFor, isPaired } from "./person.js";

const HOME = "/"; // fixed: never taken from the address
const TICK_MS = 1000;
const ANNOUNCED = new Set([30, 10, 5, 1]); // minutes left that are said aloud
const NO_STORAGE =
  "This browser does not let the page remember anything, so it cannot be paired. Connect with a token instead.";
const DENIED = "The request was denied, or nobody approved it in time. Talk to an administrator, then ask again.";
const WORDS = {
  connecting: "Connecting…",
  pairing: "Waiting for approval.",
  reconnecting: "The connection is lost. Trying again…",
};

const $ = (id) => document.getElementById(id);
const ttlMs = Number($("pairing").dataset.ttlS) * 1000;
let client, ticking;

/** Show one part of the page: ask, waiting or already. */
function show(part) {
  for (const id of ["ask", "waiting", "already"]) $(id).hidden = id !== part;
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = text === "";
}

function begin(userId) {
  client?.stop();
  client = clientFor(userId);
  client.on("state", ({ state, error }) => stateChanged(state, error));
  client.on("pairing", ({ status, code }) => (status === "approved" ? say("Approved. Moving on…") : code && tell(code)));
  client.on("ready", (identity) => admitted(identity));
  client.start();
}

function say(text) {
  $("status").textContent = text;
}

function stateChanged(state, error) {
  if (WORDS[state]) say(WORDS[state]);
  if (state === "stopped" && error) refused(error);
}

/** `already`: it was paired before this page was opened. */
let already = isPaired();

function admitted({ user_id: userId }) {
  keep("local", CODE, "");
  if (!already) return location.replace(HOME);
  say("");
  $("who").textContent = userId || "nobody yet";
  show("already");
}

function refused({ code, message }) {
  clearInterval(ticking);
  keep("local", CODE, "");
  already = false;
  say("");
  const over = kept("local", ENDED);
  if (code === "NOT_PAIRED") problem(DENIED);
  else problem(over || (code === "UNAUTHORIZED" ? NO_ROOM : message));
  $("again").textContent = code === "NOT_PAIRED" ? "Ask again" : "Ask for a code";
  show("ask");
  $("user").focus();
}

// ------------------------------------------------------------------------------------ the code

function tell(code) {
  problem("");
  const halves = [code.slice(0, 4), code.slice(4)].map((half) => {
    const span = document.createElement("span");
    span.textContent = half;
    return span;
  });
  $("code").replaceChildren(...halves);
  show("waiting");
  $("copied").textContent = "";
  $("copy").focus({ preventScroll: true });
  count(firstShown(code));
}

/** When this code was first shown, over reloads too: the server does not say when it ends. */
function firstShown(code) {
  const [known, since] = kept("local", CODE).split(" ");
  if (known === code && Number(since) <= Date.now()) return Number(since);
  const now = Date.now();
  keep("local", CODE, `${code} ${now}`);
  return now;
}

function count(since) {
  clearInterval(ticking);
  let said = Infinity;
  const tick = () => {
    const left = Math.max(0, Math.ceil((since + ttlMs - Date.now()) / 1000));
    const minutes = Math.floor(left / 60);
    $("left").textContent = left ? `Valid for about ${minutes}:${String(left % 60).padStart(2, "0")}` : "About to expire";
    if (left % 60 === 0 && ANNOUNCED.has(minutes) && minutes < said) say(`Waiting for approval. About ${(said = minutes)} min left.`);
  };
  tick();
  ticking = setInterval(tick, TICK_MS);
}

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("code").textContent);
    $("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("code")); // no clipboard without TLS: ready to be copied by hand
    $("copied").textContent = "Selected: copy it with Ctrl+C.";
  }
});

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const userId = $("user").value.trim();
  if (!keep("local", USER, userId)) return problem(NO_STORAGE);
  keep("local", ENDED, "");
  problem("");
  begin(userId);
});

$("cancel").addEventListener("click", () => {
  clearInterval(ticking);
  client.stop();
  show("ask");
  say("");
  $("user").focus();
});

// ------------------------------------------------------------------------------------- arrival

const asked = kept("tab", ASK) !== "";
keep("tab", ASK, "");
$("user").value = kept("local", USER);
const waits = kept("local", CODE) !== "" && !already; // a code was on this screen before a reload
if (already || waits || (asked && $("user").value)) begin($("user").value);
else {
  problem(kept("local", ENDED));
  show("ask");
}
