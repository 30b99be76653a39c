/** After every gap: what is watched is read again, and `resumed` says how it went. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { settle } from "./fakes.js";
import { Harness } from "./harness.js";

const messages = (...ids) => ids.map((id) => ({ id, role: "user", content: id }));
const RESYNC = { type: "event", event: "resync", payload: { reason: "bus" } };

let it;

beforeEach(async () => {
  it = new Harness();
  await it.ready();
});

/** Answer the open reading of this session with these messages. */
async function answer(sessionKey, ids) {
  const reading = it.sent("chat.history").findLast(({ params }) => params.sessionKey === sessionKey);
  await it.socket.answer({ messages: messages(...ids) }, reading.id);
}

async function refuse(code) {
  await it.socket.refuse({ code, message: code }, it.sent("chat.history").at(-1).id);
}

async function pageReads(sessionKey, ids) {
  const reading = it.client.request("chat.history", { sessionKey });
  await answer(sessionKey, ids);
  await reading;
}

const resumed = () => it.heard("resumed");
const WHOLE = { recovered: true, missed: 0, reason: "reconnected" };

test("with nothing watched it is told all the same, and nothing is read", async () => {
  await it.away();
  assert.deepEqual(resumed(), [WHOLE]);
  assert.deepEqual(it.sent("chat.history"), []);
});

test("the first connection resumes nothing", () => {
  assert.deepEqual(resumed(), []);
});

test("what came meanwhile is counted and handed over", async () => {
  it.client.watch("s");
  await pageReads("s", ["a", "b"]);
  await it.away();
  assert.deepEqual(resumed(), []);
  await answer("s", ["a", "b", "c", "d"]);
  assert.deepEqual(it.heard("history"), [{ sessionKey: "s", messages: messages("a", "b", "c", "d"), missed: 2 }]);
  assert.deepEqual(resumed(), [{ ...WHOLE, missed: 2 }]);
});

test("what one reading has shown the next does not count", async () => {
  it.client.watch("s");
  await pageReads("s", ["a"]);
  await it.away();
  await answer("s", ["a", "b"]);
  await it.away();
  await answer("s", ["a", "b"]);
  assert.deepEqual(resumed(), [{ ...WHOLE, missed: 1 }, WHOLE]);
});

test("several sessions are read at once and told together", async () => {
  for (const key of ["s", "t"]) {
    it.client.watch(key);
    await pageReads(key, ["a"]);
  }
  await it.away();
  await answer("t", ["a", "b"]);
  assert.deepEqual(resumed(), []);
  await answer("s", ["a", "b", "c"]);
  assert.deepEqual(resumed(), [{ ...WHOLE, missed: 3 }]);
});

test("the last known message gone: not recovered, and what is new is counted", async () => {
  it.client.watch("s");
  await pageReads("s", ["a", "b"]);
  await it.away();
  await answer("s", ["x", "y", "z"]);
  assert.deepEqual(resumed(), [{ recovered: false, missed: 3, reason: "reconnected" }]);
  await it.away();
  await answer("s", ["x", "y", "z"]);
  assert.deepEqual(resumed().at(-1), WHOLE);
});

test("a compacted session whose last message stayed is recovered", async () => {
  it.client.watch("s");
  await pageReads("s", ["a", "b", "c"]);
  await it.away();
  await answer("s", ["summary", "c"]);
  assert.deepEqual(resumed(), [{ ...WHOLE, missed: 1 }]);
});

test("a session that does not exist yet has missed nothing", async () => {
  it.client.watch("s");
  await it.away();
  await refuse("NOT_FOUND");
  assert.deepEqual(resumed(), [WHOLE]);
});

test("a session that was deleted meanwhile is not recovered", async () => {
  it.client.watch("s");
  await pageReads("s", ["a"]);
  await it.away();
  await refuse("NOT_FOUND");
  assert.deepEqual(it.heard("history"), [{ sessionKey: "s", messages: [], missed: 0 }]);
  assert.deepEqual(resumed(), [{ ...WHOLE, recovered: false }]);
});

test("a refused reading is a gap", async () => {
  it.client.watch("s");
  await it.away();
  await refuse("FORBIDDEN");
  assert.deepEqual(it.heard("history"), []);
  assert.deepEqual(resumed(), [{ ...WHOLE, recovered: false }]);
});

test("a reading that nobody answers is a gap", async () => {
  it.client.watch("s");
  await it.away();
  await it.clock.advance(30_000);
  assert.deepEqual(resumed(), [{ ...WHOLE, recovered: false }]);
});

test("a reading broken off is a gap until the next one closes it", async () => {
  it.client.watch("s");
  await pageReads("s", ["a"]);
  await it.away();
  await it.away();
  await answer("s", ["a", "b"]);
  assert.deepEqual(resumed(), [{ ...WHOLE, recovered: false }, { ...WHOLE, missed: 1 }]);
});

test("the server's resync reads again, with its reason", async () => {
  it.client.watch("s");
  await pageReads("s", ["a"]);
  await it.socket.deliver(RESYNC);
  await answer("s", ["a", "b"]);
  assert.deepEqual(resumed(), [{ recovered: true, missed: 1, reason: "bus" }]);
});

test("an older reading that is answered late is no gap", async () => {
  it.client.watch("s");
  await pageReads("s", ["a"]);
  await it.socket.deliver(RESYNC);
  const [early] = it.sent("chat.history").slice(-1);
  await pageReads("s", ["a", "b"]);
  await it.socket.answer({ messages: messages("a") }, early.id);
  assert.equal(resumed()[0].recovered, true);
});

test("what was missed is read before anything that was kept is sent", async () => {
  it.client.watch("s");
  it.client.request("chat.send", { message: "sent", messageId: "m-1" });
  await it.socket.drop();
  it.client.request("chat.inject", { message: "waits" }, { queue: true });
  await it.back();
  const methods = it.socket.sent.map(({ method }) => method);
  assert.deepEqual(methods, ["connect", "chat.history", "chat.send", "chat.inject"]);
});

test("it is read until the last watcher goes", async () => {
  const [one, two] = [it.client.watch("s"), it.client.watch("s")];
  one();
  one();
  await it.away();
  assert.equal(it.sent("chat.history").length, 1);
  two();
  await answer("s", ["a"]);
  assert.deepEqual(it.heard("history"), []);
  await it.away();
  assert.equal(it.sent("chat.history").length, 0);
});

test("stopped meanwhile, nothing is resumed", async () => {
  it.client.watch("s");
  await it.away();
  it.client.stop();
  await settle();
  assert.deepEqual(resumed(), []);
});

// ------------------------------------------------------------------------------- doubted

test("a doubted connection that answers stays", async () => {
  await it.page.online();
  assert.equal(it.socket.request.method, "health");
  await it.socket.refuse({ code: "UNAUTHORIZED", message: "any answer will do" });
  await it.clock.advance(5000);
  assert.equal(it.client.state, "ready");
});

test("a doubted connection that is silent is given up, and resumed on another", async () => {
  await it.page.online();
  await it.clock.advance(4999);
  assert.equal(it.client.state, "ready");
  await it.clock.advance(1);
  assert.equal(it.client.state, "reconnecting");
  assert.equal(it.heard("retry")[0].reason, "no sign of life");
  await it.back();
  assert.deepEqual(resumed(), [WHOLE]);
});

test("a connection that has not greeted yet is not asked", async () => {
  await it.socket.drop();
  await it.clock.advance(1000);
  await it.socket.open();
  await it.page.online();
  assert.deepEqual(it.socket.sent.map(({ method }) => method), ["connect"]);
});
