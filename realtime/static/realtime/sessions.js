/** The list of sessions, newest first as the server gives it. */

const LIMIT = 100;
const WORTH_SEARCHING = 8; // sessions

export class SessionList {
  #client;
  #list;
  #search;
  #choose;
  #current = "";
  #labels = new Map();
  #reading = false;
  #again = false;

  constructor({ client, list, search, choose }) {
    this.#client = client;
    this.#list = list;
    this.#search = search;
    this.#choose = choose;
    search.oninput = () => this.#filter(); // one list at a time owns the field
  }

  label(key) {
    return this.#labels.get(key) ?? "New chat";
  }

  has(key) {
    return this.#labels.has(key);
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
    this.#search.value = "";
    this.#search.hidden = true;
  }

  #show(sessions) {
    const focused = this.#list.contains(document.activeElement) && document.activeElement.dataset.key;
    this.#labels = new Map(sessions.map(({ key, label }) => [key, label || key.split(":").at(-1)]));
    this.#list.replaceChildren(...sessions.map((session) => this.#row(session)));
    this.mark(this.#current);
    this.#search.hidden = sessions.length < WORTH_SEARCHING && this.#search.value === "";
    this.#filter();
    for (const button of this.#list.querySelectorAll("button")) {
      if (button.dataset.key === focused) button.focus();
    }
  }

  #filter() {
    const sought = this.#search.value.trim().toLowerCase();
    for (const row of this.#list.children) row.hidden = !row.textContent.toLowerCase().includes(sought);
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
    facts.textContent = `${messageCount} ${messageCount === 1 ? "message" : "messages"}${day}`;
    button.append(title, facts);
    item.append(button);
    return item;
  }
}
