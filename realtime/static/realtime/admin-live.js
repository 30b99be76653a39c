/**
 * A page that changes by itself: a hint comes over `/admin/ws`, the page reads itself again.
 *
 * Nothing is shown that the server would not show to this person at this address. Without this
 * script the page works as any other.
 */

import { ResilientSocket } from "../client/gateway.js";
import { update, watchChoices } from "./admin-rows.js";
import { tick } from "./admin-times.js";

const LOGGED_OUT = 4003;
const APART_MS = 500; // two readings a second at most

const mark = document.querySelector("#live");
const watched = mark.dataset.what.split(" ");
let last = -APART_MS;
let reading = false;
let wanted = false;
let timer = 0;
let over = false;

const socket = new ResilientSocket(
  {
    opened: () => {
      socket.settled();
      say("live", "Live");
      refresh(); // what changed while nobody told us
    },
    received: (text) => heard(JSON.parse(text)),
    lost: ({ code }) => {
      if (code !== LOGGED_OUT) say("away", "Not live, retrying");
      refresh(); // tells a server that is away from a log-in that has ended
    },
    doubted: () => socket.start(),
  },
  {
    url: `${location.origin.replace(/^http/, "ws")}/admin/ws`,
    permanent: [LOGGED_OUT],
    maxDelayMs: 10_000,
  },
);

function heard(frame) {
  if (frame.type === "resync" || (frame.type === "changed" && watched.includes(frame.what))) refresh();
  if (frame.type === "notice") tell(`${frame.by}: ${frame.text}`);
}

/** Read the page again: soon, once, and not while nobody looks. */
function refresh() {
  wanted = true;
  if (over || reading || timer || document.hidden) return;
  timer = setTimeout(read, Math.max(0, last + APART_MS - performance.now()));
}

async function read() {
  [timer, wanted, reading, last] = [0, false, true, performance.now()];
  try {
    const answer = await fetch(location.href, { headers: { "X-Quiet": "1" }, cache: "no-store" });
    if (answer.status === 403 || new URL(answer.url).pathname.endsWith("/login/")) return loggedOut();
    if (answer.ok) show(await answer.text());
    // A session may go on under another key, as after a new password: then so do we.
    if (answer.ok && !socket.running) socket.start();
  } catch {
    // The server is away; the socket says when it is back, and asks again.
  } finally {
    reading = false;
  }
  if (wanted) refresh();
}

function show(text) {
  update(new DOMParser().parseFromString(text, "text/html"));
  tick();
}

function loggedOut() {
  over = true;
  socket.stop();
  const link = document.createElement("a");
  link.href = `/admin/login/?next=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "Log in again";
  say("out", "You are logged out. ", link);
}

/** Said to screen readers, too, so only when it is something else. */
function say(state, text, ...more) {
  if (mark.dataset.state === state) return;
  mark.dataset.state = state;
  mark.replaceChildren(text, ...more);
}

function tell(text) {
  let list = document.querySelector(".messagelist");
  if (!list) {
    list = document.createElement("ul");
    list.className = "messagelist";
    document.querySelector("#content").before(list);
  }
  const line = document.createElement("li");
  line.className = "info";
  line.setAttribute("role", "status");
  line.textContent = text;
  list.append(line);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && wanted) refresh();
});
setInterval(() => {
  if (!document.hidden && tick()) refresh();
}, 1000);
tick();
watchChoices();
socket.start();
