import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { GatewayClient, GatewayError, newId, newSessionKey } from "../gateway.js";
import { FakeClock, fakeSockets, FakeStorage, settle } from "./fakes.js";

const ADMIN = { protocol: 3, role: "admin", user_id: "alice" };
const PENDING = { protocol: 3, status: "pending_pairing", pairing_code: "ABCD2345", sender_id: "device-1" };
const REVOKED = { code: "TENANT_ACCESS_REVOKED", message: "gone" };

let clock, Socket, storage, seen, client;

function make(options = {}) {
  client = new GatewayClient({
    url: "ws://here/ws",
    userId: "alice",
    WebSocket: Socket,
    timers: clock,
    random: () => 1,
    storage,
    ...options,
  });
  for (const name of ["state", "retry", "pairing", "ready", "resumed", "event"]) {
    client.on(name, (detail) => seen.push([name, detail]));
  }
  return client;
}

const heard = (name) => seen.filter(([kind]) => kind === name).map(([, detail]) => detail);
const states = () => heard("state").map(({ state }) => state);

async function dialled(options) {
  make(options).start();
  await settle();
  await Socket.last.open();
}

async function ready(options) {
  await dialled({ token: () => "secret", ...options });
  await Socket.last.answer(ADMIN);
}

beforeEach(() => {
  clock = new FakeClock();
  Socket = fakeSockets();
  storage = new FakeStorage();
  seen = [];
});

test("the first frame is connect, with what is known and nothing empty", async () => {
  await dialled({ token: async () => "secret" });
  assert.deepEqual(Socket.last.sent, [
    { type: "req", id: "1", method: "connect", params: { protocolVersion: 3, token: "secret", user_id: "alice" } },
  ]);
});

test("an accepted connect makes it ready", async () => {
  await ready();
  assert.deepEqual(states(), ["connecting", "ready"]);
  assert.deepEqual(client.identity, ADMIN);
  assert.deepEqual(heard("resumed"), []);
});

test("the token is asked for at each attempt", async () => {
  const tokens = ["first", "second"];
  await ready({ token: () => tokens.shift() });
  await Socket.last.drop();
  await clock.advance(1000);
  await Socket.last.open();
  assert.equal(Socket.last.request.params.token, "second");
});

test("a refused connect stops for good", async () => {
  await dialled({ token: () => "wrong" });
  await Socket.last.refuse({ code: "UNAUTHORIZED", message: "permission denied" });
  assert.deepEqual(states(), ["connecting", "stopped"]);
  assert.equal(heard("state").at(-1).error.code, "UNAUTHORIZED");
  assert.equal(Socket.last.closedWith, 1000);
  assert.equal(clock.waiting, 0);
});

test("a connect refused as retryable is tried again", async () => {
  await dialled();
  await Socket.last.refuse({ code: "UNAVAILABLE", message: "busy", retryable: true });
  assert.deepEqual(states(), ["connecting", "reconnecting"]);
  await clock.advance(1000);
  assert.equal(Socket.sockets.length, 2);
});

test("a connect that nobody answers is tried again", async () => {
  await dialled();
  await clock.advance(30_000);
  assert.equal(client.state, "reconnecting");
});

test("answers find their request, whatever their order", async () => {
  await ready();
  const [first, second] = [client.request("status"), client.request("health")];
  const [one, two] = Socket.last.sent.slice(-2);
  await Socket.last.answer("b", two.id);
  await Socket.last.answer("a", one.id);
  assert.deepEqual(await Promise.all([first, second]), ["a", "b"]);
  assert.deepEqual(one, { type: "req", id: one.id, method: "status", params: {} });
});

test("a refusal carries code, message and retryable", async () => {
  await ready();
  const refusal = { code: "RESOURCE_EXHAUSTED", message: "wait", retryable: true, retryAfterMs: 50 };
  const outcome = assert.rejects(client.request("chat.history", { sessionKey: "x" }), refusal);
  await Socket.last.refuse(refusal);
  await outcome;
  assert.equal(client.state, "ready");
});

test("UNAUTHORIZED to a request does not log out", async () => {
  await ready();
  const outcome = assert.rejects(client.request("device.pair.list"), GatewayError);
  await Socket.last.refuse({ code: "UNAUTHORIZED", message: "permission denied" });
  await outcome;
  assert.equal(client.state, "ready");
});

test("TENANT_ACCESS_REVOKED logs out", async () => {
  await ready();
  const outcome = assert.rejects(client.request("status"), REVOKED);
  await Socket.last.refuse(REVOKED);
  await outcome;
  assert.equal(client.state, "stopped");
});

for (const [method, limit] of [["status", 30_000], ["chat.send", 600_000]]) {
  test(`${method} is given up after ${limit} ms`, async () => {
    await ready();
    let over = false;
    const outcome = assert
      .rejects(client.request(method), { code: "TIMEOUT", retryable: true })
      .then(() => (over = true));
    await clock.advance(limit - 1);
    assert.equal(over, false);
    await clock.advance(1);
    await outcome;
  });
}

test("a request may have its own time limit, and a late answer is not missed by anyone", async () => {
  await ready();
  const outcome = assert.rejects(client.request("status", {}, { timeoutMs: 5 }), { code: "TIMEOUT" });
  const { id } = Socket.last.request;
  await clock.advance(5);
  await outcome;
  await Socket.last.answer("late", id);
  assert.equal(client.state, "ready");
});

test("what is pending at a close is rejected, and nothing is replayed", async () => {
  await ready();
  const outcome = assert.rejects(client.request("chat.send", { message: "hi" }), { code: "UNAVAILABLE", retryable: true });
  await Socket.last.drop();
  await outcome;
  await clock.advance(1000);
  await Socket.last.open();
  await Socket.last.answer(ADMIN);
  assert.deepEqual(Socket.last.sent.map(({ method }) => method), ["connect"]);
});

test("a request without a connection is refused at once", async () => {
  await assert.rejects(make().request("status"), { code: "UNAVAILABLE" });
  await dialled();
  await assert.rejects(client.request("status"), { code: "UNAVAILABLE" });
});

test("a reconnect tells the page to read again", async () => {
  await ready();
  await Socket.last.drop();
  assert.deepEqual(heard("retry"), [{ delayMs: 1000, code: 1006, reason: "the connection was lost" }]);
  await clock.advance(1000);
  await Socket.last.open();
  await Socket.last.answer(ADMIN);
  assert.deepEqual(states(), ["connecting", "ready", "reconnecting", "ready"]);
  assert.deepEqual(heard("resumed"), [{ recovered: true, missed: 0, reason: "reconnected" }]);
});

test("the server's resync tells the page to read again", async () => {
  await ready();
  await Socket.last.deliver({ type: "event", event: "resync", payload: { reason: "bus" } });
  assert.deepEqual(heard("resumed"), [{ recovered: true, missed: 0, reason: "bus" }]);
});

test("close 4003 stops for good", async () => {
  await ready();
  await Socket.last.drop(4003, "access was revoked");
  const { state, code, reason } = heard("state").at(-1);
  assert.deepEqual([state, code, reason], ["stopped", 4003, "access was revoked"]);
  assert.equal(clock.waiting, 0);
});

test("stop closes, and start begins anew", async () => {
  await ready();
  const outcome = assert.rejects(client.request("chat.send"), { code: "UNAVAILABLE" });
  client.stop();
  await outcome;
  assert.equal(clock.waiting, 0);
  client.start();
  await settle();
  await Socket.last.open();
  await Socket.last.answer(ADMIN);
  assert.deepEqual(states(), ["connecting", "ready", "stopped", "connecting", "ready"]);
});

test("start is heard while waiting to reconnect, and not while ready", async () => {
  await ready();
  client.start();
  await settle();
  assert.equal(Socket.sockets.length, 1);
  await Socket.last.drop();
  client.start();
  await settle();
  assert.equal(Socket.sockets.length, 2);
});

test("a connect left behind by a new start ends nothing when its time is over", async () => {
  await ready();
  await Socket.last.drop();
  await clock.advance(1000);
  await Socket.last.open();
  client.start();
  await settle();
  await Socket.last.open();
  await Socket.last.answer(ADMIN);
  await clock.advance(30_000);
  assert.equal(client.state, "ready");
});

test("a resync before the greeting is answered asks nothing", async () => {
  await dialled();
  client.watch("s");
  await Socket.last.deliver({ type: "event", event: "resync" });
  assert.deepEqual(Socket.last.sent.map(({ method }) => method), ["connect"]);
  assert.deepEqual(heard("resumed"), []);
});

test("events arrive under their name, with the frame under event", async () => {
  await ready();
  const payloads = [];
  const off = client.on("agent", (payload) => payloads.push(payload));
  const frame = { type: "event", event: "agent", payload: { type: "chunk" } };
  await Socket.last.deliver(frame);
  off();
  await Socket.last.deliver(frame);
  assert.deepEqual(payloads, [{ type: "chunk" }]);
  assert.deepEqual(heard("event"), [frame, frame]);
});

test("a server's event cannot pass for one of the client's own", async () => {
  await ready();
  await Socket.last.deliver({ type: "event", event: "state", payload: { state: "stopped" } });
  assert.deepEqual(states(), ["connecting", "ready"]);
  assert.equal(heard("event").length, 1);
});

test("frames that mean nothing are passed over", async () => {
  await ready();
  for (const frame of ["{", "null", "[]", '"text"', { type: "res", id: "", ok: false }, { type: "?" }]) {
    await Socket.last.deliver(frame);
  }
  const answer = client.request("status");
  await Socket.last.answer("fine");
  assert.equal(await answer, "fine");
});

test("a listener that throws is reported and disturbs nobody", async (context) => {
  make({ token: () => "secret" });
  const reports = [];
  context.mock.method(globalThis, "queueMicrotask", (report) => reports.push(report));
  client.on("ready", () => {
    throw new Error("the page's mistake");
  });
  const others = [];
  client.on("ready", () => others.push("heard"));
  client.start();
  await settle();
  await Socket.last.open();
  await Socket.last.answer(ADMIN);
  assert.throws(reports[0], { message: "the page's mistake" });
  assert.deepEqual(others, ["heard"]);
});

// ------------------------------------------------------------------------------------- pairing

test("without a token it asks for pairing and remembers the device", async () => {
  await dialled();
  await Socket.last.answer(PENDING);
  assert.deepEqual(states(), ["connecting", "pairing"]);
  assert.deepEqual(heard("pairing"), [{ status: "pending", code: "ABCD2345" }]);
  assert.deepEqual([...storage.entries], [["trunkline.device", "device-1"]]);
});

test("an approved device comes back on a new socket with its sender_id", async () => {
  await dialled();
  const [first] = Socket.sockets;
  await first.answer(PENDING);
  await clock.advance(3000);
  assert.deepEqual(first.request.params, { sender_id: "device-1" });
  await first.answer({ status: "pending" });
  await clock.advance(3000);
  assert.equal(first.sent.length, 3);
  await first.answer({ status: "approved", approved: true });
  assert.equal(first.closedWith, 1000);
  await Socket.last.open();
  assert.equal(Socket.sockets.length, 2);
  assert.deepEqual(Socket.last.request.params, { protocolVersion: 3, user_id: "alice", sender_id: "device-1" });
  await Socket.last.answer({ ...ADMIN, role: "operator" });
  assert.deepEqual(states(), ["connecting", "pairing", "connecting", "ready"]);
  assert.deepEqual(heard("pairing").map(({ status }) => status), ["pending", "approved"]);
  assert.deepEqual(heard("resumed"), []);
});

for (const [name, stops] of Object.entries({
  pairing: ({ status }) => status === "approved",
  state: ({ state, previous }) => state === "connecting" && previous === "pairing",
})) {
  test(`stopped by a listener of ${name} at the approval, it dials no more`, async () => {
    await dialled();
    client.on(name, (detail) => stops(detail) && client.stop());
    await Socket.last.answer(PENDING);
    await clock.advance(3000);
    await Socket.last.answer({ status: "approved" });
    assert.equal(client.state, "stopped");
    assert.equal(Socket.sockets.length, 1);
    assert.equal(clock.waiting, 0);
  });
}

test("a denied pairing stops and forgets the device", async () => {
  await dialled();
  await Socket.last.answer(PENDING);
  await clock.advance(3000);
  await Socket.last.answer({ status: "expired" });
  assert.equal(client.state, "stopped");
  assert.equal(heard("state").at(-1).error.code, "NOT_PAIRED");
  assert.equal(storage.entries.size, 0);
  assert.equal(clock.waiting, 0);
});

test("an unanswered or limited poll is no decision", async () => {
  await dialled();
  await Socket.last.answer(PENDING);
  await clock.advance(3000);
  await Socket.last.refuse({ code: "RESOURCE_EXHAUSTED", message: "rate limited" });
  await clock.advance(3000);
  await clock.advance(30_000);
  assert.equal(client.state, "pairing");
  await clock.advance(3000);
  assert.equal(Socket.last.sent.filter(({ method }) => method === "browser.pairing.status").length, 3);
});

test("a connection lost while waiting comes back with the same device", async () => {
  await dialled();
  await Socket.last.answer(PENDING);
  await Socket.last.drop();
  assert.equal(client.state, "reconnecting");
  await clock.advance(1000);
  await Socket.last.open();
  assert.equal(Socket.last.request.params.sender_id, "device-1");
  await Socket.last.answer(PENDING);
  await clock.advance(3000);
  assert.deepEqual(Socket.last.sent.map(({ method }) => method), ["connect", "browser.pairing.status"]);
});

test("the device is found again by the next page, until it is forgotten", async () => {
  storage.setItem("trunkline.device", "device-1");
  await dialled();
  assert.equal(Socket.last.request.params.sender_id, "device-1");
  assert.equal(client.hasDevice, true);
  client.forgetDevice();
  assert.equal(client.hasDevice, false);
  client.stop();
  client.start();
  await settle();
  await Socket.last.open();
  assert.equal(Socket.last.request.params.sender_id, undefined);
  assert.equal(storage.entries.size, 0);
});

test("a storage that refuses to write costs only the memory", async () => {
  storage.setItem = () => {
    throw new Error("full");
  };
  await dialled();
  await Socket.last.answer(PENDING);
  assert.equal(client.state, "pairing");
});

// --------------------------------------------------------------------------------------- names

test("ids are random UUIDs, and session keys name their agent", () => {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  assert.match(newId(), uuid);
  assert.notEqual(newId(), newId());
  const [agent, name, ws, direct, id] = newSessionKey("writer").split(":");
  assert.deepEqual([agent, name, ws, direct], ["agent", "writer", "ws", "direct"]);
  assert.match(id, uuid);
});
