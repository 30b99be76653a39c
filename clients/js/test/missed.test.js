/** A session's client: what was missed, what was said, questions. PROTOCOLS.md 3.4, 3.9. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Session } from "./session.js";

const QUESTION = { type: "control_request", request_id: "q1", request: { subtype: "can_use_tool", tool_name: "Bash" } };
const ALLOW = { behavior: "allow", updatedInput: {} };
const ANSWER = { type: "control_response", response: { subtype: "success", request_id: "q1", response: ALLOW } };

let it;

beforeEach(() => {
  it = new Session();
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

test("what is said twice with one id is said once, and both hear that it is stored", async () => {
  await it.ready();
  const both = [it.client.sendMessage("hello", "u1"), it.client.sendMessage("hello", "u1")];
  assert.equal(it.sent("user").length, 1);
  await it.socket.deliver({ type: "user", uuid: "u1" });
  await Promise.all(both);
  await it.socket.deliver({ type: "user", uuid: "u1" });
  assert.deepEqual(it.uuids, ["u1"]);
});

test("a second answer to a request changes nothing", async () => {
  await it.ready();
  const asked = it.client.sendControlRequest({ subtype: "get_settings" });
  const [{ request_id: id }] = it.requests;
  await it.respond(id, { response: { theme: "dark" } });
  await it.respond(id, { error: "no" }, "error");
  assert.deepEqual([await asked, it.client.queued], [{ theme: "dark" }, 0]);
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
  await it.away();
  await it.open(QUESTION);
  assert.deepEqual(it.heard("message").at(-1), QUESTION, "it was asked anew");
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
  await it.socket.deliver(QUESTION);
  assert.equal(it.heard("message").length, 2, "a new question, for the old one is settled");
});

test("a look at the open questions that is refused shows nothing", async () => {
  await it.ready();
  await it.socket.deliver(QUESTION);
  it.client.answer("q1", ALLOW);
  await it.socket.deliver({ ...QUESTION, request_id: "q2" });
  await it.away();
  const [look] = it.sent("control_request");
  await it.respond(look.request_id, { error: "rate limit exceeded" }, "error");
  assert.deepEqual(it.heard("message").map(({ type }) => type), ["control_request", "control_request"]);
  await it.away();
  await it.open(QUESTION);
  assert.deepEqual(it.sent("control_response"), [ANSWER]);
});

test("an answer that is refused is told, and is not given again", async () => {
  await it.ready();
  await it.open(QUESTION);
  it.client.answer("q1", ALLOW);
  await it.respond("q1", { error: "permission denied" }, "error");
  assert.equal(it.heard("message").at(-1).response.error, "permission denied");
  await it.away();
  await it.open(QUESTION);
  assert.deepEqual([it.sent("control_response"), it.heard("message").length], [[], 2]);
  it.client.answer("q1", ALLOW);
  assert.deepEqual(it.sent("control_response"), [ANSWER]);
});

test("an answer given offline goes out when the question is still open", async () => {
  await it.ready();
  await it.socket.deliver(QUESTION);
  await it.socket.drop();
  await it.dialledAgain();
  it.client.answer("q1", ALLOW);
  assert.deepEqual(it.sent("control_response"), []);
  await it.alive();
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
