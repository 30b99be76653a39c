/** A session's client: the door, retries, signs of life, its other name. PROTOCOLS.md 3.7, 3.8. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { SessionsWebSocket } from "../sessions.js";
import { settle } from "./fakes.js";
import { Session } from "./session.js";

let it;

beforeEach(() => {
  it = new Session();
});

afterEach(() => {
  delete globalThis.document;
  delete globalThis.location;
});

const delays = () => it.heard("retry").map(({ delayMs }) => delayMs);

// --- the door

test("it dials the session with its account, and shows its token in a header", async () => {
  await it.dialled({ session: "session /1" });
  assert.equal(it.socket.url, "ws://here/v1/sessions/ws/session%20%2F1/subscribe?organization_uuid=acme");
  assert.deepEqual(it.socket.more, [{ headers: { Authorization: "Bearer token1" } }]);
});

test("a server below a path is reached there, with the query of its address", async () => {
  await it.dialled({ url: "wss://here/gate/?via=a" });
  assert.equal(it.socket.url, "wss://here/gate/v1/sessions/ws/session_1/subscribe?via=a&organization_uuid=acme");
});

test("an id that no path can hold is refused at once, and so is a place without sockets", () => {
  for (const session of ["", ".", ".."]) assert.throws(() => it.make({ session }), /no id/);
  assert.throws(() => it.make({ WebSocket: null }), /the class of sockets must be given/);
});

test("a token is asked for at each attempt", async () => {
  await it.ready();
  await it.away();
  assert.deepEqual(it.socket.more, [{ headers: { Authorization: "Bearer token2" } }]);
});

test("in a page the token is a cookie for this path alone, and for half a minute", async () => {
  globalThis.document = { cookie: "" };
  globalThis.location = { hostname: "here" };
  await it.dialled();
  assert.deepEqual(it.socket.more, []);
  const path = "/v1/sessions/ws/session_1/subscribe";
  assert.equal(document.cookie, `sessionKey=token1; Path=${path}; Max-Age=30; SameSite=Strict`);
  await it.dialled({ url: "wss://here" });
  assert.equal(document.cookie, `sessionKey=token2; Path=${path}; Max-Age=30; SameSite=Strict; Secure`);
  assert.throws(() => it.make({ url: "wss://elsewhere" }), /its own host alone/);
});

test("a token that comes too late is shown nowhere", async () => {
  globalThis.document = { cookie: "" };
  globalThis.location = { hostname: "here" };
  const answers = [];
  const client = it.make({ token: () => new Promise((resolve) => answers.push(resolve)) });
  client.start();
  await it.clock.advance(15_000);
  assert.equal(it.heard("retry")[0].reason, "no connection in time");
  await it.clock.advance(2000);
  answers[0]("late");
  await settle();
  assert.equal(document.cookie, "");
  client.stop();
  answers[1]("later");
  await settle();
  assert.deepEqual([document.cookie, it.dials], ["", 0]);
});

test("a token that cannot be had is a failed attempt", async () => {
  const client = it.make({
    token: () => {
      throw new Error("no network");
    },
  });
  client.start();
  await settle();
  for (let times = 0; times < 5; times += 1) await it.clock.advance(2000);
  assert.deepEqual(it.heard("retry").map(({ reason }) => reason), Array(5).fill("no network"));
  assert.deepEqual([client.state, it.dials, it.clock.waiting], ["stopped", 0, 0]);
});

test("without a token there is neither header nor cookie", async () => {
  await it.dialled({ token: undefined, organization: undefined });
  assert.deepEqual([it.socket.url, it.socket.more], ["ws://here/v1/sessions/ws/session_1/subscribe", []]);
});

test("it is connected when all is told, not when the socket opens", async () => {
  await it.dialled();
  assert.deepEqual([it.client.isConnected(), it.sent("keep_alive").length], [false, 1]);
  await it.alive();
  assert.equal(it.client.isConnected(), true);
});

// --- coming back

test("it tries five times, two seconds apart, and then no more", async () => {
  await it.ready();
  for (let times = 0; times < 5; times += 1) {
    await it.socket.drop(1006, "why");
    await it.clock.advance(1999);
    assert.equal(it.dials, times + 1);
    await it.clock.advance(1);
  }
  await it.socket.drop(1006, "at last");
  assert.deepEqual(delays(), [2000, 2000, 2000, 2000, 2000]);
  const { state, code, reason, error } = it.heard("state").at(-1);
  assert.deepEqual([state, code, reason, error.message], ["stopped", 1006, "at last", "at last"]);
  assert.equal(it.clock.waiting, 0);
});

test("a connection gives all tries back; a socket that only opens does not", async () => {
  await it.ready();
  for (let times = 0; times < 12; times += 1) await it.away();
  assert.equal(it.client.state, "ready");
  await it.socket.drop();
  for (let times = 0; times < 4; times += 1) {
    await it.dialledAgain();
    await it.socket.drop();
  }
  assert.equal(it.client.state, "reconnecting");
  await it.dialledAgain();
  await it.socket.drop();
  assert.equal(it.client.state, "stopped");
});

test("without a limit delays grow, with jitter, and it goes on", async () => {
  let draw = 1;
  await it.ready({ maxRetries: Infinity, random: () => draw });
  for (let times = 0; times < 6; times += 1) {
    await it.socket.drop();
    await it.clock.advance(it.clock.next);
  }
  draw = 0.5;
  await it.socket.drop();
  assert.deepEqual(delays(), [1000, 2000, 4000, 8000, 16_000, 30_000, 15_000]);
});

test("4001 is tried again three times, later each time", async () => {
  await it.ready();
  for (let times = 0; times < 3; times += 1) {
    await it.socket.drop(4001, "session not found");
    await it.dialledAgain();
  }
  await it.socket.drop(4001, "session not found");
  assert.deepEqual(delays(), [2000, 4000, 6000]);
  assert.equal(it.heard("state").at(-1).code, 4001);
  assert.equal(it.client.state, "stopped");
});

test("after the end start() begins anew, with all tries", async () => {
  await it.ready();
  for (let times = 0; times < 4; times += 1) {
    await it.socket.drop(4001);
    await it.clock.advance(it.clock.next ?? 0);
  }
  assert.equal(it.client.state, "stopped");
  it.client.start();
  await settle();
  await it.socket.drop(4001);
  assert.deepEqual(delays(), [2000, 4000, 6000, 2000]);
});

test("a session that is found again gives the three tries back", async () => {
  await it.ready();
  for (let times = 0; times < 6; times += 1) {
    await it.socket.drop(4001);
    await it.back();
  }
  assert.deepEqual(delays(), [2000, 2000, 2000, 2000, 2000, 2000]);
});

test("after 4003 start() asks for another token", async () => {
  await it.ready();
  await it.socket.drop(4003);
  it.client.start();
  await settle();
  assert.deepEqual(it.socket.more, [{ headers: { Authorization: "Bearer token2" } }]);
  await it.socket.open();
  await it.alive();
  assert.deepEqual([it.client.isConnected(), it.heard("resumed").length], [true, 1]);
});

test("who stops it when it is told of the return has it stopped", async () => {
  await it.ready();
  it.client.on("resumed", () => it.client.stop());
  await it.away();
  assert.deepEqual([it.client.state, it.clock.waiting], ["stopped", 0]);
});

test("who starts it again while it closes has one connection", async () => {
  await it.ready();
  const first = it.socket;
  it.client.stop();
  it.client.start();
  await settle();
  assert.deepEqual([it.dials, first.closedWith], [2, 1000]);
  await first.drop(1000);
  await it.socket.open();
  await it.alive();
  it.client.start();
  assert.deepEqual([it.dials, it.client.isConnected()], [2, true]);
});

test("4003 ends it", async () => {
  await it.ready({ maxRetries: Infinity });
  await it.socket.drop(4003, "credentials have expired");
  assert.deepEqual(delays(), []);
  assert.equal(it.heard("state").at(-1).error.message, "credentials have expired");
  await it.page.online();
  assert.equal(it.dials, 1);
});

for (const code of [1000, 1001, 1006, 1008, 1009, 1011, 1012, 4000, 4008, 4009]) {
  test(`after ${code} it comes back in two seconds`, async () => {
    await it.ready();
    await it.socket.drop(code);
    assert.deepEqual(delays(), [2000]);
    await it.back();
    assert.equal(it.client.isConnected(), true);
  });
}

test("reconnect: half a second later, with all tries; also while waiting, and after the end", async () => {
  await it.ready({ maxRetries: 1 });
  const first = it.socket;
  it.client.reconnect();
  assert.equal(first.closedWith, 1000);
  await it.clock.advance(499);
  assert.equal(it.dials, 1);
  await it.clock.advance(1);
  assert.equal(it.dials, 2);
  await it.socket.drop();
  it.client.reconnect();
  assert.deepEqual(delays(), [500, 2000, 500]);
  await it.clock.advance(500);
  await it.socket.drop(4003);
  it.client.reconnect();
  await settle();
  await it.socket.open();
  await it.alive();
  assert.equal(it.client.isConnected(), true);
});

test("the network's return and the page's are noticed", async () => {
  await it.ready();
  await it.socket.drop();
  await it.page.online();
  assert.equal(it.dials, 2);
  await it.socket.drop();
  await it.page.hide();
  await it.page.show();
  assert.equal(it.dials, 3);
});

// --- signs of life

test("in a browser it says keep_alive every 30 s, and ends a line without an answer by the next", async () => {
  await it.ready();
  for (let times = 0; times < 3; times += 1) {
    await it.clock.advance(30_000);
    assert.equal(it.sent("keep_alive").length, times + 2);
    await it.alive();
  }
  await it.clock.advance(59_999);
  assert.equal(it.client.isConnected(), true);
  await it.clock.advance(1);
  assert.equal(it.heard("retry")[0].reason, "no sign of life");
});

test("where sockets can ping it pings every 30 s, and terminates when no pong came before the next", async () => {
  let pings = 0;
  const listeners = [];
  let terminated = 0;
  Object.assign(it.Socket.prototype, {
    ping: () => (pings += 1),
    terminate: () => (terminated += 1),
    on: (name, listener) => listeners.push([name, listener]),
  });
  await it.ready();
  await it.clock.advance(30_000);
  assert.deepEqual([pings, it.sent("keep_alive").length], [1, 1]);
  const [name, ponged] = listeners.at(-1);
  assert.equal(name, "pong");
  await it.clock.advance(29_999);
  ponged();
  await it.clock.advance(30_000);
  assert.equal(pings, 2);
  await it.clock.advance(29_999);
  assert.deepEqual([it.client.isConnected(), terminated], [true, 0]);
  await it.clock.advance(1);
  assert.deepEqual([it.client.state, terminated], ["reconnecting", 1]);
  await it.dialledAgain();
  ponged(); // of the socket before
  assert.equal(it.client.isConnected(), false);
});

test("whatever is heard is a sign of life", async () => {
  await it.ready();
  await it.clock.advance(30_000);
  await it.event("a1");
  await it.clock.advance(30_000);
  assert.equal(it.client.isConnected(), true);
  await it.clock.advance(30_000);
  assert.equal(it.client.state, "reconnecting");
});

test("a doubted line has five seconds", async () => {
  await it.ready();
  await it.page.online();
  await it.clock.advance(5000);
  assert.equal(it.heard("retry")[0].reason, "no sign of life");
});

// --- the other name

test("SessionsWebSocket has its four callbacks and its words", async () => {
  const told = [];
  const callbacks = {
    onConnected: () => told.push("connected"),
    onMessage: ({ uuid }) => told.push(uuid),
    onClose: ({ code }) => told.push(`closed ${code}`),
    onError: ({ message }) => told.push(message),
  };
  const fakes = { url: "ws://here", WebSocket: it.Socket, timers: it.clock, page: null };
  const socket = new SessionsWebSocket("session_1", "acme", async () => "secret", callbacks, fakes);
  socket.connect();
  await settle();
  assert.equal(it.query.organization_uuid, "acme");
  assert.deepEqual(it.socket.more, [{ headers: { Authorization: "Bearer secret" } }]);
  await it.socket.open();
  await it.alive();
  assert.equal(socket.isConnected(), true);
  await it.event("a1");
  await it.socket.drop(1012, "restart");
  await it.back();
  socket.reconnect();
  await it.back();
  socket.close();
  assert.deepEqual(told, ["connected", "a1", "restart", "connected", "asked to reconnect", "connected", "closed 0"]);
  assert.equal(it.socket.closedWith, 1000);
  const bare = new SessionsWebSocket("session_1", "", "secret", undefined, fakes);
  bare.connect();
  await settle();
  await it.socket.drop(4003);
  assert.equal(bare.state, "stopped");
});
