/** A GatewayClient among fakes, and what it told. */

import { GatewayClient } from "../gateway.js";
import { FakeClock, FakePage, fakeSockets, FakeStorage, settle } from "./fakes.js";

export const ADMIN = { protocol: 3, role: "admin", user_id: "alice" };
export const PENDING = { protocol: 3, status: "pending_pairing", pairing_code: "ABCD2345", sender_id: "device-1" };

const TOLD = ["state", "retry", "pairing", "ready", "history", "resumed", "dropped", "event"];

export class Harness {
  clock = new FakeClock();
  Socket = fakeSockets();
  storage = new FakeStorage();
  page = new FakePage();
  seen = [];

  make(options = {}) {
    this.client = new GatewayClient({
      url: "ws://here/ws",
      userId: "alice",
      WebSocket: this.Socket,
      timers: this.clock,
      random: () => 1,
      storage: this.storage,
      page: this.page,
      ...options,
    });
    for (const name of TOLD) this.client.on(name, (detail) => this.seen.push([name, detail]));
    return this.client;
  }

  get socket() {
    return this.Socket.last;
  }

  heard(name) {
    return this.seen.filter(([kind]) => kind === name).map(([, detail]) => detail);
  }

  /** The frames of this method that the newest socket took. */
  sent(method) {
    return this.socket.sent.filter((frame) => frame.method === method);
  }

  async dialled(options) {
    this.make(options).start();
    await settle();
    await this.socket.open();
  }

  async ready(options) {
    await this.dialled({ token: () => "secret", ...options });
    await this.socket.answer(ADMIN);
    return this.client;
  }

  /** From reconnecting to ready. */
  async back() {
    await this.clock.advance(this.clock.next);
    await this.socket.open();
    await this.socket.answer(ADMIN, this.sent("connect")[0].id);
  }

  async away() {
    await this.socket.drop();
    await this.back();
  }
}

/** What became of a promise, to be read at any time: `pending`, the payload, or the error's code. */
export function outcome(promise) {
  const result = { now: "pending" };
  promise.then(
    (payload) => (result.now = payload),
    (error) => (result.now = error.code),
  );
  return result;
}
