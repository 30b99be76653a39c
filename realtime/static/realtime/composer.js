/** The message being written: text, files by button, drop or paste, sending. */

import { Uploads } from "./uploads.js";

export class Composer {
  #parts; // { form, text, attach, picker, area, list, tell(text), say(text, media) }
  #client = null;
  #uploads;

  constructor(parts) {
    this.#parts = parts;
    const { form, text, attach, picker, list, tell } = parts;
    const maxBytes = Number(form.dataset.maxBytes);
    this.#uploads = new Uploads({ list, maxBytes, tell, changed: () => this.#changed() });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    attach.addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      this.#uploads.add(picker.files);
      picker.value = "";
    });
    text.addEventListener("paste", (event) => {
      if (!event.clipboardData?.files.length) return;
      event.preventDefault();
      this.#uploads.add(event.clipboardData.files);
    });
    this.#takeDrops();
  }

  /** Another person: nothing of the one before stays, except for the same one. */
  follow(client, same) {
    this.#client = client;
    this.#uploads.follow(client);
    if (same) return;
    this.#uploads.clear();
    this.#parts.text.value = "";
  }

  /** Whether something would be lost by leaving the page. */
  get busy() {
    return this.#uploads.running;
  }

  focus() {
    this.#parts.text.focus();
  }

  /** Give unsent messages back, without touching what is being typed. */
  restore(entries) {
    const { text } = this.#parts;
    const given = entries.map((entry) => entry.text).filter(Boolean);
    text.value = [...given, text.value].filter(Boolean).join("\n");
    for (const { media } of entries) this.#uploads.putBack(media);
  }

  #submit() {
    const { text, tell } = this.#parts;
    const said = text.value.trim();
    if (this.#uploads.running) return tell("A file is still on its way: send when it has arrived.");
    if (!said && this.#uploads.empty) return;
    const media = this.#uploads.take();
    if (!said && !media.length) return; // what is listed has failed
    text.value = "";
    this.#parts.say(said, media);
  }

  #changed() {
    this.#parts.list.hidden = !this.#parts.list.childElementCount;
  }

  #takeDrops() {
    const { area } = this.#parts;
    const mark = (event, on) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      area.classList.toggle("dropping", on);
    };
    area.addEventListener("dragover", (event) => mark(event, true));
    area.addEventListener("dragleave", (event) => mark(event, false));
    area.addEventListener("drop", (event) => {
      mark(event, false);
      if (this.#client?.state === "ready") this.#uploads.add(event.dataTransfer?.files ?? []);
      else this.#parts.tell("Files can be added when the connection is back.");
    });
  }
}
