/** Topics: one subscription for many handlers, filters, numbers. PROTOCOLS.md section 5, decision 0010. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Topics } from "./live.js";

let it, told;

const A1 = { agent: "a1" };
const A2 = { agent: "a2" };
const note = (name) => (data) => told.push([name, data]);
const at = (offset, epoch = "e") => ({ epoch, offset });

beforeEach(() => {
  it = new Topics();
  told = [];
});

async function hearing(filters) {
  await it.ready();
  const off = it.client.subscribe("room", { filters }, note("one"));
  await it.subscribed("room", { filters: filters ?? {}, recovered: true, ...at(4) });
  return off;
}

test("the server's welcome says who we are", async () => {
  await it.dialled();
  assert.equal(it.client.userId, "");
  await it.socket.deliver({ type: "connected", message: "Welcome", userId: "usr_1" });
  assert.equal(it.client.userId, "usr_1");
});

test("a token goes into the query, encoded, beside what the address has", async () => {
  await it.ready({ url: "ws://here/ws?v=1", token: "a+b/c=&d" });
  assert.equal(it.socket.url, "ws://here/ws?v=1&token=a%2Bb%2Fc%3D%26d");
});

test("without a token the query has an empty one: 004 refuses, instead of waiting", async () => {
  await it.ready({ token: undefined });
  assert.equal(it.socket.url, "ws://here/nexus/ws?token=");
});

test("frames are those of the protocol", async () => {
  const off = await hearing(A1);
  it.client.publish("room", { n: 1 });
  it.client.publish("room");
  off();
  assert.deepEqual(it.socket.sent.slice(1), [
    { action: "subscribe", channel: "room", filters: A1, since: null },
    { action: "publish", channel: "room", payload: { n: 1 } },
    { action: "publish", channel: "room" },
    { action: "unsubscribe", channel: "room" },
  ]);
});

test("null is no filter, and what cannot be one is refused at once, not heard without", async () => {
  await hearing(null);
  await it.published({ agent: "a1" }, at(5));
  assert.deepEqual(told, [["one", { agent: "a1" }]]);
  for (const filters of ["", 0, false, [], "a"]) {
    assert.throws(() => it.client.subscribe("other", { filters }, note("two")), /filters takes an object/);
  }
});

test("a server below a path is reached there", async () => {
  await it.ready({ url: "wss://here/gate/nexus/ws" });
  assert.equal(it.socket.url, "wss://here/gate/nexus/ws?token=secret");
});

test("a handler gets the data and the whole message, broadcasts too, of its channel only", async () => {
  await hearing();
  const whole = [];
  it.client.subscribe("room", {}, (data, message) => whole.push(message.type, message.from));
  await it.published({ n: 1 });
  await it.published({ n: 2 }, { type: "broadcast", from: undefined });
  await it.published({ n: 3 }, { channel: "other" });
  await it.published(undefined, { timestamp: undefined });
  assert.deepEqual(told, [["one", { n: 1 }], ["one", { n: 2 }]]);
  assert.deepEqual(whole, ["message", "bob", "broadcast", undefined]);
});

test("several handlers with the same filter are one subscription, which ends with the last", async () => {
  const off = await hearing({ b: [1, { x: 1, y: 2 }], a: 1 });
  const offToo = it.client.subscribe("room", { filters: { a: 1, b: [1, { y: 2, x: 1 }] } }, note("two"));
  assert.equal(it.asked("subscribe").length, 1);
  off();
  off();
  assert.equal(it.asked("unsubscribe").length, 0);
  await it.published({ a: 1, b: [1, { x: 1, y: 2 }] }, at(5));
  assert.deepEqual(told.map(([name]) => name), ["two"]);
  offToo();
  assert.equal(it.asked("unsubscribe").length, 1);
});

test("with different filters the server filters no more, and each handler hears what fits its own", async () => {
  await hearing(A1);
  it.client.subscribe("room", { filters: A2 }, note("two"));
  it.client.subscribe("room", {}, note("all"));
  assert.deepEqual(it.asked("subscribe").slice(1), [{ action: "subscribe", channel: "room" }]);
  for (const data of [A1, A2, "text", null, ["a1"], undefined]) await it.published(data);
  const heard = (name) => told.filter(([who]) => who === name).map(([, data]) => data);
  assert.deepEqual([heard("one"), heard("two"), heard("all").length], [[A1], [A2], 6]);
});

for (const [filters, data, fits] of [
  [{ n: 1 }, { n: 1.0, m: 2 }, true],
  [{ n: 1 }, { n: true }, false],
  [{ n: null }, { n: null }, true],
  [{ n: null }, {}, false],
  [{ n: [1, 2] }, { n: [2, 1] }, false],
  [{ n: [1] }, { n: { 0: 1 } }, false],
  [{ n: {} }, { n: { x: 1 } }, false],
  [{ n: { x: { y: [] } } }, { n: { x: { y: [] } } }, true],
  [{ length: 1 }, ["x"], false],
]) {
  test(`${JSON.stringify(filters)} ${fits ? "fits" : "does not fit"} ${JSON.stringify(data)}`, async () => {
    await hearing();
    it.client.subscribe("room", { filters }, note("two"));
    await it.published(data);
    assert.equal(told.some(([name]) => name === "two"), fits);
  });
}

test("subscriptions and their filters come again on a new connection, before what waited", async () => {
  await hearing(A1);
  it.client.subscribe("other", {}, note("other"));
  await it.subscribed("other", { recovered: true, ...at(9, "f") });
  await it.published(A1, at(7));
  await it.socket.drop();
  it.client.publish("room", "waited");
  await it.dialledAgain();
  assert.deepEqual(it.socket.sent, [
    { action: "subscribe", channel: "room", filters: A1, since: at(7) },
    { action: "subscribe", channel: "other", filters: {}, since: at(9, "f") },
    { action: "ping" },
  ]);
  await it.answered();
  assert.deepEqual(it.said(), ["waited"]);
});

test("subscribed while away, it is asked for when the connection is back", async () => {
  await it.ready();
  await it.socket.drop();
  it.client.subscribe("room", {}, note("one"));
  it.client.subscribe("gone", {}, note("two"))();
  await it.dialledAgain();
  assert.deepEqual(it.asked("subscribe").map(({ channel }) => channel), ["room"]);
  assert.deepEqual(it.heard("gap"), []);
});

test("who left while away takes its filter along: the rest is asked for as before", async () => {
  const off = await hearing(A1);
  it.client.subscribe("room", { filters: A2 }, note("two"));
  await it.socket.drop();
  off();
  await it.dialledAgain();
  assert.deepEqual(it.asked("subscribe")[0].filters, A2);
});

test("what was missed is told in order, once; a gap is told before what follows it", async () => {
  await hearing();
  it.client.on("gap", ({ channel, reason }) => told.push([channel, reason]));
  await it.published(5, at(5));
  await it.socket.drop();
  await it.dialledAgain();
  await it.subscribed("room", { recovered: true, ...at(7) });
  for (const n of [5, 6, 7, 8, 10]) await it.published(n, { offset: n });
  assert.deepEqual(told, [["one", 5], ["one", 6], ["one", 7], ["one", 8], ["room", "jump"], ["one", 10]]);
});

test("the answer's number counts when all was answered: with a filter few messages come", async () => {
  await hearing(A1);
  await it.socket.drop();
  await it.dialledAgain();
  await it.subscribed("room", { filters: A1, recovered: true, ...at(90) });
  await it.answered();
  await it.socket.drop();
  await it.dialledAgain();
  assert.deepEqual(it.asked("subscribe")[0].since, at(90));
});

test("not recovered is a gap of that channel, with the server's reason", async () => {
  await hearing();
  await it.socket.drop();
  await it.dialledAgain();
  await it.subscribed("room", { recovered: false, reason: "expired", ...at(3, "g") });
  assert.deepEqual(it.heard("gap"), [{ channel: "room", reason: "expired" }]);
});

test("with a filter at the server numbers may skip; without one again, they may not", async () => {
  await hearing(A1);
  await it.published(A1, at(7));
  it.client.subscribe("room", {}, note("all"));
  await it.published(A1, at(9));
  await it.published(A1, at(12));
  await it.subscribed("room");
  await it.published(A2, at(20));
  await it.published(A2, at(21));
  assert.deepEqual(it.heard("gap"), []);
  await it.published(A2, at(23));
  assert.deepEqual(it.heard("gap"), [{ channel: "room", reason: "jump" }]);
});

test("a server that answers without numbers: each return is a gap", async () => {
  await it.ready();
  it.client.subscribe("room", {}, note("one"));
  await it.subscribed("room", { filters: {} });
  await it.published(1);
  await it.socket.drop();
  await it.dialledAgain();
  await it.subscribed("room", { filters: {} });
  assert.deepEqual(it.heard("gap"), [{ channel: "room", reason: "unnumbered" }]);
});

test("left and joined again, a topic begins anew", async () => {
  const off = await hearing();
  off();
  it.client.subscribe("room", {}, note("two"));
  assert.equal(it.asked("subscribe")[1].since, null);
  await it.subscribed("room", { recovered: true, ...at(40) });
  await it.published("x", at(41));
  assert.deepEqual([told, it.heard("gap")], [[["two", "x"]], []]);
});

test("the server's errors are told, and end nothing", async () => {
  await it.ready();
  await it.socket.deliver({ type: "error", message: "channel is required" });
  assert.deepEqual(it.heard("error").map(({ message }) => message), ["channel is required"]);
  assert.equal(it.client.state, "ready");
});

test("a refused subscription does not keep what waits from being sent", async () => {
  await it.dialled();
  it.client.subscribe("agent.x.commands", {}, note("one"));
  it.client.publish("room", "hi");
  await it.socket.deliver({ type: "error", message: "permission denied" });
  await it.answered();
  assert.deepEqual(it.said(), ["hi"]);
});

test("a handler that fails is reported, and the others hear", async (context) => {
  await hearing();
  const reports = [];
  context.mock.method(globalThis, "queueMicrotask", (report) => reports.push(report));
  it.client.subscribe("room", {}, () => {
    throw new Error("the page's mistake");
  });
  it.client.subscribe("room", {}, note("last"));
  await it.published(1);
  assert.throws(reports[0], { message: "the page's mistake" });
  assert.deepEqual(told.map(([name]) => name), ["one", "last"]);
});

test("frames that mean nothing to it are no harm", async () => {
  await hearing();
  for (const frame of [null, 5, "text", [], {}, { type: "message" }]) await it.socket.deliver(JSON.stringify(frame));
  await it.socket.deliver("{");
  assert.deepEqual([it.client.state, told], ["ready", []]);
});
