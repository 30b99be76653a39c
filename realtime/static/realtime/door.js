/** The door of the console: connect with a token or as a paired browser, or go and ask to be paired. */

import { ASK, ENDED, USER, keep, kept } from "./keep.js";
import { inWords, isPaired } from "./person.js";

export class Door {
  #parts; // { door, form, user, token, enter, problem, pending, connect(userId, token) }
  #client = null;

  constructor(parts) {
    this.#parts = parts;
    const { form, token, user } = parts;
    user.value = kept("local", USER);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enter();
    });
    token.addEventListener("input", () => this.#name());
  }

  follow(client, token) {
    this.#client = client;
    let inside = false;
    client.on("state", ({ state, error }) => {
      inside = state === "ready" || (inside && state === "reconnecting");
      this.#parts.door.hidden = inside || state === "connecting";
      this.#name();
      if (state !== "stopped") return;
      this.#complain(inWords(error, token));
      this.#parts.user.focus();
    });
  }

  /** The page was opened: in at once if this browser is paired, else the form with what is known. */
  arrive() {
    if (isPaired()) return this.#client.start();
    this.#parts.door.hidden = false;
    this.#complain(kept("local", ENDED));
    this.#name();
  }

  #enter() {
    const { user, token } = this.#parts;
    const userId = user.value.trim();
    const shown = token.value;
    token.value = "";
    this.#complain("");
    keep("local", USER, userId);
    if (shown || isPaired()) return this.#parts.connect(userId, shown);
    keep("tab", ASK, "yes");
    location.assign("/pair/");
  }

  // What the button will do: only a browser that is not paired, without a token, asks an administrator.
  #name() {
    const { token, enter, pending } = this.#parts;
    enter.textContent = isPaired() || token.value ? "Connect" : "Pair this browser";
    pending.hidden = isPaired() || !this.#client.hasDevice;
  }

  #complain(text) {
    this.#parts.problem.textContent = text;
    this.#parts.problem.hidden = text === "";
  }
}
