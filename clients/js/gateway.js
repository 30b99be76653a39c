/** The connect-first gateway: requests, events, pairing, resuming. Options: gateway.d.ts. */

/** @import { EventFrame, GatewayOptions, Identity, Message, RequestOptions, State } from "./gateway.d.ts" */
/** @import { Loss } from "./transport.d.ts" */

import { Device, headerBytes, localStorageOrNull, newId, newSessionKey, ownAddress } from "./device.js";
import { Emitter, given } from "./events.js";
import { ConnectionLost, GatewayError, NoAnswer, Requests } from "./requests.js";
import { clock, ResilientSocket } from "./transport.js";

export { GatewayError, newId, newSessionKey, ResilientSocket };

const PROTOCOL_VERSION = 3;
// Names that a server's event cannot take: it is seen under "event" only.
const OWN_EVENTS = new Set(["state", "retry", "pairing", "ready", "history", "resumed", "dropped", "event"]);

const defaults = {
  userId: "",
  token: () => "",
  locale: "",
  tenantHint: "",
  timers: clock,
  storageKey: "trunkline.device",
  pollMs: 3000,
  requestTimeoutMs: 30_000,
  sendTimeoutMs: 600_000,
  proofTimeoutMs: 5000,
  queueMax: 1000,
};

/** What is known of a watched session. @typedef {{ watchers: number, known: Set<string>, last?: string }} Watched */

/** @extends {Emitter<State>} */
export class GatewayClient extends Emitter {
  #options;
  #transport;
  #requests;
  #device;
  /** @type {Map<string, Watched>} */
  #watched = new Map();
  /** @type {Identity | null} */
  #identity = null;
  #token = "";
  #wasReady = false;
  /** @type {unknown} */
  #pollTimer;

  /** @param {GatewayOptions} [options] */
  constructor({ url = ownAddress(), storage = localStorageOrNull(), ...rest } = {}) {
    super("idle");
    this.#options = { ...defaults, ...given(rest) };
    const { timers, queueMax, storageKey } = this.#options;
    this.#device = new Device(storage, storageKey);
    this.#transport = new ResilientSocket(
      {
        opened: () => this.#greet(),
        received: (text) => this.#receive(text),
        lost: (loss) => this.#lost(loss),
        doubted: () => this.#prove(),
      },
      {
        ...given(rest),
        permanent: [4003],
        url: async () => {
          this.#token = await this.#ask();
          return url;
        },
      },
    );
    this.#requests = new Requests({
      send: (text) => this.#transport.send(text),
      dropped: (what) => this.emit("dropped", what),
      timers,
      queueMax,
    });
  }

  // What the getters and methods mean: gateway.d.ts.
  get identity() {
    return this.#identity;
  }

  get hasDevice() {
    return this.#device.id !== "";
  }

  get queued() {
    return this.#requests.queued;
  }

  /** Connect; while reconnecting: without waiting for the next attempt. */
  start() {
    const back = this.state === "reconnecting";
    if (!back && this.state !== "idle" && this.state !== "stopped") return;
    this.#dial(); // first, for a listener may stop it
    if (!back) this.become("connecting");
  }

  stop() {
    this.#halt(null);
  }

  forgetDevice() {
    this.#device.forget();
  }

  /**
   * The payload of the answer; rejects with a GatewayError. Without `queue` it needs the state ready.
   * @param {string} method
   * @param {any} [params]
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async request(method, params = {}, { timeoutMs, queue = false } = {}) {
    const now = this.state === "ready";
    const waits = queue && this.state !== "idle" && this.state !== "stopped";
    if (!now && !waits) throw new ConnectionLost();
    const { sendTimeoutMs, requestTimeoutMs } = this.#options;
    // The answer to chat.send comes when its run has ended.
    const usual = method === "chat.send" ? sendTimeoutMs : requestTimeoutMs;
    const payload = await this.#requests.ask(method, params, { timeoutMs: timeoutMs ?? usual, now, queue: waits });
    const watched = method === "chat.history" && this.#watched.get(params.sessionKey);
    if (watched) learn(watched, payload?.messages);
    return payload;
  }

  /** Read this session's history again after every gap; the answer ends it. */
  watch(/** @type {string} */ sessionKey) {
    /** @type {Watched} */
    const watched = this.#watched.get(sessionKey) ?? { watchers: 0, known: new Set() };
    this.#watched.set(sessionKey, watched);
    watched.watchers += 1;
    let on = true;
    return () => {
      if (on && --watched.watchers === 0) this.#watched.delete(sessionKey);
      on = false;
    };
  }

  /** Headers that show the same identity to the server's HTTP side. */
  async credentials() {
    const token = await this.#ask();
    const user = this.#identity?.user_id || this.#options.userId;
    /** @type {Record<string, string>} */
    const headers = {};
    if (token) headers["Authorization"] = `Bearer ${token}`;
    else if (this.#device.id) headers["X-GoClaw-Sender-Id"] = this.#device.id;
    if (user) headers["X-GoClaw-User-Id"] = headerBytes(user);
    return headers;
  }

  async #ask() {
    return (await this.#options.token()) || "";
  }

  // --- connecting

  #call(/** @type {string} */ method, /** @type {object} */ params, timeoutMs = this.#options.requestTimeoutMs) {
    return this.#requests.ask(method, params, { timeoutMs });
  }

  /** On a new socket: what the old one was asked is not answered any more. */
  #dial() {
    this.#requests.lost("dialled anew");
    this.#transport.start();
  }

  async #greet() {
    const { userId, locale, tenantHint } = this.#options;
    const said = { token: this.#token, user_id: userId, sender_id: this.#device.id, locale, tenant_hint: tenantHint };
    this.#token = "";
    const params = Object.fromEntries(Object.entries(said).filter(([, value]) => value));
    try {
      const answer = await this.#call("connect", { protocolVersion: PROTOCOL_VERSION, ...params });
      if (answer?.status === "pending_pairing") this.#pair(answer);
      else this.#admitted(answer);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      if (error instanceof ConnectionLost) return; // the transport is at it already
      if (error.retryable) this.#transport.fail(error.message);
      else this.#halt(error);
    }
  }

  #admitted(/** @type {Identity} */ identity) {
    this.#identity = identity;
    this.#transport.settled();
    const back = this.#wasReady;
    this.#wasReady = true;
    this.become("ready", {}, () => {
      // What was missed is read before anything is added to it.
      this.#requests.resume(() => back && this.#resume("reconnected"));
    });
    this.emit("ready", identity);
  }

  #pair(/** @type {any} */ { pairing_code: code, sender_id: id }) {
    this.#device.id = id;
    this.#transport.settled();
    this.become("pairing");
    this.emit("pairing", { status: "pending", code });
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
      this.#dial(); // a waiting socket is not upgraded: a new one shows the sender_id
      this.become("connecting");
      this.emit("pairing", { status });
    } else if (status === "expired") {
      this.#device.forget();
      this.emit("pairing", { status });
      this.#halt(new GatewayError({ code: "NOT_PAIRED", message: "the pairing request expired or was denied" }));
    } else this.#pollLater();
  }

  /** An open socket may be dead: any answer proves that it is not. */
  async #prove() {
    if (this.state !== "ready" && this.state !== "pairing") return;
    try {
      await this.#call("health", {}, this.#options.proofTimeoutMs);
    } catch (error) {
      if (error instanceof NoAnswer) this.#transport.fail("no sign of life");
    }
  }

  // --- frames

  #receive(/** @type {string} */ text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // not ours to judge; the next frame may be fine
    }
    if (frame?.type === "res") this.#answered(frame);
    else if (frame?.type === "event") this.#told(frame);
  }

  #answered(/** @type {any} */ frame) {
    this.#requests.answered(frame);
    const { ok, error } = frame;
    if (!ok && error?.code === "TENANT_ACCESS_REVOKED") this.#halt(new GatewayError(error));
  }

  #told(/** @type {EventFrame} */ frame) {
    const { event, payload } = frame;
    this.emit("event", frame);
    if (!OWN_EVENTS.has(event)) this.emit(event, payload);
    if (event === "resync" && this.state === "ready") this.#resume(payload?.reason ?? event);
  }

  // --- resuming

  /** Read all that is watched again; `resumed` is told whatever comes of it. */
  async #resume(/** @type {string} */ reason) {
    const readings = await Promise.all([...this.#watched].map(([key, watched]) => this.#reread(key, watched)));
    const recovered = readings.every(({ whole }) => whole);
    const missed = readings.reduce((sum, { fresh }) => sum + fresh, 0);
    if (this.state !== "stopped") this.emit("resumed", { recovered, missed, reason });
  }

  async #reread(/** @type {string} */ sessionKey, /** @type {Watched} */ watched) {
    const { last } = watched; // as of now: what is read later must contain it
    /** @type {Message[]} */
    let messages = [];
    try {
      ({ messages } = await this.#call("chat.history", { sessionKey }));
    } catch (error) {
      // Not found: nothing was sent to it yet, or it was deleted.
      if (!(error instanceof GatewayError) || error.code !== "NOT_FOUND") return { whole: false, fresh: 0 };
    }
    const fresh = learn(watched, messages);
    if (this.#watched.has(sessionKey)) this.emit("history", { sessionKey, messages, missed: fresh });
    return { whole: last === undefined || messages.some(({ id }) => id === last), fresh };
  }

  // --- ending

  #lost(/** @type {Loss} */ { code, reason, delayMs }) {
    const text = reason || "the connection was lost";
    if (delayMs === null) {
      this.#halt(new GatewayError({ code: "UNAUTHORIZED", message: text }), { code });
      return;
    }
    this.#requests.lost(text, code);
    this.#hangUp();
    this.become("reconnecting", { code, reason: text });
    this.emit("retry", { delayMs, code, reason: text });
  }

  /** Stop for good; `error` says why, null when the page wanted it. */
  #halt(/** @type {GatewayError | null} */ error, detail = {}) {
    if (this.state === "stopped") return;
    const reason = error ? error.message : "stopped by the page";
    this.#transport.stop();
    this.#hangUp();
    this.#requests.end(reason);
    this.become("stopped", { ...detail, reason, error });
  }

  #hangUp() {
    this.#identity = null;
    this.#options.timers.clearTimeout(this.#pollTimer);
  }
}

/** Take in what was read; how many of the messages were not known. */
function learn(/** @type {Watched} */ watched, /** @type {Message[]} */ messages = []) {
  const ids = messages.map(({ id }) => id);
  const fresh = ids.filter((id) => !watched.known.has(id)).length;
  watched.known = new Set(ids);
  watched.last = ids.at(-1);
  return fresh;
}
