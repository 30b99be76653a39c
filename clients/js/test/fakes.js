/** A clock, a socket, a page and a storage that do what the test says. */

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // older Nodes have it under this name only

/** Lets everything that is already decided happen: promises, not time. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class FakeClock {
  #now = 0;
  #last = 0;
  #timers = new Map();

  setTimeout = (run, delayMs) => {
    this.#timers.set(++this.#last, { run, at: this.#now + delayMs });
    return this.#last;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  now = () => this.#now;

  get waiting() {
    return this.#timers.size;
  }

  /** The delay of the timer that fires next, or null. */
  get next() {
    const times = [...this.#timers.values()].map(({ at }) => at - this.#now);
    return times.length ? Math.min(...times) : null;
  }

  async advance(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [timer, { run, at }] = due;
      this.#timers.delete(timer);
      this.#now = at;
      run();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** A class of sockets that the test opens, feeds and closes; `sockets` holds every one made. */
export function fakeSockets() {
  return class FakeSocket {
    static sockets = [];

    static get last() {
      return this.sockets.at(-1);
    }

    readyState = 0;
    sent = [];
    closedWith = null;

    constructor(url) {
      this.url = url;
      FakeSocket.sockets.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.closedWith = code;
      this.readyState = 2;
    }

    get request() {
      return this.sent.at(-1);
    }

    async open() {
      this.readyState = 1;
      this.onopen({});
      await settle();
    }

    async deliver(frame) {
      this.onmessage({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
      await settle();
    }

    answer(payload, id = this.request.id) {
      return this.deliver({ type: "res", id, ok: true, payload });
    }

    refuse(error, id = this.request.id) {
      return this.deliver({ type: "res", id, ok: false, error });
    }

    async drop(code = 1006, reason = "") {
      this.readyState = 3;
      this.onclose({ code, reason });
      await settle();
    }
  };
}

export class FakeStorage {
  entries = new Map();
  getItem = (key) => this.entries.get(key) ?? null;
  setItem = (key, value) => void this.entries.set(key, value);
  removeItem = (key) => void this.entries.delete(key);
}

class Listenable {
  #listeners = new Map();

  addEventListener(name, listener) {
    this.#listeners.set(name, (this.#listeners.get(name) ?? new Set()).add(listener));
  }

  removeEventListener(name, listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  get listening() {
    return [...this.#listeners.values()].reduce((sum, listeners) => sum + listeners.size, 0);
  }

  async tell(type) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener({ type });
    await settle();
  }
}

/** A window that can be hidden, frozen and offline. */
export class FakePage extends Listenable {
  document = Object.assign(new Listenable(), { hidden: false });

  get listening() {
    return super.listening + this.document.listening;
  }

  offline = () => this.tell("offline");
  online = () => this.tell("online");
  freeze = () => this.document.tell("freeze");
  resume = () => this.document.tell("resume");

  async hide() {
    this.document.hidden = true;
    await this.document.tell("visibilitychange");
  }

  async show() {
    this.document.hidden = false;
    await this.document.tell("visibilitychange");
  }
}
