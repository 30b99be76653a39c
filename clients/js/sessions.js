/** A session, watched, spoken in and steered from anywhere. Options: sessions.d.ts. */

/** @import { Callbacks, Content, Frame, SessionOptions } from "./sessions.d.ts" */
/** @import { Given } from "./shared.d.ts" */
/** @import { Address } from "./transport.d.ts" */

import { below, newId, ownAddress, segment } from "./device.js";
import { given } from "./events.js";
import { asked, LiveClient } from "./live.js";

const STORED = new Set(["user", "assistant", "result", "system"]);
const KNOWN_MAX = 10_000;
const NOT_FOUND = 4001;
const COOKIE_S = 30; // as long as a handshake may take

const defaults = { afterId: "", replay: false, maxRetries: 5, retryMs: 2000, reconnectMs: 500, queueMax: 1000 };

/** `whole`: so far; `awaited`: the event that must come again first. @typedef {{ missed: number, whole: boolean, awaited: string }} Return */
/** @typedef {{ frame: Frame, answer?: Promise<any>, resolve(answer: any): void, reject(error: Error): void }} Owed */

/** What it says is kept until it is answered, and said again after a reconnect: the server knows it by its id. */
export class SessionClient extends LiveClient {
  #options;
  #known = /** @type {Set<string>} */ (new Set());
  #last = ""; // of the stored events that were told
  #before = ""; // that one
  #begun = false;
  #return = /** @type {Return | null} */ (null);
  #owed = /** @type {Map<string, Owed>} */ (new Map());
  #questions = /** @type {Set<string>} */ (new Set()); // that are open
  #settled = /** @type {Set<string>} */ (new Set()); // since the open ones were asked for
  #answers = /** @type {Map<string, Frame>} */ (new Map()); // of which it is not known that they came
  #look = { id: "", open: /** @type {string[]} */ ([]) };
  #tries = 0;
  #notFound = 0;
  #asked = false; // to reconnect

  constructor(/** @type {SessionOptions} */ { url = ownAddress(""), session, organization, token, ...options }) {
    const { pingMs = 30_000 } = options;
    const how = { steadyMs: 0, ...given(options), pingMs, pongMs: pingMs };
    super({ ...how, delay: (code) => this.#delay(code) }, { type: "keep_alive" });
    const address = below(url, `/v1/sessions/ws/${segment(session)}/subscribe`);
    if (globalThis.document && address.hostname !== globalThis.location.hostname) {
      throw new TypeError("a page can show its token to its own host alone");
    }
    if (organization) address.searchParams.set("organization_uuid", organization);
    this.#options = { ...defaults, ...given(options), address, token };
    this.#last = this.#options.afterId;
    this.on("state", ({ state, reason }) => state === "stopped" && this.#end(reason));
  }

  isConnected() {
    return this.state === "ready";
  }

  /** @override */
  get queued() {
    return this.#owed.size;
  }

  /** Anew, and with all tries before it. */
  reconnect() {
    if (this.state === "idle" || this.state === "stopped") return this.start();
    this.#tries = this.#notFound = 0;
    this.#asked = true;
    this.leave("asked to reconnect");
  }

  sendMessage(/** @type {Content} */ content, uuid = newId()) {
    const message = { role: "user", content };
    return this.#owe(uuid, { type: "user", uuid, session_id: "", parent_tool_use_id: null, message });
  }

  sendControlRequest(/** @type {{ subtype: string }} */ request) {
    const id = newId();
    return this.#owe(id, { type: "control_request", request_id: id, request });
  }

  /** To a question: `{behavior: "allow", updatedInput}` or `{behavior: "deny", message}`. */
  answer(/** @type {string} */ id, /** @type {object} */ response) {
    const frame = { type: "control_response", response: { subtype: "success", request_id: id, response } };
    this.#questions.delete(id);
    this.#answers.set(id, frame);
    if (this.isConnected()) this.tell(frame);
  }

  // --- the line

  /** @override @returns {Promise<Address>} */
  async address(/** @type {() => boolean} */ wanted) {
    const { address, token, replay } = this.#options;
    const { searchParams: query } = address;
    // From the one before the last: when the last comes again, nothing is missing.
    const since = this.#before || this.#last;
    query.delete("after_id");
    query.delete("replay");
    if (since) query.set("after_id", since);
    else if (replay || this.#begun) query.set("replay", "true");
    if (this.#begun) {
      const { missed = 0, whole = true } = this.#return ?? {};
      // One event alone shows nothing; without any, what comes now may not be all.
      this.#return = { missed, whole, awaited: this.#last ? this.#before && this.#last : "all" };
    }
    const shown = await asked(token);
    return wanted() ? withToken(address, shown) : "";
  }

  /** @override */
  prove() {
    return (this.isConnected() && this.pinged()) || super.prove();
  }

  /** @override */
  greeted() {
    this.#tries = this.#notFound = 0;
    const back = this.#return;
    this.#begun = true;
    this.#return = null;
    if (back) {
      const { missed, whole, awaited } = back;
      this.emit("resumed", { recovered: whole && (!awaited || !this.#last), missed });
    }
    const id = newId();
    this.#look = { id, open: [...this.#questions] };
    this.#settled.clear();
    this.tell({ type: "control_request", request_id: id, request: { subtype: "initialize" } });
    for (const { frame } of [...this.#owed.values()]) this.tell(frame);
  }

  /** @override */
  received(/** @type {Frame} */ frame) {
    const { type, uuid, request_id: id, response = {} } = frame;
    if (type === "keep_alive") return this.proved();
    if (type === "control_response") {
      const { request_id: asked, subtype } = response;
      if (asked === this.#look.id) return subtype === "success" && this.#compare(response.response);
      // A refused answer would be refused again: the question is open.
      if (subtype === "error" && this.#answers.delete(asked)) this.#questions.add(asked);
      this.#answered(response);
    } else if (type === "control_request") {
      if (this.#questions.has(id) || this.#answers.has(id)) return;
      this.#questions.add(id);
    } else if (type === "control_cancel_request") {
      this.#questions.delete(id);
      this.#settled.add(id);
    } else if (STORED.has(type) && uuid && !this.#isNew(uuid)) return;
    this.emit("message", frame);
  }

  #isNew(/** @type {string} */ uuid) {
    const back = this.#return;
    if (back && uuid === back.awaited) back.awaited = "";
    if (this.#known.has(uuid)) return false;
    this.#known.add(uuid);
    const [oldest] = this.#known;
    if (this.#known.size > KNOWN_MAX) this.#known.delete(oldest);
    if (back) {
      back.missed += 1;
      back.whole &&= !back.awaited;
    }
    this.#before = this.#last;
    this.#last = uuid;
    this.#answered({ subtype: "success", request_id: uuid });
    return true;
  }

  #delay(/** @type {number} */ code) {
    const { maxRetries, retryMs, reconnectMs } = this.#options;
    if (this.#asked) {
      this.#asked = false;
      return reconnectMs;
    }
    if (code === NOT_FOUND) return ++this.#notFound > 3 ? null : retryMs * this.#notFound;
    if (maxRetries === Infinity) return undefined;
    return ++this.#tries > maxRetries ? null : retryMs;
  }

  // --- what was said

  #owe(/** @type {string} */ id, /** @type {Frame} */ frame) {
    const { queueMax } = this.#options;
    const same = this.#owed.get(id)?.answer;
    if (same) return same;
    const over = this.state === "idle" || this.state === "stopped";
    /** @type {Promise<any>} */
    const answer = new Promise((resolve, reject) => {
      if (over) return reject(new Error("not connected"));
      if (this.#owed.size >= queueMax) return reject(new Error(`${queueMax} are waiting already`));
      this.#owed.set(id, { frame, resolve, reject });
      if (this.isConnected()) this.tell(frame);
    });
    const owed = this.#owed.get(id);
    if (owed) owed.answer = answer;
    answer.catch(() => {}); // who does not wait for it is not disturbed
    return answer;
  }

  #answered(/** @type {any} */ { subtype, request_id: id, response = {}, error }) {
    const owed = this.#owed.get(id);
    this.#owed.delete(id);
    if (subtype === "success") owed?.resolve(response);
    else owed?.reject(new Error(error));
  }

  #end(/** @type {string} */ reason) {
    this.#tries = this.#notFound = 0;
    for (const { reject } of this.#owed.values()) reject(new Error(reason));
    this.#owed.clear();
  }

  /** The questions that are open now: others were settled meanwhile. */
  #compare(/** @type {{ pending_permission_requests?: Frame[] }} */ { pending_permission_requests: open = [] } = {}) {
    const ids = new Set(open.map(({ request_id: id }) => id));
    for (const id of this.#answers.keys()) if (!ids.has(id)) this.#answers.delete(id);
    for (const id of this.#look.open) {
      if (!ids.has(id) && this.#questions.has(id)) this.received({ type: "control_cancel_request", request_id: id });
    }
    for (const question of open) {
      const answer = this.#answers.get(question.request_id);
      if (answer) this.tell(answer);
      else if (!this.#settled.has(question.request_id)) this.received(question);
    }
  }
}

/** The same by the name and with the callbacks that other programs know. */
export class SessionsWebSocket extends SessionClient {
  /**
   * @param {string} sessionId
   * @param {string} orgId
   * @param {Given} getToken
   * @param {Callbacks} callbacks
   * @param {Partial<SessionOptions>} options
   */
  constructor(sessionId, orgId, getToken, callbacks = {}, options = {}) {
    super({ ...options, session: sessionId, organization: orgId, token: getToken });
    const { onConnected, onMessage, onClose, onError } = callbacks;
    this.on("message", (frame) => onMessage?.(frame));
    this.on("retry", ({ reason }) => onError?.(new Error(reason)));
    this.on("state", ({ state, code, reason, error }) => {
      if (state === "ready") onConnected?.();
      if (error) onError?.(error);
      if (state === "stopped") onClose?.({ code, reason });
    });
  }

  connect() {
    this.start();
  }

  close() {
    this.stop();
  }
}

/**
 * Programs show it in a header. Browsers cannot: there it is a cookie for this handshake alone.
 * @returns {Address}
 */
function withToken(/** @type {URL} */ { href, pathname, protocol }, /** @type {string} */ token) {
  if (!token) return href;
  if (!globalThis.document) return [href, { headers: { Authorization: `Bearer ${token}` } }];
  const secure = protocol === "wss:" ? "; Secure" : "";
  document.cookie = `sessionKey=${token}; Path=${pathname}; Max-Age=${COOKIE_S}; SameSite=Strict${secure}`;
  return href;
}
