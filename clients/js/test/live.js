/** A TopicClient or a GroupClient among fakes, and what it told. */

import { GroupClient } from "../groups.js";
import { TopicClient } from "../topics.js";
import { FakeClock, FakePage, fakeSockets, settle } from "./fakes.js";

const TOLD = ["state", "retry", "rtt", "dropped", "gap", "error", "message", "presence"];

class Harness {
  clock = new FakeClock();
  Socket = fakeSockets();
  page = new FakePage();
  seen = [];

  make(options) {
    this.client = this.build({ WebSocket: this.Socket, timers: this.clock, random: () => 1, page: this.page, ...options });
    for (const name of TOLD) this.client.on(name, (detail) => this.seen.push([name, detail]));
    return this.client;
  }

  get socket() {
    return this.Socket.last;
  }

  heard(name) {
    return this.seen.filter(([kind]) => kind === name).map(([, detail]) => detail);
  }

  async dialled(options) {
    this.make(options).start();
    await settle();
    await this.socket.open();
  }

  async ready(options) {
    await this.dialled(options);
    await this.answered();
    return this.client;
  }

  /** From reconnecting to an open socket that has answered nothing. */
  async dialledAgain() {
    await this.clock.advance(this.clock.next);
    await this.socket.open();
  }

  async back() {
    await this.dialledAgain();
    await this.answered();
  }

  async away() {
    await this.socket.drop();
    await this.back();
  }
}

export class Topics extends Harness {
  revoked = "token";
  kept = ["one", "two", "three"];

  build = (options) => new TopicClient({ url: "ws://here/nexus/ws", token: "secret", ...options });
  renewable = (credential) => ({ token: credential });
  shown = () => new URL(this.socket.url).searchParams.get("token");
  say = (text) => this.client.publish("room", text);
  said = () => this.socket.sent.filter(({ action }) => action === "publish").map(({ payload }) => payload);
  proofs = () => this.socket.sent.filter(({ action }) => action === "ping").length;
  answered = () => this.socket.deliver({ type: "pong", timestamp: 1 });

  subscribed(channel, answer = {}) {
    return this.socket.deliver({ type: "subscribed", channel, ...answer });
  }

  published(data, more = {}) {
    return this.socket.deliver({ type: "message", channel: "room", from: "bob", data, timestamp: "now", ...more });
  }

  /** What was asked of the server with this action, on the newest socket. */
  asked(action) {
    return this.socket.sent.filter((frame) => frame.action === action);
  }
}

export class Groups extends Harness {
  build = (options) => new GroupClient({ url: "ws://here", group: "team", client: "alice", apiKey: "secret", ...options });
  renewable = (credential) => ({ apiKey: credential });
  shown = () => new URL(this.socket.url).searchParams.get("api_key");
  say = (text) => this.client.sendGroup(text);
  said = () => this.socket.sent.filter(({ target }) => target === "group").map(({ msg }) => msg);
  proofs = () => this.socket.sent.filter((frame) => frame.msg_type === "heartbeat" && frame.target === "echo").length;
  answered = () => this.message({ msg_type: "heartbeat", target: "echo", from_id: "alice" });

  message(more) {
    const blank = { version: "3", msg_type: "msg", target: "group", from_id: "bob", to_id: null, group_id: "team", cmd: null, msg: null };
    return this.socket.deliver({ ...blank, payload: {}, sent_at: "now", ...more });
  }

  server(cmd, payload, msg = null) {
    return this.message({ target: "echo", from_id: "server", to_id: "alice", cmd, payload, msg });
  }

  get since() {
    const { searchParams } = new URL(this.socket.url);
    return [searchParams.get("since_epoch"), searchParams.get("since_offset")];
  }
}
