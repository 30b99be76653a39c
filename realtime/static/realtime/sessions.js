/** The list of sessions, newest first as the server gives it. */

const LIMIT = 100;

export class SessionList {
  #client;
  #list;
  #choose;
  #current = "";
  #labels = new Map();
  #reading = false;
  #again = false;

  constructor({ client, list, choose }) {
    this.#client = client;
    this.#list = list;
    this.#choose = choose;
  }

  label(key) {
    return this.#labels.get(key) ?? "New chat";
  }

  mark(key) {
    this.#current = key;
    for (const button of this.#list.querySelectorAll("button")) {
      if (button.dataset.key === key) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  /** Read the list; asked again meanwhile, read it once more. */
  async refresh() {
    this.#again = this.#reading;
    if (this.#reading) return;
    this.#reading = true;
    try {
      const { sessions } = await this.#client.request("sessions.list", { limit: LIMIT });
      this.#show(sessions);
    } catch (error) {
      if (error.code !== "UNAVAILABLE") throw error; // else it is read after the reconnect
    } finally {
      this.#reading = false;
    }
    if (this.#again) await this.refresh();
  }

  clear() {
    this.#labels.clear();
    this.#list.replaceChildren();
  }

  #show(sessions) {
    const focused = this.#list.contains(document.activeElement) && document.activeElement.dataset.key;
    this.#labels = new Map(sessions.map(({ key, label }) => [key, label || key.split(":").at(-1)]));
    this.#list.replaceChildren(...sessions.map((session) => this.#row(session)));
    this.mark(this.#current);
    for (const button of this.#list.querySelectorAll("button")) {
      if (button.dataset.key === focused) button.focus();
    }
  }

  #row({ key, messageCount, updated }) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const title = document.createElement("span");
    const facts = document.createElement("small");
    button.type = "button";
    button.dataset.key = key;
    button.title = key;
    button.addEventListener("click", () => this.#choose(key));
    title.textContent = this.label(key);
    const when = new Date(updated);
    const day = Number.isNaN(when.valueOf()) ? "" : ` · ${when.toLocaleString([], { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" })}`;
    facts.textContent = `${messageCount} messages${day}`;
    button.append(title, facts);
    item.append(button);
    return item;
  }
}
