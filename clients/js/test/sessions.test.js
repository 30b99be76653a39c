/** A session's client: retries, what was missed, what was said, questions. PROTOCOLS.md 3.7, 3.8, 3.9. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { SessionClient, SessionsWebSocket } from "../sessions.js";
import { FakeClock, FakePage, fakeSockets, settle } from "./fakes.js";

const QUESTION = { type: "control_request", request_id: "q1", request: { subtype: "can_use_tool", tool_name: "Bash" } };
const ALLOW = { behavior: "allow", updatedInput: {} };
const ANSWER = { type: "control_response", response: { subtype: "success", request_id: "q1", response: ALLOW } };

/** A client of a session among fakes, and what it told. */
class Session {
  clock = new FakeClock();
  page = new FakePage();
  Socket = this.#sockets();
  seen = [];
  tokens = 0;

  #sockets() {
    return class extends fakeSockets() {
      constructor(url, ...more) {
        super(url);
        this.more = more;
      }
    };
  }

  make(options) {
    const given = { url: "ws://here", session: "session_1", organization: "acme", token: () => `token${(this.tokens += 1)}` };
    const fakes = { WebSocket: this.Socket, timers: this.clock, random: () => 1, page: this.page };
    this.client = new SessionClient({ ...given, ...fakes, ...options });
    for (const name of ["state", "retry", "resumed", "message", "rtt"]) {
      this.client.on(name, (detail) => this.seen.push([name, detail]));
    }
    return this.client;
  }

  get socket() {
    return Object.getPrototypeOf(this.Socket).sockets.at(-1);
  }

  get dials() {
    return Object.getPrototypeOf(this.Socket).sockets.length;
  }

  get query() {
    return Object.fromEntries(new URL(this.socket.url).searchParams);
  }

  heard(name) {
    return this.seen.filter(([kind]) => kind === name).map(([, detail]) => detail);
  }

  get uuids() {
    return this.heard("message").map(({ uuid }) => uuid);
  }

  sent(type) {
    return this.socket.sent.filter((frame) => frame.type === type);
  }

  /** What was asked on the newest socket, but for the look at open questions. */
  get requests() {
    return this.sent("control_request").filter(({ request }) => request.subtype !== "initialize");
  }

  alive() {
    return this.socket.deliver({ type: "keep_alive" });
  }

  event(...uuids) {
    return uuids.reduce((before, uuid) => before.then(() => this.socket.deliver({ type: "assistant", uuid })), settle());
  }

  respond(id, response, subtype = "success") {
    return this.socket.deliver({ type: "control_response", response: { subtype, request_id: id, ...response } });
  }

  /** The open questions, as the server has them. */
  open(...questions) {
    const looks = this.sent("control_request").filter(({ request }) => request.subtype === "initialize");
    return this.respond(looks.at(-1).request_id, { response: { pending_permission_requests: questions } });
  }

  async dialled(options) {
    this.make(options).start();
    await settle();
    await this.socket.open();
  }

  async ready(options) {
    await this.dialled(options);
    await this.alive();
    return this.client;
  }

  async dialledAgain() {
    await this.clock.advance(this.clock.next);
    await this.socket.open();
  }

  async back() {
    await this.dialledAgain();
    await this.alive();
  }

  async away() {
    await this.socket.drop();
    await this.back();
  }
}

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

test("a session that is found again gives the three tries back", async () => {
  await it.ready();
  for (let times = 0; times < 6; times += 1) {
    await it.socket.drop(4001);
    await it.back();
  }
  assert.deepEqual(delays(), [2000, 2000, 2000, 2000, 2000, 2000]);
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
  ponged();
  assert.equal(it.client.state, "reconnecting");
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

// --- what was missed

test("it begins from now on, at the newest, or after an event", async () => {
  await it.dialled({ organization: undefined });
  assert.deepEqual(it.query, {});
  await it.dialled({ organization: undefined, replay: true });
  assert.deepEqual(it.query, { replay: "true" });
  await it.dialled({ organization: undefined, afterId: "a0" });
  assert.deepEqual(it.query, { after_id: "a0" });
  await it.alive();
  assert.deepEqual(it.heard("resumed"), []);
});

test("after a reconnect it gets what it missed, once, and says how much that was", async () => {
  await it.ready();
  await it.event("a1", "a2");
  await it.socket.drop();
  await it.dialledAgain();
  assert.equal(it.query.after_id, "a1");
  await it.event("a2", "a3", "a4");
  assert.deepEqual(it.heard("resumed"), []);
  await it.alive();
  assert.deepEqual(it.heard("resumed"), [{ recovered: true, missed: 2 }]);
  assert.deepEqual(it.uuids, ["a1", "a2", "a3", "a4"]);
  assert.deepEqual(it.seen.slice(-2).map(([name]) => name), ["state", "rtt"]);
});

test("that nothing was missed is said, too", async () => {
  await it.ready();
  await it.away();
  await it.event("a1");
  await it.away();
  await it.event("a2");
  await it.socket.drop();
  await it.dialledAgain();
  await it.event("a2");
  await it.alive();
  const whole = { recovered: true, missed: 0 };
  assert.deepEqual(it.heard("resumed"), [whole, whole, whole]);
  assert.deepEqual(it.uuids, ["a1", "a2"]);
});

test("when the last event does not come again something may be missing", async () => {
  await it.ready();
  await it.event("a1", "a2");
  await it.socket.drop();
  await it.dialledAgain();
  await it.event("a7", "a8");
  await it.alive();
  await it.socket.drop();
  await it.dialledAgain();
  await it.alive();
  assert.deepEqual(it.heard("resumed"), [{ recovered: false, missed: 2 }, { recovered: false, missed: 0 }]);
});

test("who has seen no event gets the newest ones, which may not be all", async () => {
  await it.ready();
  await it.socket.drop();
  await it.dialledAgain();
  assert.equal(it.query.replay, "true");
  await it.event("a1");
  await it.alive();
  assert.deepEqual(it.heard("resumed"), [{ recovered: false, missed: 1 }]);
});

test("a reconnect that is cut in its midst is counted and judged with the next", async () => {
  await it.ready();
  await it.event("a1", "a2");
  await it.socket.drop();
  await it.dialledAgain();
  await it.event("a5", "a6");
  await it.socket.drop();
  await it.dialledAgain();
  assert.equal(it.query.after_id, "a5");
  await it.event("a6", "a7");
  await it.alive();
  assert.deepEqual(it.heard("resumed"), [{ recovered: false, missed: 3 }]);
  assert.deepEqual(it.uuids, ["a1", "a2", "a5", "a6", "a7"]);
});

test("what is not stored is told as it comes, and is no place to go on from", async () => {
  await it.ready();
  await it.event("a1", "a2");
  const piece = { type: "stream_event", uuid: "s1", event: {} };
  await it.socket.deliver(piece);
  await it.socket.deliver({ type: "tool_progress", uuid: "s1" });
  await it.socket.drop();
  await it.dialledAgain();
  assert.equal(it.query.after_id, "a1");
  assert.deepEqual(it.uuids, ["a1", "a2", "s1", "s1"]);
});

// --- what was said

test("what is said is kept until it is stored, and said again after a reconnect with the same id", async () => {
  await it.ready();
  const stored = it.client.sendMessage("hello", "u1");
  assert.deepEqual(it.sent("user"), [
    { type: "user", uuid: "u1", session_id: "", parent_tool_use_id: null, message: { role: "user", content: "hello" } },
  ]);
  await it.away();
  assert.deepEqual(it.sent("user").map(({ uuid }) => uuid), ["u1"]);
  await it.socket.deliver({ type: "user", uuid: "u1" });
  await stored;
  await it.away();
  assert.deepEqual([it.sent("user"), it.client.queued], [[], 0]);
});

test("what was stored just before the line was lost is not said again", async () => {
  await it.ready();
  await it.event("a1", "a2");
  const stored = it.client.sendMessage("hello", "u1");
  await it.socket.drop();
  await it.dialledAgain();
  await it.event("a2", "u1");
  await it.alive();
  await stored;
  assert.deepEqual(it.sent("user"), []);
});

test("what is said offline goes out in order", async () => {
  await it.ready();
  await it.socket.drop();
  it.client.sendMessage("one", "u1");
  it.client.sendControlRequest({ subtype: "set_model", model: "big" });
  it.client.sendMessage("two", "u2");
  assert.equal(it.client.queued, 3);
  await it.back();
  const said = it.socket.sent.filter(({ type }) => type !== "keep_alive").map(({ uuid, request }) => uuid ?? request.subtype);
  assert.deepEqual(said, ["initialize", "u1", "set_model", "u2"]);
});

test("a control request is answered, also with an error", async () => {
  await it.ready();
  const good = it.client.sendControlRequest({ subtype: "get_settings" });
  const bad = it.client.sendControlRequest({ subtype: "foo" });
  const [first, second] = it.requests.map(({ request_id: id }) => id);
  await it.respond(second, { error: "Unsupported control request subtype: foo" }, "error");
  await it.respond(first, { response: { theme: "dark" } });
  assert.deepEqual(await good, { theme: "dark" });
  await assert.rejects(bad, /Unsupported control request subtype: foo/);
});

test("an unanswered request is asked again with the same id, an answered one is not", async () => {
  await it.ready();
  const first = it.client.sendControlRequest({ subtype: "set_model", model: "big" });
  it.client.sendControlRequest({ subtype: "interrupt" });
  const [answered, asked] = it.requests;
  await it.respond(answered.request_id, { response: {} });
  await first;
  await it.away();
  assert.deepEqual(it.requests, [asked]);
});

test("what waits is bounded, and what is unanswered at the end is rejected", async () => {
  await it.ready({ queueMax: 1 });
  const first = it.client.sendMessage("one");
  await assert.rejects(it.client.sendMessage("two"), /1 are waiting already/);
  it.client.stop();
  await assert.rejects(first, /stopped by the page/);
  await assert.rejects(it.client.sendControlRequest({ subtype: "interrupt" }), /not connected/);
  assert.equal(it.clock.waiting, 0);
});

// --- questions

test("a question is told once, with its end", async () => {
  await it.ready();
  await it.open();
  await it.socket.deliver(QUESTION);
  await it.socket.deliver(QUESTION);
  await it.socket.deliver({ type: "control_cancel_request", request_id: "q1" });
  assert.deepEqual(it.heard("message").map(({ type }) => type), ["control_request", "control_cancel_request"]);
});

test("who comes late hears of the open questions; who comes back, of those settled meanwhile", async () => {
  await it.ready();
  await it.open(QUESTION);
  await it.away();
  await it.open(QUESTION);
  await it.away();
  await it.open();
  assert.deepEqual(it.heard("message"), [QUESTION, { type: "control_cancel_request", request_id: "q1" }]);
});

test("what is asked and settled while the open ones are looked up stays as it is", async () => {
  await it.ready();
  await it.socket.deliver({ ...QUESTION, request_id: "new" });
  await it.socket.deliver({ type: "control_cancel_request", request_id: "q1" });
  await it.open(QUESTION);
  assert.deepEqual(it.heard("message").map(({ request_id: id }) => id), ["new", "q1"]);
});

test("an answer that was lost on the way is given again while the question is open", async () => {
  await it.ready();
  await it.socket.deliver(QUESTION);
  it.client.answer("q1", ALLOW);
  assert.deepEqual(it.sent("control_response"), [ANSWER]);
  await it.away();
  await it.open(QUESTION);
  assert.deepEqual(it.sent("control_response"), [ANSWER]);
  await it.away();
  await it.open();
  assert.deepEqual(it.sent("control_response"), []);
  assert.equal(it.heard("message").length, 1);
});

test("an answer given offline goes out when the question is still open", async () => {
  await it.ready();
  await it.socket.deliver(QUESTION);
  await it.socket.drop();
  it.client.answer("q1", ALLOW);
  await it.back();
  assert.deepEqual(it.sent("control_response"), []);
  await it.open(QUESTION);
  assert.deepEqual(it.sent("control_response"), [ANSWER]);
});

test("frames that are none, and of unknown types, do no harm", async () => {
  await it.ready();
  for (const text of ["no json", "null", "[]", '{"type":"new"}', '{"type":"control_response"}', '{"type":"user"}']) {
    await it.socket.deliver(text);
  }
  assert.equal(it.client.isConnected(), true);
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
