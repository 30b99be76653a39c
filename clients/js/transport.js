/** A WebSocket that comes back; knows no protocol. Times are milliseconds. Options: transport.d.ts. */

/** @import { SocketLike, Timers, TransportHandlers, TransportOptions } from "./transport.d.ts" */

const OPEN = 1;
const DOCUMENT_EVENTS = ["visibilitychange", "freeze", "resume"];

/** @type {Required<Timers>} */
export const clock = {
  setTimeout: (run, delayMs) => globalThis.setTimeout(run, delayMs),
  clearTimeout: (timer) => globalThis.clearTimeout(/** @type {any} */ (timer)),
  now: () => Date.now(),
};

const defaults = {
  WebSocket: globalThis.WebSocket,
  random: Math.random,
  page: /** @type {any} */ ("addEventListener" in globalThis ? globalThis : null),
  minDelayMs: 1000,
  maxDelayMs: 30_000,
  openTimeoutMs: 15_000,
  steadyMs: 5000,
  doubtMs: 30_000,
  permanent: /** @type {number[]} */ ([]),
  soon: [1012], // the server will be back at once
};

/**
 * Keeps a socket until told to stop.
 *
 * Delays between attempts grow from `minDelayMs` to `maxDelayMs` and are drawn evenly from zero up
 * (full jitter), so that a thousand clients do not come back together. They start small again only
 * after a conversation has been `settled` for `steadyMs`: a server that accepts and drops is spared.
 */
export class ResilientSocket {
  #handlers;
  #options;
  /** @type {SocketLike | null} */
  #socket = null;
  #attempt = 0; // a late sign of an earlier attempt is told apart by this number
  #failures = 0;
  #running = false;
  #waiting = false; // for the next attempt
  /** @type {unknown} */
  #timer;
  /** @type {number | null} */
  #awaySince = null; // hidden or frozen

  constructor(/** @type {TransportHandlers} */ handlers, /** @type {TransportOptions} */ options) {
    this.#handlers = handlers;
    this.#options = { ...defaults, ...options, timers: { ...clock, ...options.timers } };
    if (!this.#options.WebSocket) throw new TypeError("here the class of sockets must be given: WebSocket");
  }

  get running() {
    return this.#running;
  }

  /** Dial now, whatever was waiting or open before. */
  start() {
    this.#running = true;
    this.#listen("addEventListener");
    this.#dial();
  }

  stop() {
    this.#failures = 0;
    this.#end();
    this.#abandon();
  }

  /** Something may have changed: dial now if waiting; an open socket has to prove that it lives. */
  nudge() {
    this.#rouse(true);
  }

  /** False when there is no open socket; nothing is kept for later. */
  send(/** @type {string} */ text) {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  /** Ask with a ping frame, and hear of it by `ponged`; false where sockets have none, as in browsers. */
  ping() {
    if (this.#socket?.readyState !== OPEN || !this.#socket.ping) return false;
    this.#socket.ping();
    return true;
  }

  /** The conversation works. */
  settled() {
    this.#setTimer(() => {
      this.#failures = 0;
    }, this.#options.steadyMs);
  }

  /** Give this socket up and try again after a delay, as if it had been closed. */
  fail(/** @type {string} */ reason, code = 0) {
    if (this.#running) this.#lose(this.#attempt, code, reason);
  }

  /** The same for a dead line, where nobody would answer a closing handshake. */
  terminate(/** @type {string} */ reason) {
    const socket = this.#socket;
    this.fail(reason);
    socket?.terminate?.();
  }

  async #dial() {
    this.#abandon();
    const attempt = this.#attempt;
    const { url, openTimeoutMs, WebSocket } = this.#options;
    this.#setTimer(() => this.#lose(attempt, 0, "no connection in time"), openTimeoutMs);
    try {
      const address = typeof url === "function" ? await url(() => attempt === this.#attempt) : url;
      const parts = /** @type {[string]} */ ([address].flat());
      if (attempt === this.#attempt) this.#follow(new WebSocket(...parts), attempt);
    } catch (error) {
      this.#lose(attempt, 0, error instanceof Error ? error.message : String(error));
    }
  }

  #follow(/** @type {SocketLike} */ socket, /** @type {number} */ attempt) {
    const current = () => attempt === this.#attempt;
    this.#socket = socket;
    socket.onopen = () => {
      if (!current()) return;
      this.#clearTimer();
      this.#handlers.opened();
    };
    socket.onmessage = ({ data }) => {
      if (current() && typeof data === "string") this.#handlers.received(data);
    };
    socket.onerror = () => {}; // a close follows; unheard, it would end an older Node
    const hear = socket.on ?? socket.addEventListener;
    hear?.call(socket, "pong", () => current() && this.#handlers.ponged?.());
    socket.onclose = ({ code, reason }) => this.#lose(attempt, code, reason);
  }

  #lose(/** @type {number} */ attempt, /** @type {number} */ code, /** @type {string} */ reason) {
    if (attempt !== this.#attempt) return;
    this.#abandon();
    const delayMs = this.#delay(code);
    if (delayMs === null) {
      this.#end();
    } else {
      this.#failures += 1;
      this.#waiting = true;
      this.#setTimer(() => this.#dial(), delayMs);
    }
    this.#handlers.lost({ code, reason, delayMs });
  }

  #delay(/** @type {number} */ code) {
    const { permanent, delay, soon, minDelayMs, maxDelayMs, random } = this.#options;
    if (permanent.includes(code)) return null;
    const own = delay?.(code);
    if (own !== undefined) return own;
    const ceiling = soon.includes(code) ? minDelayMs : minDelayMs * 2 ** this.#failures;
    return Math.round(random() * Math.min(maxDelayMs, ceiling));
  }

  #abandon() {
    this.#attempt += 1;
    this.#waiting = false;
    this.#clearTimer();
    const socket = this.#socket;
    this.#socket = null;
    // Not awaited: over a dead network the closing handshake takes a minute.
    socket?.close(1000);
  }

  #end() {
    this.#running = false;
    this.#listen("removeEventListener");
  }

  // --- the page

  #listen(/** @type {"addEventListener" | "removeEventListener"} */ verb) {
    const { page } = this.#options;
    this.#awaySince = null;
    page?.[verb]("online", this.#noticed);
    for (const name of DOCUMENT_EVENTS) page?.document?.[verb](name, this.#noticed);
  }

  // `offline` is not among the events: a socket may outlive it, and its close is heard anyway.
  #noticed = (/** @type {{ type: string }} */ { type }) => {
    const { page, timers, doubtMs } = this.#options;
    const now = timers.now();
    const hidden = page?.document?.hidden ?? false;
    const since = this.#awaySince;
    this.#awaySince = hidden || type === "freeze" ? (since ?? now) : null;
    if (type === "freeze" || (type === "visibilitychange" && hidden)) return;
    const long = since !== null && now - since >= doubtMs;
    if (long && hidden) this.#awaySince = now;
    this.#rouse(type === "online" || long);
  };

  #rouse(/** @type {boolean} */ doubt) {
    if (this.#waiting) this.#dial();
    else if (doubt && this.#socket?.readyState === OPEN) this.#handlers.doubted?.();
  }

  #setTimer(/** @type {() => void} */ run, /** @type {number} */ delayMs) {
    this.#clearTimer();
    this.#timer = this.#options.timers.setTimeout(run, delayMs);
  }

  #clearTimer() {
    this.#options.timers.clearTimeout(this.#timer);
  }
}
