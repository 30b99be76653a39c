/** What was said and no history shows yet, of every session: going to another chat loses nothing. */

import { newId } from "../client/gateway.js";

export class Outbox {
  // { key, id, text, media, before: how many alike there were, settled, lost, dropped }
  #entries = [];

  /** `shown`: the messages on the screen of session `key`. */
  add(key, text, media, shown) {
    const before = shown.filter((message) => isOf(message, { text, media })).length;
    const entry = { key, id: newId(), text, media, before };
    this.#entries.push(entry);
    return entry;
  }

  /** The client gave this one up without sending it. */
  drop(id) {
    for (const entry of this.#entries) entry.dropped ||= entry.id === id;
  }

  forget(...over) {
    this.#entries = this.#entries.filter((entry) => !over.includes(entry));
  }

  /** Those that have been answered: to be given to `adopt` after a history that began to be read now. */
  settled() {
    return this.#entries.filter((entry) => entry.settled);
  }

  /** Those of session `key` that are not among its stored `messages`. */
  open(key, messages) {
    return this.#entries.filter((entry) => entry.key === key && !isStored(entry, messages));
  }

  /** After a reading of `key`; answers what it shows to be lost. */
  adopt(key, messages, settled) {
    const open = this.open(key, messages).filter((entry) => !settled.includes(entry));
    const lost = open.filter((entry) => entry.lost);
    this.forget(...this.#entries.filter((entry) => entry.key === key && (entry.lost || !open.includes(entry))));
    return lost;
  }

  /** Empty it; answers what was not sent, as far as `messages`, those of `key`, can tell. */
  clear(key, messages) {
    const open = this.open(key, messages);
    const unsent = this.#entries.filter((entry) => entry.dropped || (open.includes(entry) && !entry.settled));
    this.#entries = [];
    return unsent;
  }
}

function isStored(entry, messages) {
  return messages.filter((message) => isOf(message, entry)).length > entry.before;
}

/** Whether a message is what an entry became, or an entry like it. */
function isOf({ role, content, media_refs: refs, media: waiting }, { text, media }) {
  if (role !== "user") return false;
  if (!media.length) return content === text;
  const ids = (refs ?? waiting ?? []).map(({ id, path }) => path ?? id);
  return media.every(({ path }) => ids.includes(path));
}
