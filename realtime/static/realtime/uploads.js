/** The files of the message being written: each is uploaded at once, with its progress. */

import { upload } from "../client/media.js";

const MOST = 10; // files of one message
const UNITS = ["B", "KB", "MB", "GB"];

export class Uploads {
  #client = null;
  #parts; // { list, maxBytes, changed(), tell(text) }
  #entries = new Set(); // { file, item, abort, path, filename, failed }

  constructor(parts) {
    this.#parts = parts;
  }

  follow(client) {
    this.#client = client;
  }

  get running() {
    return [...this.#entries].some(({ path, failed }) => !path && !failed);
  }

  get empty() {
    return this.#entries.size === 0;
  }

  add(files) {
    for (const file of files) {
      if (this.#entries.size >= MOST) return this.#parts.tell(`A message takes at most ${MOST} files.`);
      const entry = this.#enter({ file, filename: file.name || "pasted file" });
      if (file.size > this.#parts.maxBytes) {
        this.#fail(entry, `is ${size(file.size)}; at most ${size(this.#parts.maxBytes)} are taken.`, false);
      } else this.#send(entry);
    }
  }

  /** Files that were uploaded before, back from a message that was not sent. */
  putBack(media) {
    for (const { path, filename } of media) this.#done(this.#enter({ filename }), path);
  }

  /** What is ready, for chat.send; what has failed stays on the list. */
  take() {
    const ready = [...this.#entries].filter(({ path }) => path);
    for (const entry of ready) this.#drop(entry);
    return ready.map(({ path, filename }) => ({ path, filename }));
  }

  clear() {
    for (const { abort } of this.#entries) abort?.abort();
    this.#entries.clear();
    this.#parts.list.replaceChildren();
    this.#parts.changed();
  }

  #enter(entry) {
    entry.item = document.createElement("li");
    const name = document.createElement("span");
    const bar = document.createElement("progress");
    const text = document.createElement("small");
    const end = document.createElement("button");
    name.textContent = name.title = entry.filename;
    name.className = "name";
    bar.setAttribute("aria-label", `Upload of ${entry.filename}`);
    bar.hidden = true;
    end.type = "button";
    end.className = "quiet";
    end.addEventListener("click", () => this.#drop(entry));
    entry.item.append(name, bar, text, end);
    this.#word(entry, "Remove");
    this.#entries.add(entry);
    this.#parts.list.append(entry.item);
    this.#parts.changed();
    return entry;
  }

  async #send(entry) {
    const [, bar, text] = entry.item.children;
    Object.assign(entry, { abort: new AbortController(), failed: false });
    bar.hidden = false;
    bar.removeAttribute("value");
    text.textContent = size(entry.file.size);
    this.#word(entry, "Cancel", "Cancel the upload of");
    this.#parts.changed();
    const onProgress = ({ loaded, total }) => Object.assign(bar, { max: total, value: loaded });
    try {
      const { path } = await upload(this.#client, entry.file, { onProgress, signal: entry.abort.signal });
      this.#done(entry, path);
    } catch (error) {
      if (!this.#entries.has(entry)) return; // cancelled by its reader
      this.#fail(entry, `was not uploaded: ${error.message}`, error.retryable);
    }
  }

  #done(entry, path) {
    const [, bar, text] = entry.item.children;
    entry.path = path;
    bar.hidden = true;
    text.textContent = entry.file ? size(entry.file.size) : "";
    this.#word(entry, "Remove");
    entry.item.classList.add("ready");
    this.#parts.changed();
  }

  #fail(entry, why, again) {
    const [, bar, text] = entry.item.children;
    entry.failed = true;
    entry.item.classList.add("failed");
    bar.hidden = true;
    text.textContent = why;
    this.#word(entry, "Remove");
    this.#parts.tell(`${entry.filename} ${why}`);
    this.#parts.changed();
    if (again) this.#offer(entry);
  }

  #offer(entry) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Try again";
    button.addEventListener("click", () => {
      button.remove();
      entry.item.classList.remove("failed");
      this.#send(entry);
    });
    entry.item.append(button);
  }

  /** What the entry's button does, now. */
  #word(entry, verb, aloud = verb) {
    const end = entry.item.querySelector("button");
    end.textContent = verb;
    end.setAttribute("aria-label", `${aloud} ${entry.filename}`);
  }

  #drop(entry) {
    this.#entries.delete(entry);
    entry.abort?.abort();
    entry.item.remove();
    this.#parts.changed();
  }
}

export function size(bytes) {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const number = bytes / 1024 ** step;
  return `${number.toFixed(step && number < 10 ? 1 : 0)} ${UNITS[step]}`;
}
