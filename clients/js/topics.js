/** Topics with filters: subscribe, publish, hear. Options: topics.d.ts. */

/** @import { Filters, TopicHandler, TopicOptions } from "./topics.d.ts" */

import { ownAddress } from "./device.js";
import { tell } from "./events.js";
import { asked, LiveClient } from "./live.js";
import { Trail } from "./trail.js";

/** `filters`: as the server knows them. @typedef {{ handlers: Set<{ filters: Filters, handler: TopicHandler }>, trail: Trail, filters: Filters }} Topic */

export class TopicClient extends LiveClient {
  #url;
  #token;
  /** @type {Map<string, Topic>} */
  #topics = new Map();
  userId = "";

  constructor(/** @type {TopicOptions} */ { url = ownAddress("/nexus/ws"), token, ...options } = {}) {
    super(options, { action: "ping" }, token);
    this.#url = url;
    this.#token = token;
  }

  /**
   * @param {string} channel
   * @param {{ filters?: Filters | null }} options
   * @param {TopicHandler} handler
   */
  subscribe(channel, { filters: wanted }, handler) {
    const filters = wanted ?? {};
    if (Object(filters) !== filters || Array.isArray(filters)) throw new TypeError("filters takes an object");
    const known = this.#topics.get(channel);
    const trail = new Trail((reason) => this.emit("gap", { channel, reason }));
    /** @type {Topic} */
    const topic = known ?? { handlers: new Set(), trail, filters };
    const one = { filters, handler };
    topic.handlers.add(one);
    this.#topics.set(channel, topic);
    if (!known) {
      this.#join(channel, topic);
    } else if (!same(topic.filters, filters)) {
      // One subscription for all of them. Not `since`: nothing can have been missed.
      topic.filters = {};
      this.tell({ action: "subscribe", channel });
    }
    return () => {
      if (!topic.handlers.delete(one) || topic.handlers.size) return;
      this.#topics.delete(channel);
      this.tell({ action: "unsubscribe", channel });
    };
  }

  publish(/** @type {string} */ channel, /** @type {unknown} */ payload) {
    return this.say({ action: "publish", channel, payload });
  }

  #join(/** @type {string} */ channel, /** @type {Topic} */ topic) {
    const [{ filters }, ...others] = topic.handlers;
    topic.filters = others.every((other) => same(filters, other.filters)) ? filters : {};
    this.tell({ action: "subscribe", channel, filters: topic.filters, since: topic.trail.ask(same(topic.filters, {})) });
  }

  /** @override */
  async address() {
    const address = new URL(this.#url);
    address.searchParams.set("token", await asked(this.#token));
    return address.href;
  }

  /** @override */
  greet() {
    for (const [channel, topic] of this.#topics) this.#join(channel, topic);
  }

  /** @override */
  greeted() {
    for (const { trail } of this.#topics.values()) trail.settle();
  }

  /** @override */
  received(/** @type {any} */ frame) {
    const topic = this.#topics.get(frame.channel);
    if (frame.type === "pong") this.proved();
    else if (frame.type === "connected") this.userId = frame.userId;
    else if (frame.type === "error") this.emit("error", frame);
    else if (topic && frame.type === "subscribed") {
      if ("recovered" in frame) return topic.trail.answered(frame);
      topic.trail.settle();
      topic.trail.full = same(topic.filters, {});
    } else if (topic && "timestamp" in frame && topic.trail.heard(frame)) {
      for (const { filters, handler } of [...topic.handlers]) {
        if (passes(filters, frame.data)) tell(handler, frame.data, frame);
      }
    }
  }
}

/** As the server judges: equality of each key at the top. */
function passes(/** @type {Filters} */ filters, /** @type {any} */ data) {
  const plain = Object(data) === data && !Array.isArray(data);
  return Object.entries(filters).every(([key, value]) => plain && same(value, data[key]));
}

/** Equal as JSON. @returns {boolean} */
function same(/** @type {any} */ one, /** @type {any} */ other) {
  if (Object(one) !== one || Object(other) !== other || Array.isArray(one) !== Array.isArray(other)) return one === other;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => same(one[key], other[key]));
}
