/** Every close code that 001 knows, and those that come from between. PROTOCOLS.md 0.2 and 2.12. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Harness } from "./harness.js";

const AGAIN = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 1015, 4000, 4001, 4008, 4009, 4010];

let it;

beforeEach(() => {
  it = new Harness();
});

for (const code of AGAIN) {
  test(`after ${code} it comes back`, async () => {
    await it.ready();
    await it.socket.drop(code, "why");
    assert.equal(it.client.state, "reconnecting");
    assert.deepEqual(it.heard("retry"), [{ delayMs: 1000, code, reason: "why" }]);
    await it.back();
    assert.equal(it.client.state, "ready");
  });
}

test("after 4003 it does not, until it is started again", async () => {
  let asked = 0;
  await it.ready({ token: () => `token ${(asked += 1)}` });
  await it.socket.drop(4003, "revoked");
  assert.equal(it.clock.waiting, 0);
  await it.page.online();
  await it.page.show();
  assert.equal(it.Socket.sockets.length, 1);
  it.client.start();
  await it.clock.advance(0);
  await it.socket.open();
  assert.equal(it.socket.request.params.token, "token 2");
});

test("1012 is answered soon, however many attempts failed before; other codes are not", async () => {
  await it.ready();
  for (const code of [1006, 1006, 1006, 1012, 1013]) {
    await it.socket.drop(code);
    await it.clock.advance(it.clock.next);
  }
  assert.deepEqual(it.heard("retry").map(({ delayMs }) => delayMs), [1000, 2000, 4000, 1000, 16_000]);
});

test("with real chance every delay is below its ceiling, and they differ", async () => {
  await it.ready({ random: Math.random, minDelayMs: 100_000, maxDelayMs: 400_000 });
  const ceilings = [100_000, 200_000, 400_000, 400_000, 400_000, 400_000];
  for (const _ of ceilings) {
    await it.socket.drop();
    await it.clock.advance(it.clock.next);
  }
  const delays = it.heard("retry").map(({ delayMs }) => delayMs);
  delays.forEach((delay, n) => assert.ok(delay >= 0 && delay <= ceilings[n], `${delay} of ${ceilings[n]}`));
  assert.equal(new Set(delays).size, delays.length);
});

test("the token is asked for at each attempt, also those that never open", async () => {
  const shown = [];
  let asked = 0;
  await it.ready({ token: () => `token ${(asked += 1)}` });
  shown.push(it.socket.sent[0].params.token);
  await it.socket.drop();
  await it.clock.advance(1000);
  await it.socket.drop();
  await it.back();
  shown.push(it.sent("connect")[0].params.token);
  assert.deepEqual(shown, ["token 1", "token 3"]);
});

test("a token function that fails costs one attempt", async () => {
  const answers = [() => Promise.reject(new Error("no network")), () => "secret"];
  it.make({ token: () => answers.shift()() }).start();
  await it.clock.advance(0);
  assert.equal(it.heard("retry")[0].reason, "no network");
  await it.back();
  assert.equal(it.client.state, "ready");
});
