/** The requests of a gateway's client: sent, kept for later, sent again, answered or given up. */

/** @import { Dropped, GatewayErrorFields } from "./gateway.d.ts" */
/** @import { Timers } from "./transport.d.ts" */

const TOO_BIG = 1009; // the close code for a frame that would be refused again

/** A refusal or a failure; `retryable` says that the same request may succeed later. */
export class GatewayError extends Error {
  /** @param {GatewayErrorFields} [fields] */
  constructor({ code = "INTERNAL", message = code, retryable = false, retryAfterMs, details } = {}) {
    super(message);
    this.name = "GatewayError";
    this.code = code;
    this.retryable = Boolean(retryable);
    this.retryAfterMs = retryAfterMs;
    this.details = details;
  }
}

/** The socket went away, or was never there: whether the server acted on the request is unknown. */
export class ConnectionLost extends GatewayError {
  constructor(message = "not connected") {
    super({ code: "UNAVAILABLE", message, retryable: true });
  }
}

/** Nobody answered in time. */
export class NoAnswer extends GatewayError {
  constructor(/** @type {string} */ method, /** @type {number} */ timeoutMs) {
    super({ code: "TIMEOUT", message: `${method}: no answer in ${timeoutMs} ms`, retryable: true });
  }
}

// `timer` is set when it is first sent.
/** @typedef {{ id: string, method: string, params: any, frame: string, timeoutMs: number, timer: unknown,
 *   resolve(payload: any): void, reject(error: Error): void }} Asked */

export class Requests {
  #parts;
  #lastId = 0;
  /** @type {Map<string, Asked>} */
  #pending = new Map();
  /** @type {Asked[]} */
  #queue = [];

  /**
   * `send` says whether it could; `dropped` is told of each queued request that is never sent.
   * @param {{ timers: Timers, queueMax: number,
   *   send(text: string): boolean, dropped(what: Dropped): void }} parts
   */
  constructor(parts) {
    this.#parts = parts;
  }

  get queued() {
    return this.#queue.length;
  }

  /**
   * The payload of the answer. `now`: it may be sent at once; `queue`: it may wait.
   * @param {string} method
   * @param {any} params
   * @param {{ timeoutMs: number, now?: boolean, queue?: boolean }} how
   * @returns {Promise<any>}
   */
  ask(method, params, { timeoutMs, now = true, queue = false }) {
    return new Promise((resolve, reject) => {
      const id = String(++this.#lastId);
      const frame = JSON.stringify({ type: "req", id, method, params });
      const asked = { id, method, params, frame, timeoutMs, timer: null, resolve, reject };
      if (now && this.#put(asked)) return;
      if (queue) this.#keep(asked);
      else reject(new ConnectionLost());
    });
  }

  /** @param {{ id: string, ok: boolean, payload?: any, error?: GatewayErrorFields }} answer */
  answered({ id, ok, payload, error }) {
    const asked = this.#take(id);
    if (ok) asked?.resolve(payload);
    else asked?.reject(new GatewayError(error ?? {}));
  }

  /** The connection went: what the server recognises when it comes again is kept, the rest rejected. */
  lost(/** @type {string} */ reason, code = 0) {
    for (const { id, method, params } of [...this.#pending.values()]) {
      const again = method === "chat.send" && params?.messageId && code !== TOO_BIG;
      if (!again) this.#take(id)?.reject(new ConnectionLost(reason));
    }
  }

  /** The conversation works again: send what was kept, in its order. */
  resume(before = () => {}) {
    const again = [...this.#pending.values()];
    before();
    for (const asked of again) this.#put(asked);
    for (const asked of [...this.#queue]) {
      if (!this.#put(asked)) return;
      this.#queue.shift();
    }
  }

  /** No connection will follow. */
  end(/** @type {string} */ reason) {
    for (const id of [...this.#pending.keys()]) this.#take(id)?.reject(new ConnectionLost(reason));
    for (const asked of this.#queue.splice(0)) this.#drop(asked, new ConnectionLost(reason));
  }

  #put(/** @type {Asked} */ asked) {
    if (!this.#parts.send(asked.frame)) return false;
    const { id, method, timeoutMs } = asked;
    this.#pending.set(id, asked);
    asked.timer ??= this.#parts.timers.setTimeout(() => {
      this.#take(id)?.reject(new NoAnswer(method, timeoutMs));
    }, timeoutMs);
    return true;
  }

  #keep(/** @type {Asked} */ asked) {
    const { queueMax } = this.#parts;
    const message = `${queueMax} requests are waiting already`;
    if (this.#queue.length < queueMax) this.#queue.push(asked);
    else this.#drop(asked, new GatewayError({ code: "QUEUE_FULL", message, retryable: true }));
  }

  #drop(/** @type {Asked} */ { method, params, reject }, /** @type {GatewayError} */ error) {
    reject(error);
    this.#parts.dropped({ method, params, reason: error.message });
  }

  #take(/** @type {string} */ id) {
    const asked = this.#pending.get(id);
    this.#parts.timers.clearTimeout(asked?.timer);
    this.#pending.delete(id);
    return asked;
  }
}
