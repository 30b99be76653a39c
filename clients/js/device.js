/** Who a browser is, and the names it makes up. */

/** @import { DeviceStorage } from "./gateway.d.ts" */

/** The browser's identity: its `sender_id`, kept from the moment a pairing was asked for. */
export class Device {
  #storage;
  #key;
  #id;

  constructor(/** @type {DeviceStorage | null} */ storage, /** @type {string} */ key) {
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

  /** @param {() => void} write */
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
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Never from the page's query or hash: a link must not be able to send a token elsewhere. */
export function ownAddress(path = "/ws") {
  if (!globalThis.location) throw new TypeError("outside a page the url must be given");
  const { protocol, host } = globalThis.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${path}`;
}

/** A path of the server at `url`, which may itself lie below a path. */
export function below(/** @type {string} */ url, /** @type {string} */ path) {
  const address = new URL(url);
  address.pathname = address.pathname.replace(/\/+$/, "") + path;
  return address;
}

/** An id as a part of a path, where some would mean another path. */
export function segment(/** @type {string} */ id) {
  if (/^\.{0,2}$/.test(id)) throw new TypeError(`"${id}" is no id`);
  return encodeURIComponent(id);
}

/** @returns {DeviceStorage | null} */
export function localStorageOrNull() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // the reader has forbidden it
  }
}

/** Text for a header's value: its UTF-8, byte by byte. */
export function headerBytes(/** @type {string} */ text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
