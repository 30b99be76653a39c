/**
 * Trunkline's JavaScript client: one ES module, no dependencies.
 *
 * `ResilientSocket` keeps one WebSocket alive and knows no protocol. `GatewayClient` speaks the
 * connect-first gateway over it: requests, events, pairing. Times are milliseconds.
 */

const OPEN = 1;
const PROTOCOL_VERSION = 3;

/** A refusal or a failure; `retryable` says that the same request may succeed later. */
export class GatewayError extends Error {
  /** @param {import("./gateway.d.ts").GatewayErrorFields} [fields] */
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
class ConnectionLost extends GatewayError {
  constructor(message) {
    super({ code: "UNAVAILABLE", message, retryable: true });
  }
}

/** Nobody answered in time. */
class NoAnswer extends GatewayError {
  constructor(method, timeoutMs) {
    super({ code: "TIMEOUT", message: `${method}: no answer in ${timeoutMs} ms`, retryable: true });
  }
}

const clock = {
  setTimeout: (run, delayMs) => globalThis.setTimeout(run, delayMs),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
};

// ------------------------------------------------------------------------------ the transport

/**
 * One WebSocket after another, until told to stop.
 *
 * Delays between attempts grow from `minDelayMs` to `maxDelayMs` and are drawn evenly from zero up
 * (full jitter), so that a thousand clients do not come back together. They start small again only
 * after a conversation has been `settled` for `steadyMs`: a server that accepts and drops is spared.
 */
export class ResilientSocket {
  #handlers;
  #options;
  #socket = null;
  #attempt = 0; // a late sign of an earlier attempt is told apart by this number
  #failures = 0;
  #running = false;
  #timer = null;

  /** `handlers`: opened(), received(text), lost({code, reason, delayMs | null}). */
  constructor(handlers, options) {
    this.#handlers = handlers;
    this.#options = {
      WebSocket: globalThis.WebSocket,
      timers: clock,
      random: Math.random,
      minDelayMs: 1000,
      maxDelayMs: 30_000,
      openTimeoutMs: 15_000,
      steadyMs: 5000,
      permanent: [], // close codes after which another attempt is useless
      soon: [1012], // close codes of a server that will be back at once
      ...options,
    };
  }

  get running() {
    return this.#running;
  }

  /** Dial now, whatever was waiting or open before. */
  start() {
    this.#running = true;
    this.#dial();
  }

  stop() {
    this.#running = false;
    this.#failures = 0;
    this.#abandon();
  }

  /** False when there is no open socket; nothing is kept for later. */
  send(text) {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  /** The conversation works. */
  settled() {
    this.#clearTimer();
    this.#timer = this.#options.timers.setTimeout(() => {
      this.#failures = 0;
    }, this.#options.steadyMs);
  }

  /** Give this socket up and try again after a delay, as if it had been closed. */
  fail(reason, code = 0) {
    if (this.#running) this.#lose(this.#attempt, code, reason);
  }

  async #dial() {
    this.#abandon();
    const attempt = this.#attempt;
    const { url, timers, openTimeoutMs, WebSocket } = this.#options;
    this.#timer = timers.setTimeout(() => this.#lose(attempt, 0, "no connection in time"), openTimeoutMs);
    try {
      const address = typeof url === "function" ? await url() : url;
      if (attempt !== this.#attempt) return;
      this.#watch(new WebSocket(address), attempt);
    } catch (error) {
      this.#lose(attempt, 0, String(error?.message ?? error));
    }
  }

  #watch(socket, attempt) {
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
    socket.onclose = ({ code, reason }) => this.#lose(attempt, code, reason);
  }

  #lose(attempt, code, reason) {
    if (attempt !== this.#attempt) return;
    this.#abandon();
    const { permanent, timers } = this.#options;
    let delayMs = null;
    if (permanent.includes(code)) {
      this.#running = false;
    } else {
      delayMs = this.#delay(code);
      this.#failures += 1;
      this.#timer = timers.setTimeout(() => this.#dial(), delayMs);
    }
    this.#handlers.lost({ code, reason, delayMs });
  }

  #delay(code) {
    const { soon, minDelayMs, maxDelayMs, random } = this.#options;
    const ceiling = soon.includes(code) ? minDelayMs : minDelayMs * 2 ** this.#failures;
    return Math.round(random() * Math.min(maxDelayMs, ceiling));
  }

  #abandon() {
    this.#attempt += 1;
    this.#clearTimer();
    const socket = this.#socket;
    this.#socket = null;
    // Not awaited: over a dead network the closing handshake takes a minute.
    socket?.close(1000);
  }

  #clearTimer() {
    if (this.#timer !== null) this.#options.timers.clearTimeout(this.#timer);
    this.#timer = null;
  }
}

// ------------------------------------------------------------------------- the gateway's client

// Names that a server's event cannot take: it is seen under "event" only.
const OWN_EVENTS = new Set(["state", "retry", "pairing", "ready", "resumed", "event"]);

/**
 * The connect-first gateway: states, requests, events, pairing.
 *
 * Nothing is replayed after a reconnect; `resumed` tells the page to read the history again.
 */
export class GatewayClient {
  #options;
  #transport;
  #device;
  #listeners = new Map();
  #pending = new Map();
  #lastId = 0;
  #state = "idle";
  #identity = null;
  #token = "";
  #wasReady = false;
  #pollTimer = null;

  /** @param {import("./gateway.d.ts").GatewayOptions} [options] */
  constructor(options = {}) {
    const { url = ownAddress(), userId = "", token = () => "", storage = localStorageOrNull(), ...rest } = options;
    this.#options = {
      timers: clock,
      storageKey: "trunkline.device",
      pollMs: 3000,
      requestTimeoutMs: 30_000,
      sendTimeoutMs: 600_000,
      ...rest,
      userId,
    };
    this.#device = new Device(storage, this.#options.storageKey);
    this.#transport = new ResilientSocket(
      {
        opened: () => this.#greet(),
        received: (text) => this.#receive(text),
        lost: (loss) => this.#lost(loss),
      },
      {
        permanent: [4003],
        ...given(rest, ["WebSocket", "timers", "random", "minDelayMs", "maxDelayMs", "openTimeoutMs", "steadyMs"]),
        url: async () => {
          this.#token = (await token()) || "";
          return url;
        },
      },
    );
  }

  /** idle, connecting, pairing, ready, reconnecting or stopped. */
  get state() {
    return this.#state;
  }

  /** The answer to `connect` (role, user_id, …) while ready, else null. */
  get identity() {
    return this.#identity;
  }

  /** Whether this browser asked for a pairing before, approved or not. */
  get hasDevice() {
    return this.#device.id !== "";
  }

  /** Connect; while reconnecting: without waiting for the next attempt. */
  start() {
    if (this.#state === "idle" || this.#state === "stopped") this.#become("connecting");
    else if (this.#state !== "reconnecting") return;
    this.#transport.start();
  }

  stop() {
    this.#halt(null);
  }

  /** Drop this browser's identity: the next connect without a token asks for a new pairing. */
  forgetDevice() {
    this.#device.forget();
  }

  /** Call `listener(detail)` at each `name`; the answer takes it off again. */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => this.off(name, listener);
  }

  off(name, listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  /** The payload of the answer; rejects with a GatewayError. Needs the state ready. */
  request(method, params = {}, { timeoutMs = undefined } = {}) {
    if (this.#state !== "ready") return Promise.reject(new ConnectionLost("not connected"));
    const { sendTimeoutMs, requestTimeoutMs } = this.#options;
    // The answer to chat.send comes when its run has ended.
    const usual = method === "chat.send" ? sendTimeoutMs : requestTimeoutMs;
    return this.#call(method, params, timeoutMs ?? usual);
  }

  #call(method, params, timeoutMs = this.#options.requestTimeoutMs) {
    const id = String(++this.#lastId);
    const { timers } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = timers.setTimeout(() => {
        this.#pending.delete(id);
        reject(new NoAnswer(method, timeoutMs));
      }, timeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      if (this.#transport.send(JSON.stringify({ type: "req", id, method, params }))) return;
      this.#take(id);
      reject(new ConnectionLost("not connected"));
    });
  }

  #take(id) {
    const waiting = this.#pending.get(id);
    if (waiting) this.#options.timers.clearTimeout(waiting.timer);
    this.#pending.delete(id);
    return waiting;
  }

  async #greet() {
    const { userId, locale, tenantHint } = this.#options;
    const params = { protocolVersion: PROTOCOL_VERSION };
    const optional = { token: this.#token, user_id: userId, sender_id: this.#device.id, locale, tenant_hint: tenantHint };
    for (const [name, value] of Object.entries(optional)) if (value) params[name] = value;
    this.#token = "";
    try {
      const answer = await this.#call("connect", params);
      if (answer?.status === "pending_pairing") this.#pair(answer);
      else this.#admitted(answer);
    } catch (error) {
      if (error instanceof ConnectionLost) return; // the transport is at it already
      if (error.retryable) this.#transport.fail(error.message);
      else this.#halt(error);
    }
  }

  #admitted(identity) {
    this.#identity = identity;
    this.#transport.settled();
    this.#become("ready");
    this.#emit("ready", identity);
    if (this.#wasReady) this.#emit("resumed", { reason: "reconnected" });
    this.#wasReady = true;
  }

  #pair({ pairing_code: code, sender_id: id }) {
    this.#device.id = id;
    this.#transport.settled();
    this.#become("pairing");
    this.#emit("pairing", { status: "pending", code });
    this.#pollLater();
  }

  #pollLater() {
    const { timers, pollMs } = this.#options;
    this.#pollTimer = timers.setTimeout(() => this.#poll(), pollMs);
  }

  async #poll() {
    let status = "pending";
    try {
      ({ status } = await this.#call("browser.pairing.status", { sender_id: this.#device.id }));
    } catch (error) {
      if (error instanceof ConnectionLost) return;
      // Anything else (asked too often, no answer) is no decision: ask again.
    }
    if (status === "approved") {
      this.#emit("pairing", { status });
      this.#become("connecting");
      this.#transport.start(); // a waiting socket is not upgraded: a new one shows the sender_id
    } else if (status === "expired") {
      this.#device.forget();
      this.#emit("pairing", { status });
      this.#halt(new GatewayError({ code: "NOT_PAIRED", message: "the pairing request expired or was denied" }));
    } else this.#pollLater();
  }

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // not ours to judge; the next frame may be fine
    }
    if (frame?.type === "res") this.#answered(frame);
    else if (frame?.type === "event") this.#told(frame);
  }

  #answered({ id, ok, payload, error }) {
    const waiting = this.#take(id);
    if (!waiting) return;
    if (ok) return waiting.resolve(payload);
    waiting.reject(new GatewayError(error));
    if (error?.code === "TENANT_ACCESS_REVOKED") this.#halt(new GatewayError(error));
  }

  #told(frame) {
    this.#emit("event", frame);
    if (!OWN_EVENTS.has(frame.event)) this.#emit(frame.event, frame.payload);
    if (frame.event === "resync") this.#emit("resumed", { reason: frame.payload?.reason ?? "resync" });
  }

  #lost({ code, reason, delayMs }) {
    const text = reason || "the connection was lost";
    if (delayMs === null) {
      this.#halt(new GatewayError({ code: "UNAUTHORIZED", message: text }), code);
      return;
    }
    this.#hangUp(text);
    this.#become("reconnecting", { code, reason: text });
    this.#emit("retry", { delayMs, code, reason: text });
  }

  /** Stop for good; `error` says why, null when the page wanted it. */
  #halt(error, code) {
    if (this.#state === "stopped") return;
    const reason = error ? error.message : "stopped by the page";
    this.#transport.stop();
    this.#hangUp(reason);
    this.#become("stopped", { code, reason, error });
  }

  #hangUp(reason) {
    this.#identity = null;
    if (this.#pollTimer !== null) this.#options.timers.clearTimeout(this.#pollTimer);
    this.#pollTimer = null;
    for (const id of [...this.#pending.keys()]) this.#take(id).reject(new ConnectionLost(reason));
  }

  #become(state, detail = {}) {
    const previous = this.#state;
    if (previous === state) return;
    this.#state = state;
    this.#emit("state", { ...detail, state, previous });
  }

  #emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        // A page's mistake is the page's: it is reported, and the connection goes on.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** The browser's identity: its `sender_id`, kept from the moment a pairing was asked for. */
class Device {
  #storage;
  #key;
  #id;

  constructor(storage, key) {
    this.#storage = storage;
    this.#key = key;
    this.#id = storage?.getItem(key) ?? "";
  }

  get id() {
    return this.#id;
  }

  set id(id) {
    this.#id = id;
    this.#keep(() => this.#storage?.setItem(this.#key, id));
  }

  forget() {
    this.#id = "";
    this.#keep(() => this.#storage?.removeItem(this.#key));
  }

  #keep(write) {
    try {
      write();
    } catch {
      // Full or forbidden: the identity then lasts as long as the page.
    }
  }
}

/** A new key in the gateway's usual form; the first chat.send makes the session. */
export function newSessionKey(agent = "default") {
  return `agent:${agent}:ws:direct:${newId()}`;
}

/** A random UUID; unlike crypto.randomUUID also on a page without TLS. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// Never from the page's query or hash: a link must not be able to send a token elsewhere.
function ownAddress() {
  if (!globalThis.location) throw new TypeError("outside a page the url must be given");
  const { protocol, host } = globalThis.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}/ws`;
}

function localStorageOrNull() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // the reader has forbidden it
  }
}

function given(options, names) {
  return Object.fromEntries(names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]));
}
