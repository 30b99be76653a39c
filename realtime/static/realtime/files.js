/** Files of a message: pictures small, everything else a link; fetched by signed addresses. */

import { mediaUrl } from "../client/media.js";

const FRESH_MS = 240_000; // an address is good for five minutes
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);

export class Files {
  #client;
  #addresses = new Map(); // media id -> { url, since }

  constructor(client) {
    this.#client = client;
  }

  /** The element for one of a message's `media_refs`. */
  show({ id, mime_type: type, filename }) {
    const link = document.createElement("a");
    const name = filename || type || "file";
    link.target = "_blank";
    link.rel = "noopener";
    link.className = "file";
    if (PICTURES.has(type)) link.append(this.#picture(id, name));
    else link.textContent = name;
    link.addEventListener("click", (event) => this.#open(event, link, id));
    this.#address(id).then((url) => (link.href = url), () => link.classList.add("gone"));
    return link;
  }

  #picture(id, name) {
    const image = document.createElement("img");
    image.alt = name;
    image.addEventListener("error", () => image.replaceWith(name));
    this.#address(id).then((url) => (image.src = url), () => image.replaceWith(name));
    return image;
  }

  /** An address that has run out is made anew before it is followed. */
  async #open(event, link, id) {
    if (link.href && this.#isFresh(id)) return;
    event.preventDefault();
    try {
      link.href = await this.#address(id);
      link.classList.remove("gone");
      link.click();
    } catch {
      link.classList.add("gone");
    }
  }

  #isFresh(id) {
    return Date.now() - (this.#addresses.get(id)?.since ?? 0) < FRESH_MS;
  }

  #address(id) {
    if (!this.#isFresh(id)) {
      const url = mediaUrl(this.#client, id);
      this.#addresses.set(id, { url, since: Date.now() });
      url.catch(() => this.#addresses.delete(id));
    }
    return this.#addresses.get(id).url;
  }
}
