/** What the pages of topics and groups share: the door, the line to the server, the round-trip time. */

import { USER, keep, kept } from "./keep.js";
import { Line } from "./line.js";
import { Visa } from "./visa.js";

const $ = (id) => document.getElementById(id);

export class Entrance {
  #page; // { connect(visa, user) -> client, entered(), name(), refused }
  #line;
  #client = null;
  #inside = false;

  constructor(page) {
    this.#page = page;
    this.#line = new Line({ state: $("state"), banner: $("line"), text: $("line-text"), count: $("line-count"), queued: $("line-queued"), retry: $("retry") });
    $("user").value ||= kept("local", USER);
    $("connect").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enter();
    });
    $("enter").disabled = false;
    $("disconnect").addEventListener("click", () => this.#client.stop());
    $("retry").addEventListener("click", () => this.#client.start());
    $("measure").addEventListener("click", () => this.#client.ping());
    addEventListener("beforeunload", (event) => {
      if (this.#client?.queued) event.preventDefault(); // it would be lost with the page
    });
  }

  /** Something was queued or sent. */
  changed() {
    this.#line.changed();
  }

  async #enter() {
    const [user, password, token] = ["user", "password", "token"].map((id) => $(id).value.trim());
    $("enter").disabled = true;
    this.#complain("");
    try {
      const visa = token ? new Visa(token) : await Visa.logIn(user, $("password").value);
      if (user) keep("local", USER, user);
      this.#follow(this.#page.connect(visa, user), visa);
    } catch (error) {
      this.#complain(password || token ? error.message : "Enter your password, or a token.");
    }
    $("enter").disabled = false;
  }

  #follow(client, visa) {
    this.#client?.stop();
    this.#client = client;
    this.#line.follow(client);
    client.on("state", ({ state, reason, error }) => {
      // Never been in: what was entered may be wrong, and a browser does not say whether it is.
      if (state === "reconnecting" && !this.#inside) this.#leave(`${this.#page.refused} (${reason})`);
      else this.#show(state, error);
    });
    client.on("retry", ({ code }) => {
      if (code === 4003) visa.distrust();
      if (visa.over) this.#leave(visa.over);
    });
    client.on("rtt", ({ ms }) => ($("rtt").textContent = `${ms} ms`));
    client.start();
  }

  #leave(words) {
    this.#client.stop();
    this.#complain(words);
  }

  #show(state, error) {
    this.#inside = state === "ready" || (this.#inside && state === "reconnecting");
    $("door").hidden = this.#inside;
    $("room").hidden = $("disconnect").hidden = !this.#inside;
    $("measure").hidden = state !== "ready";
    if (state === "ready") {
      $("password").value = $("token").value = "";
      this.#line.name(this.#page.name());
      this.#page.entered();
    }
    if (state === "stopped" && error) this.#complain(error.message);
  }

  #complain(text) {
    $("problem").textContent = text;
    $("problem").hidden = text === "";
  }
}

/** Add to a list that forgets its oldest; `parts` are texts and [tag, text, class?]. */
export function append(list, parts, { kind = "", most = 200 } = {}) {
  const item = document.createElement("li");
  if (kind) item.dataset.kind = kind;
  for (const part of parts) {
    if (typeof part === "string") {
      item.append(part);
      continue;
    }
    const [tag, text, style = ""] = part;
    const element = document.createElement(tag);
    element.textContent = text;
    element.className = style;
    item.append(element, " ");
  }
  list.append(item);
  while (list.childElementCount > most) list.firstElementChild.remove();
  return item;
}

export const clockTime = (moment) => new Date(moment).toLocaleTimeString([], { hour12: false });
