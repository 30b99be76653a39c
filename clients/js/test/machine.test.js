/**
 * Seeded random scripts of everything that can happen to a client. Held: its states follow the
 * state diagram, every request settles exactly once, nothing waits for ever, and a chat.send with
 * a messageId that was answered is never sent again.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { settle } from "./fakes.js";
import { ADMIN, Harness, PENDING } from "./harness.js";

const SCRIPTS = 150;
const STEPS = 60;
const LEGAL = {
  idle: ["connecting", "stopped"],
  connecting: ["pairing", "ready", "reconnecting", "stopped"],
  pairing: ["connecting", "reconnecting", "stopped"],
  ready: ["reconnecting", "stopped"],
  reconnecting: ["pairing", "ready", "stopped"],
  stopped: ["connecting"],
};

/** mulberry32: small, even enough, and the same on every machine. */
function chance(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Script {
  it = new Harness();
  asked = [];

  constructor(seed) {
    this.random = chance(seed);
    this.it.make({ random: this.random, token: () => (this.random() < 0.7 ? "secret" : ""), queueMax: 5 });
    this.it.client.watch("s");
  }

  pick(choices) {
    return choices[Math.floor(this.random() * choices.length)];
  }

  ask() {
    const method = this.pick(["chat.send", "status", "chat.history"]);
    const messageId = this.pick([undefined, `m-${this.asked.length}`]);
    const params = { sessionKey: "s", ...(method === "chat.send" && { messageId }) };
    const entry = { method, settled: 0, params };
    this.asked.push(entry);
    const count = () => (entry.settled += 1);
    const options = { queue: this.random() < 0.6, timeoutMs: this.pick([undefined, 50, 5000]) };
    this.it.client.request(method, params, options).then(count, count);
  }

  /** Answer one frame of the open socket, rightly or not. */
  async answer() {
    const frame = this.pick(this.it.socket.sent);
    if (!frame) return;
    if (this.random() < 0.15) return this.it.socket.refuse({ code: "X", retryable: this.random() < 0.7 }, frame.id);
    if (frame.method === "connect") return this.it.socket.answer(this.pick([ADMIN, ADMIN, PENDING]), frame.id);
    if (frame.method === "browser.pairing.status") {
      return this.it.socket.answer({ status: this.pick(["pending", "approved", "expired"]) }, frame.id);
    }
    return this.it.socket.answer({ messages: [{ id: String(Math.floor(this.random() * 3)) }] }, frame.id);
  }

  async step() {
    const { client, socket, clock, page } = this.it;
    const opened = socket?.readyState === 1;
    const alive = socket && socket.readyState < 2;
    const steps = [
      () => this.ask(),
      () => this.ask(),
      () => client.start(),
      () => clock.advance(this.pick([10, 1000, 40_000])),
      () => this.pick([page.online, page.offline, page.freeze, page.resume, () => page.hide(), () => page.show()])(),
    ];
    if (this.random() < 0.03) steps.push(() => client.stop());
    if (alive && !opened) steps.push(() => socket.open(), () => socket.open());
    if (opened) steps.push(...Array(5).fill(() => this.answer()));
    if (opened) steps.push(() => socket.deliver({ type: "event", event: "resync" }));
    if (alive) steps.push(() => socket.drop(this.pick([1006, 1006, 1009, 1012, 4003])));
    await this.pick(steps)();
    await settle();
  }

  async play() {
    for (let n = 0; n < STEPS; n += 1) await this.step();
    this.it.client.stop();
    await settle();
  }
}

function check(script) {
  const { it, asked } = script;
  let now = "idle";
  for (const { state, previous } of it.heard("state")) {
    assert.equal(previous, now);
    assert.ok(LEGAL[now].includes(state), `${now} -> ${state}`);
    now = state;
  }
  for (const { method, settled } of asked) assert.equal(settled, 1, method);
  assert.equal(it.client.queued, 0);
  assert.equal(it.clock.waiting, 0, "a timer was left");
  assert.equal(it.page.listening, 0, "a listener was left");
  for (const { sent } of it.Socket.sockets) {
    assert.equal(new Set(sent.map(({ id }) => id)).size, sent.length, "twice on one socket");
    if (sent.length) assert.equal(sent[0].method, "connect");
  }
  const ready = it.heard("ready").length;
  assert.ok(it.heard("resumed").every(({ missed }) => missed >= 0));
  return { ready, resumed: it.heard("resumed").length, asked: asked.length };
}

test(`${SCRIPTS} random scripts`, async () => {
  const sum = { ready: 0, resumed: 0, asked: 0 };
  for (let seed = 1; seed <= SCRIPTS; seed += 1) {
    const script = new Script(seed);
    try {
      await script.play();
      for (const [name, n] of Object.entries(check(script))) sum[name] += n;
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
  // The scripts are worth something only if they get somewhere.
  for (const [name, n] of Object.entries(sum)) assert.ok(n > SCRIPTS, `${name}: ${n}`);
});
