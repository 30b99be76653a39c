/** A SessionClient among fakes, and what it told. */

import { SessionClient } from "../sessions.js";
import { FakeClock, FakePage, fakeSockets, settle } from "./fakes.js";

export class Session {
  clock = new FakeClock();
  page = new FakePage();
  Socket = this.#sockets();
  seen = [];
  tokens = 0;

  #sockets() {
    return class extends fakeSockets() {
      constructor(url, ...more) {
        super(url);
        this.more = more;
      }
    };
  }

  make(options) {
    const given = { url: "ws://here", session: "session_1", organization: "acme", token: () => `token${(this.tokens += 1)}` };
    const fakes = { WebSocket: this.Socket, timers: this.clock, random: () => 1, page: this.page };
    this.client = new SessionClient({ ...given, ...fakes, ...options });
    for (const name of ["state", "retry", "resumed", "message", "rtt"]) {
      this.client.on(name, (detail) => this.seen.push([name, detail]));
    }
    return this.client;
  }

  get socket() {
    return Object.getPrototypeOf(this.Socket).sockets.at(-1);
  }

  get dials() {
    return Object.getPrototypeOf(this.Socket).sockets.length;
  }

  get query() {
    return Object.fromEntries(new URL(this.socket.url).searchParams);
  }

  heard(name) {
    return this.seen.filter(([kind]) => kind === name).map(([, detail]) => detail);
  }

  get uuids() {
    return this.heard("message").map(({ uuid }) => uuid);
  }

  sent(type) {
    return this.socket.sent.filter((frame) => frame.type === type);
  }

  /** What was asked on the newest socket, but for the look at open questions. */
  get requests() {
    return this.sent("control_request").filter(({ request }) => request.subtype !== "initialize");
  }

  alive() {
    return this.socket.deliver({ type: "keep_alive" });
  }

  event(...uuids) {
    return uuids.reduce((before, uuid) => before.then(() => this.socket.deliver({ type: "assistant", uuid })), settle());
  }

  respond(id, response, subtype = "success") {
    return this.socket.deliver({ type: "control_response", response: { subtype, request_id: id, ...response } });
  }

  /** The open questions, as the server has them. */
  open(...questions) {
    const looks = this.sent("control_request").filter(({ request }) => request.subtype === "initialize");
    return this.respond(looks.at(-1).request_id, { response: { pending_permission_requests: questions } });
  }

  async dialled(options) {
    this.make(options).start();
    await settle();
    await this.socket.open();
  }

  async ready(options) {
    await this.dialled(options);
    await this.alive();
    return this.client;
  }

  async dialledAgain() {
    await this.clock.advance(this.clock.next);
    await this.socket.open();
  }

  async back() {
    await this.dialledAgain();
    await this.alive();
  }

  async away() {
    await this.socket.drop();
    await this.back();
  }
}
