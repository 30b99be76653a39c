/** What every client is: a state, and events that a page listens to. */

/** @template {string} State */
export class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  constructor(/** @type {State} */ state) {
    this.state = state;
  }

  /** Call `listener(detail)` at each `name`; the answer takes it off again. */
  on(/** @type {string} */ name, /** @type {(detail: any) => void} */ listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => this.off(name, listener);
  }

  off(/** @type {string} */ name, /** @type {(detail: any) => void} */ listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  emit(/** @type {string} */ name, /** @type {any} */ detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) tell(listener, detail);
  }

  become(/** @type {State} */ state, detail = {}, first = () => {}) {
    const previous = this.state;
    if (previous === state) return;
    this.state = state;
    first();
    this.emit("state", { ...detail, state, previous });
  }
}

/** A page's mistake is the page's: it is reported, and the connection goes on. */
export function tell(/** @type {(...details: any[]) => void} */ listener, /** @type {any[]} */ ...details) {
  try {
    listener(...details);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Without the options that are not set: those have defaults. @template {object} Options */
export function given(/** @type {Options} */ options) {
  return /** @type {Options} */ (Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)));
}
