/** Groups: what is said, what is heard, numbers. PROTOCOLS.md section 4, decision 0010. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Groups } from "./live.js";

let it;

const texts = () => it.heard("message").map(({ msg }) => msg);

beforeEach(() => {
  it = new Groups();
});

test("ids of any script stand in the path, encoded once; what is not shown is empty", async () => {
  await it.ready({ group: "a/b ü", client: "50%:@?", apiKey: undefined, jwt: () => "j.w.t", account: "acme" });
  const { pathname, search } = new URL(it.socket.url);
  assert.equal(pathname, "/v3/ws/group/a%2Fb%20%C3%BC/client/50%25%3A%40%3F");
  assert.equal(search, "?api_key=&jwt=j.w.t&x_account_id=acme&since_epoch=&since_offset=");
});

test("a server below a path is reached there, with the query of its address", async () => {
  await it.ready({ url: "wss://here/gate/?via=a" });
  const { pathname, searchParams } = new URL(it.socket.url);
  assert.equal(pathname, "/gate/v3/ws/group/team/client/alice");
  assert.deepEqual([searchParams.get("via"), searchParams.get("api_key")], ["a", "secret"]);
});

test("ids that no address of a browser can hold are refused at once", () => {
  for (const id of ["", ".", ".."]) {
    assert.throws(() => it.make({ group: id }), /no id/);
    assert.throws(() => it.make({ client: id }), /no id/);
  }
  it.make({ group: "...", client: ".a" });
});

test("frames are those of the protocol", async () => {
  await it.ready();
  it.client.sendGroup("hi", { n: 1 });
  it.client.sendDirect("bob", "psst");
  it.client.broadcast("all");
  it.client.echo("me");
  it.client.cmd("RUN", { n: 2 });
  it.client.cmd("STOP", {}, "bob");
  it.client.send({ msg_type: "presence", target: "group", payload: { status: "away" } });
  assert.deepEqual(it.socket.sent, [
    { msg_type: "heartbeat", target: "echo" },
    { msg_type: "msg", target: "group", msg: "hi", payload: { n: 1 } },
    { msg_type: "msg", target: "direct", to_id: "bob", msg: "psst", payload: {} },
    { msg_type: "msg", target: "broadcast", msg: "all", payload: {} },
    { msg_type: "msg", target: "echo", msg: "me", payload: {} },
    { msg_type: "cmd", target: "group", to_id: null, cmd: "RUN", payload: { n: 2 } },
    { msg_type: "cmd", target: "direct", to_id: "bob", cmd: "STOP", payload: {} },
    { msg_type: "presence", target: "group", payload: { status: "away" } },
  ]);
});

test("messages, presence and errors are told apart; the answer to the heartbeat is neither", async () => {
  await it.ready();
  await it.message({ msg: "to all" });
  await it.message({ target: "direct", to_id: "alice", msg: "psst" });
  await it.message({ target: "echo", from_id: "alice", msg: "me" });
  await it.message({ target: "direct", from_id: "server", cmd: "NOTICE", msg: "soon" });
  await it.message({ msg_type: "heartbeat", msg: "still here" });
  await it.message({ msg_type: "presence", payload: { status: "online" } });
  const errors = [{ code: "INVALID_REQUEST", message: "…", field: "to_id" }];
  await it.server("ERROR", { errors }, "message not routed");
  assert.deepEqual(texts(), ["to all", "psst", "me", "soon", "still here"]);
  assert.deepEqual(it.heard("presence").map(({ payload }) => payload), [{ status: "online" }]);
  assert.deepEqual(it.heard("error"), [{ message: "message not routed", errors }]);
});

test("who calls itself server is heard, and moves nothing", async () => {
  await it.ready();
  for (const cmd of ["RECOVERED", "ERROR"]) {
    for (const target of ["group", "direct", "broadcast"]) {
      await it.message({ target, from_id: "server", cmd, payload: { recovered: false, reason: "forged" } });
    }
  }
  await it.message({ target: "echo", from_id: "alice", cmd: "RECOVERED", payload: { recovered: false } });
  assert.equal(texts().length, 7);
  assert.deepEqual([it.heard("gap"), it.heard("error")], [[], []]);
});

test("a rate that was exceeded is told, and the connection stays", async () => {
  await it.ready();
  await it.clock.advance(30_000);
  await it.server("ERROR", { errors: [{ code: "RATE_LIMITED", message: "…", retry_after_ms: 5 }] }, "too many");
  await it.clock.advance(5000);
  assert.deepEqual([it.client.state, it.proofs()], ["ready", 3]);
});

async function numbered(offset = 4) {
  await it.dialled();
  await it.server("RECOVERED", { recovered: true, epoch: "e", offset });
  await it.answered();
}

test("first from now on, then from the last number; what was missed comes in order, once", async () => {
  await numbered();
  assert.deepEqual(it.since, ["", ""]);
  await it.message({ msg: "5", epoch: "e", offset: 5 });
  await it.socket.drop();
  await it.dialledAgain();
  assert.deepEqual(it.since, ["e", "5"]);
  await it.server("RECOVERED", { recovered: true, epoch: "e", offset: 7 });
  for (const offset of [5, 6, 7, 8]) await it.message({ msg: `${offset}`, offset });
  await it.answered();
  assert.deepEqual([texts(), it.heard("gap")], [["5", "6", "7", "8"], []]);
});

test("what waits is sent when the group has been joined again", async () => {
  await numbered();
  await it.socket.drop();
  it.client.sendGroup("waited");
  await it.dialledAgain();
  await it.server("RECOVERED", { recovered: true, epoch: "e", offset: 4 });
  assert.deepEqual(it.said(), []);
  await it.answered();
  assert.deepEqual(it.said(), ["waited"]);
});

test("not recovered, a jump and another epoch are gaps, and nothing is dropped for them", async () => {
  await numbered();
  await it.message({ msg: "6", epoch: "e", offset: 6 });
  await it.message({ msg: "1", epoch: "f", offset: 1 });
  await it.socket.drop();
  await it.dialledAgain();
  await it.server("RECOVERED", { recovered: false, reason: "trimmed", epoch: "f", offset: 90 });
  await it.answered();
  assert.deepEqual(texts(), ["6", "1"]);
  assert.deepEqual(it.heard("gap").map(({ reason }) => reason), ["jump", "epoch", "trimmed"]);
});

test("direct messages, broadcasts and echoes have no numbers, and are no gaps", async () => {
  await numbered();
  for (const target of ["direct", "broadcast", "echo"]) await it.message({ target, msg: target });
  await it.message({ msg: "5", epoch: "e", offset: 5 });
  assert.deepEqual([texts().length, it.heard("gap")], [4, []]);
});

test("a server that knows no numbers: each return is a gap", async () => {
  await it.ready();
  await it.message({ msg: "1" });
  assert.deepEqual(it.heard("gap"), []);
  await it.away();
  assert.deepEqual(it.heard("gap"), [{ reason: "unnumbered" }]);
});
