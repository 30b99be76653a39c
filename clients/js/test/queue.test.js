/** What is asked while nobody can answer: kept in order, sent once, or dropped with a word. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { settle } from "./fakes.js";
import { ADMIN, Harness, outcome, PENDING } from "./harness.js";

const QUEUE = { queue: true };

let it;

beforeEach(() => {
  it = new Harness();
});

const say = (message, options = QUEUE) => outcome(it.client.request("chat.send", { message }, options));
const said = () => it.sent("chat.send").map(({ params }) => params.message);

test("what is asked while connecting, pairing or reconnecting waits, in order", async () => {
  await it.dialled();
  const first = say("one");
  await it.socket.answer(PENDING);
  say("two");
  await it.socket.drop();
  say("three");
  assert.equal(it.client.queued, 3);
  await it.back();
  assert.deepEqual(said(), ["one", "two", "three"]);
  assert.equal(it.client.queued, 0);
  await it.socket.answer("done", it.sent("chat.send")[0].id);
  assert.equal(first.now, "done");
});

test("what a page asks on becoming ready does not overtake what has waited", async () => {
  await it.dialled();
  it.client.on("state", ({ state }) => state === "ready" && say("late"));
  say("early");
  await it.socket.answer(ADMIN);
  assert.deepEqual(said(), ["early", "late"]);
});

test("without queue, or before the start and after the stop, it is refused at once", async () => {
  it.make();
  await assert.rejects(it.client.request("status", {}, QUEUE), { code: "UNAVAILABLE" });
  it.client.start();
  await assert.rejects(it.client.request("status"), { code: "UNAVAILABLE" });
  it.client.stop();
  await assert.rejects(it.client.request("status", {}, QUEUE), { code: "UNAVAILABLE" });
  assert.deepEqual(it.heard("dropped"), []);
});

test("its time counts from the sending, not from the asking", async () => {
  await it.ready();
  await it.socket.drop();
  const asked = outcome(it.client.request("status", {}, { ...QUEUE, timeoutMs: 500 }));
  await it.clock.advance(999);
  assert.equal(asked.now, "pending");
  await it.back();
  await it.clock.advance(499);
  assert.equal(asked.now, "pending");
  await it.clock.advance(1);
  assert.equal(asked.now, "TIMEOUT");
});

test("over the cap the newest is refused, and said to be dropped", async () => {
  await it.ready({ queueMax: 2 });
  await it.socket.drop();
  const kept = [say("one"), say("two")];
  const refused = say("three");
  await settle();
  assert.deepEqual([...kept, refused].map(({ now }) => now), ["pending", "pending", "QUEUE_FULL"]);
  const [{ method, params, reason }] = it.heard("dropped");
  assert.deepEqual([method, params, reason], ["chat.send", { message: "three" }, "2 requests are waiting already"]);
  await it.back();
  assert.deepEqual(said(), ["one", "two"]);
});

test("a thousand may wait, unless the page says otherwise", async () => {
  await it.ready();
  await it.socket.drop();
  for (let n = 0; n < 1000; n += 1) say(String(n));
  assert.equal(it.heard("dropped").length, 0);
  say("one too many");
  assert.equal(it.heard("dropped").length, 1);
  assert.equal(it.client.queued, 1000);
});

async function droppedBy(end, reason) {
  const asked = [say("one"), say("two")];
  await end();
  await settle();
  assert.deepEqual(asked.map(({ now }) => now), ["UNAVAILABLE", "UNAVAILABLE"]);
  const words = it.heard("dropped").map((dropped) => [dropped.params.message, dropped.reason]);
  assert.deepEqual(words, [["one", reason], ["two", reason]]);
  assert.equal(it.client.queued, 0);
}

test("the page's stop drops what waits, each with a word", async () => {
  await it.ready();
  await it.socket.drop();
  await droppedBy(() => it.client.stop(), "stopped by the page");
});

test("a permanent close drops what waits, each with a word", async () => {
  await it.dialled();
  await droppedBy(() => it.socket.drop(4003, "revoked"), "revoked");
});

test("a refused connect drops what waits, each with a word", async () => {
  await it.dialled();
  await droppedBy(() => it.socket.refuse({ code: "UNAUTHORIZED", message: "permission denied" }), "permission denied");
});

test("what meets a closing socket waits if it may", async () => {
  await it.ready();
  it.socket.readyState = 2;
  const [waits, refused] = [say("patient"), say("hasty", {})];
  await settle();
  assert.deepEqual([waits.now, refused.now], ["pending", "UNAVAILABLE"]);
  await it.away();
  assert.deepEqual(said(), ["patient"]);
});

// ---------------------------------------------------------------------- sent, and then lost

const MESSAGE = { message: "hi", messageId: "m-1" };

test("a chat.send with a messageId is sent again, the very same, before what has waited", async () => {
  await it.ready();
  const sent = outcome(it.client.request("chat.send", MESSAGE));
  const [before] = it.sent("chat.send");
  await it.socket.drop();
  say("after");
  await it.back();
  assert.deepEqual(said(), ["hi", "after"]);
  assert.deepEqual(it.sent("chat.send")[0], before);
  await it.socket.answer({ runId: "r" }, before.id);
  assert.deepEqual(sent.now, { runId: "r" });
  await it.away();
  assert.deepEqual(said(), []);
  it.client.stop();
  assert.equal(it.clock.waiting, 0);
});

test("everything else that was pending is rejected: the server may have acted on it", async () => {
  await it.ready();
  const asked = [
    outcome(it.client.request("chat.send", { message: "no id" }, QUEUE)),
    outcome(it.client.request("chat.inject", MESSAGE, QUEUE)),
    outcome(it.client.request("chat.send", null)),
  ];
  await it.away();
  assert.deepEqual(asked.map(({ now }) => now), ["UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"]);
  assert.deepEqual(said(), []);
});

test("sent again, its time is still that of the first sending", async () => {
  await it.ready();
  const sent = outcome(it.client.request("chat.send", MESSAGE, { timeoutMs: 1500 }));
  await it.away();
  await it.clock.advance(499);
  assert.equal(sent.now, "pending");
  await it.clock.advance(1);
  assert.equal(sent.now, "TIMEOUT");
});

test("it may time out while nobody is there, and is not sent then", async () => {
  await it.ready();
  const sent = outcome(it.client.request("chat.send", MESSAGE, { timeoutMs: 500 }));
  await it.socket.drop();
  await it.clock.advance(500);
  assert.equal(sent.now, "TIMEOUT");
  await it.back();
  assert.deepEqual(said(), []);
});

test("a message that was too big is not sent again: it would be refused for ever", async () => {
  await it.ready();
  const sent = outcome(it.client.request("chat.send", MESSAGE));
  await it.socket.drop(1009, "frame too large");
  assert.equal(sent.now, "UNAVAILABLE");
  await it.back();
  assert.deepEqual(said(), []);
});

test("stopped, it is rejected and not called dropped: it may have arrived", async () => {
  await it.ready();
  const sent = outcome(it.client.request("chat.send", MESSAGE));
  it.client.stop();
  await settle();
  assert.equal(sent.now, "UNAVAILABLE");
  assert.deepEqual(it.heard("dropped"), []);
});
