/** What the clients of topics, groups and sessions share: a socket that comes back, what waits for it, signs of life. */

/** @import { Given, LiveOptions, LiveState } from "./shared.d.ts" */
/** @import { Address, Loss, TransportOptions } from "./transport.d.ts" */

import { Emitter, given } from "./events.js";
import { clock, ResilientSocket } from "./transport.js";

const REVOKED = 4003;
// Browsers do not tell the status of a refused handshake.
const REFUSED = "the handshake was refused, or nobody is there";

const defaults = { pingMs: 30_000, proofTimeoutMs: 5000, queueMax: 1000 };

/**
 * The server answers in order: when the first proof is answered, all that was asked before it is.
 * @extends {Emitter<LiveState>}
 */
export class LiveClient extends Emitter {
  #options;
  #transport;
  #proof;
  #renewable;
  #renewed = false; // the credentials, after 4003
  #opened = false;
  #heard = false; // anything since the last proof was asked for
  /** @type {number | null} */
  #askedAt = null;
  /** @type {unknown} */
  #timer;
  #pings = /** @type {((ms: number | null) => void)[]} */ ([]);
  #queue = /** @type {object[]} */ ([]);

  /**
   * `proof`: the frame that is answered by all means.
   * @param {LiveOptions & Pick<TransportOptions, "delay"> & { pongMs?: number }} options
   * @param {object} proof
   * @param {(Given | undefined)[]} credentials
   */
  constructor(options, proof, ...credentials) {
    super("idle");
    this.#options = { ...defaults, ...given(options), timers: { ...clock, ...options.timers } };
    this.#proof = proof;
    this.#renewable = credentials.some((one) => typeof one === "function");
    this.#transport = new ResilientSocket(
      {
        opened: () => {
          this.#opened = true;
          this.greet();
          this.#prove();
        },
        received: (text) => this.#receive(text),
        lost: (loss) => this.#lost(loss),
        doubted: () => this.#prove(),
        ponged: () => this.proved(),
      },
      { ...given(options), soon: [1012, REVOKED], url: (wanted) => this.address(wanted) },
    );
  }

  get queued() {
    return this.#queue.length;
  }

  start() {
    if (this.state === "connecting" || this.state === "ready") return;
    this.#hangUp(); // a socket that was not ready yet is given up
    this.#transport.start();
    if (this.state !== "reconnecting") this.become("connecting");
  }

  stop() {
    this.#halt("stopped by the page");
  }

  /** @returns {Promise<number | null>} */
  ping() {
    return new Promise((resolve) => {
      this.#pings.push(resolve);
      if (this.#askedAt === null && !this.#prove()) this.#answerPings(null);
    });
  }

  /** Send now, or when ready. */
  say(/** @type {object} */ frame) {
    if (this.state === "ready" && this.tell(frame)) return true;
    const { queueMax } = this.#options;
    const over = this.state === "idle" || this.state === "stopped";
    if (!over && this.#queue.length < queueMax) return this.#queue.push(frame) > 0;
    const reason = over ? "not connected" : `${queueMax} messages are waiting already`;
    this.emit("dropped", { frame, reason });
    return false;
  }

  /** Send now or never. */
  tell(/** @type {object} */ frame) {
    return this.#transport.send(JSON.stringify(frame));
  }

  // --- what a subclass says

  /** @returns {Promise<Address>} */
  async address(/** @type {() => boolean} */ _wanted) {
    return "";
  }

  greet() {}

  /** All that was asked first is answered. */
  greeted() {}

  received(/** @type {any} */ _frame) {}

  /** Ask for a sign of life; whether that could be said. */
  prove() {
    return this.tell(this.#proof);
  }

  /** By a ping frame, where sockets have them. */
  pinged() {
    return this.#transport.ping();
  }

  /** Give this socket up for the next one. */
  leave(/** @type {string} */ reason) {
    this.#transport.fail(reason);
  }

  /** To be called at the answer. */
  proved() {
    if (this.#askedAt === null) return;
    const { timers, pingMs, pongMs } = this.#options;
    const ms = timers.now() - this.#askedAt;
    this.#askedAt = null;
    this.#wait(pingMs, () => this.#prove(pongMs));
    this.#answerPings(ms);
    if (this.state === "ready") this.#renewed = false;
    else this.greeted();
    if (!this.#opened) return; // a listener has hung up
    this.#transport.settled();
    this.become("ready", {}, () => {
      while (this.#queue.length && this.tell(this.#queue[0])) this.#queue.shift();
    });
    this.emit("rtt", { ms });
  }

  // --- the line

  /** An open socket may be dead: whatever is heard proves that it is not. */
  #prove(withinMs = this.#options.proofTimeoutMs) {
    const { timers } = this.#options;
    if (!this.prove()) return false;
    this.#heard = false;
    this.#askedAt ??= timers.now();
    this.#wait(withinMs, () => (this.#heard ? this.#prove(withinMs) : this.#transport.terminate("no sign of life")));
    return true;
  }

  #receive(/** @type {string} */ text) {
    this.#heard = true;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // not ours to judge; the next frame may be fine
    }
    this.received(frame ?? {});
  }

  #lost(/** @type {Loss} */ { code, reason, delayMs }) {
    const text = reason || (this.#opened ? "the connection was lost" : REFUSED);
    const over = delayMs === null || (code === REVOKED && (this.#renewed || !this.#renewable));
    if (over) return this.#halt(text, code, new Error(text));
    this.#renewed ||= code === REVOKED;
    this.#hangUp();
    this.become("reconnecting", { code, reason: text });
    this.emit("retry", { delayMs, code, reason: text });
  }

  #halt(/** @type {string} */ reason, code = 0, error = /** @type {Error | null} */ (null)) {
    this.#transport.stop();
    this.#hangUp();
    this.#renewed = false;
    for (const frame of this.#queue.splice(0)) this.emit("dropped", { frame, reason });
    this.become("stopped", { code, reason, error });
  }

  #hangUp() {
    this.#opened = false;
    this.#askedAt = null;
    this.#options.timers.clearTimeout(this.#timer);
    this.#answerPings(null);
  }

  #wait(/** @type {number} */ delayMs, /** @type {() => void} */ run) {
    const { timers } = this.#options;
    timers.clearTimeout(this.#timer);
    this.#timer = timers.setTimeout(run, delayMs);
  }

  #answerPings(/** @type {number | null} */ ms) {
    for (const answer of this.#pings.splice(0)) answer(ms);
  }
}

/** What is given, or what the function says now. */
export async function asked(/** @type {Given | undefined} */ given) {
  return (typeof given === "function" ? await given() : given) || "";
}
