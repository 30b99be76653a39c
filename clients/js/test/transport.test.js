import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { ResilientSocket } from "../transport.js";
import { FakeClock, fakeSockets, settle } from "./fakes.js";

let clock, Socket, seen, transport;

function make(options = {}) {
  transport = new ResilientSocket(
    {
      opened: () => seen.push("opened"),
      received: (text) => seen.push(text),
      lost: (loss) => seen.push(loss),
    },
    { url: "ws://here/ws", WebSocket: Socket, timers: clock, random: () => 1, permanent: [4003], ...options },
  );
  return transport;
}

const delays = () => seen.filter((item) => item.delayMs !== undefined).map(({ delayMs }) => delayMs);

beforeEach(() => {
  clock = new FakeClock();
  Socket = fakeSockets();
  seen = [];
});

test("text goes both ways", async () => {
  make().start();
  await settle();
  assert.equal(transport.send('"early"'), false);
  await Socket.last.open();
  assert.equal(transport.send('"hi"'), true);
  await Socket.last.deliver("hello");
  assert.deepEqual(Socket.last.sent, ["hi"]);
  assert.deepEqual(seen, ["opened", "hello"]);
});

test("delays double from one second to thirty", async () => {
  make().start();
  for (const expected of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
    await settle();
    await Socket.last.drop();
    assert.equal(clock.next, expected);
    await clock.advance(expected);
  }
  assert.equal(Socket.sockets.length, 8);
});

test("a delay is drawn evenly below its ceiling", async () => {
  const draws = [0, 0.25, 0.5];
  make({ random: () => draws.shift() }).start();
  for (const expected of [0, 500, 2000]) {
    await settle();
    await Socket.last.drop();
    await clock.advance(expected);
  }
  assert.deepEqual(delays(), [0, 500, 2000]);
});

test("delays start small again only after a steady conversation", async () => {
  make().start();
  await settle();
  for (const wait of [1000, 2000]) {
    await Socket.last.open();
    transport.settled();
    await clock.advance(100);
    await Socket.last.drop();
    await clock.advance(wait);
  }
  await Socket.last.open();
  transport.settled();
  await clock.advance(5000);
  await Socket.last.drop();
  assert.deepEqual(delays(), [1000, 2000, 1000]);
});

test("after 1012 the next attempt comes soon, whatever failed before", async () => {
  make().start();
  await settle();
  await Socket.last.drop();
  await clock.advance(1000);
  await Socket.last.drop(1012, "restarting");
  assert.deepEqual(seen.at(-1), { code: 1012, reason: "restarting", delayMs: 1000 });
});

test("an error is heard, for in some Nodes one that nobody hears ends the program", async () => {
  make().start();
  await settle();
  Socket.last.onerror({ type: "error" });
  assert.equal(transport.running, true);
  await Socket.last.drop();
  assert.deepEqual(delays(), [1000]);
});

test("a permanent code ends it", async () => {
  make().start();
  await settle();
  await Socket.last.open();
  await Socket.last.drop(4003, "revoked");
  assert.deepEqual(seen.at(-1), { code: 4003, reason: "revoked", delayMs: null });
  assert.equal(transport.running, false);
  assert.equal(clock.waiting, 0);
});

test("stop leaves no timer, and a late sign of the old socket is not heard", async () => {
  make().start();
  await settle();
  const [old] = Socket.sockets;
  await old.open();
  transport.stop();
  assert.equal(old.closedWith, 1000);
  await old.deliver("late");
  await old.drop();
  assert.deepEqual(seen, ["opened"]);
  assert.equal(clock.waiting, 0);
});

test("a socket that does not open in time is given up", async () => {
  make({ openTimeoutMs: 4000 }).start();
  await clock.advance(4000);
  assert.equal(seen.at(-1).reason, "no connection in time");
  await clock.advance(1000);
  assert.equal(Socket.sockets.length, 2);
});

test("a socket that has opened is not given up, however long it lasts", async () => {
  make({ openTimeoutMs: 4000 }).start();
  await settle();
  await Socket.last.open();
  await clock.advance(10_000);
  assert.deepEqual(seen, ["opened"]);
});

test("nothing is dialled when it was stopped while the address was being asked for", async () => {
  let tell;
  make({ url: () => new Promise((resolve) => (tell = resolve)) }).start();
  transport.stop();
  tell("ws://a/");
  await settle();
  assert.equal(Socket.sockets.length, 0);
});

test("the address is asked for at each attempt, and its failure counts as one", async () => {
  const addresses = [() => "ws://a/", () => Promise.reject(new Error("no network")), () => "ws://b/"];
  make({ url: () => addresses.shift()() }).start();
  await settle();
  await Socket.last.drop();
  await clock.advance(1000);
  assert.equal(seen.at(-1).reason, "no network");
  await clock.advance(2000);
  assert.deepEqual(Socket.sockets.map(({ url }) => url), ["ws://a/", "ws://b/"]);
});

test("start while waiting dials at once, and only once", async () => {
  make().start();
  await settle();
  await Socket.last.drop();
  transport.start();
  await clock.advance(2000);
  assert.equal(Socket.sockets.length, 2);
});
