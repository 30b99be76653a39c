/** The list of sessions as 002 has it over HTTP, newest first. */

const PAGE = 50;
const WORTH_SEARCHING = 8; // sessions
const SOON_MS = 500;
const WORDS = { requires_action: "asks you", running: "at work", archived: "archived" };

export class SessionRows {
  #parts; // { list, search, more, archived, read(query) -> page, choose(id), changed() }
  #pages = 1;
  #found = []; // the sessions
  #besides = new Map(); // id -> a session that is not among the pages that were read
  #current = "";
  #reading = null;
  #soon = 0;
  since = 0; // when the reading of what is shown began

  constructor(parts) {
    this.#parts = parts;
    parts.search.addEventListener("input", () => this.#filter());
    parts.archived.addEventListener("click", () => {
      parts.archived.setAttribute("aria-pressed", String(!this.#archivedToo));
      this.#filter();
    });
    parts.more.addEventListener("click", () => {
      this.#pages += 1;
      this.refresh().catch(() => (this.#pages -= 1)); // the button is still there
    });
  }

  get ids() {
    return this.#found.map(({ id }) => id);
  }

  /** Those that ask somebody something. */
  get asking() {
    return this.#found.filter((one) => one.session_status === "requires_action").map(({ id }) => id);
  }

  /** A session that was read or changed alone. */
  learn(session) {
    this.#besides.set(session.id, session);
    this.#found = this.#found.map((one) => (one.id === session.id ? session : one));
  }

  title(id) {
    const found = this.#found.find((one) => one.id === id) ?? this.#besides.get(id);
    return found ? named(found) : "";
  }

  status(id) {
    return this.#found.find((one) => one.id === id)?.session_status ?? "";
  }

  mark(id) {
    this.#current = id;
    for (const button of this.#parts.list.querySelectorAll("button")) {
      if (button.value === id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    this.#filter();
  }

  /** Read the list. Throws what the server says. */
  refresh() {
    this.#reading ??= this.#read().finally(() => (this.#reading = null));
    return this.#reading;
  }

  /** Something has changed: read it once more, for all that changes meanwhile. */
  soon() {
    this.#soon ||= setTimeout(() => {
      this.#soon = 0;
      this.refresh().catch(() => {}); // it is read again and again
    }, SOON_MS);
  }

  clear() {
    clearTimeout(this.#soon);
    this.#soon = 0;
    this.#found = [];
    this.#besides.clear();
    this.#pages = 1;
    this.#parts.search.value = "";
    this.#show(false);
  }

  async #read() {
    const since = Date.now();
    const found = [];
    let page = { has_more: true, last_id: "" };
    for (let number = 0; number < this.#pages && page.has_more; number += 1) {
      const after = page.last_id ? `&after_id=${encodeURIComponent(page.last_id)}` : "";
      page = await this.#parts.read(`?limit=${PAGE}${after}`);
      found.push(...page.data);
    }
    this.#found = found;
    this.since = since;
    this.#show(page.has_more);
  }

  #show(more) {
    const { list, search } = this.#parts;
    const focused = list.contains(document.activeElement) && document.activeElement.value;
    list.replaceChildren(...this.#found.map((one) => this.#row(one)));
    this.#parts.more.hidden = !more;
    search.hidden = this.#found.length < WORTH_SEARCHING && search.value === "";
    this.mark(this.#current);
    this.#parts.changed();
    for (const button of list.querySelectorAll("button")) if (button.value === focused) button.focus();
  }

  get #archivedToo() {
    return this.#parts.archived.getAttribute("aria-pressed") === "true";
  }

  /** Archived ones are shown when they are asked for, sought by name, or open. */
  #filter() {
    const { list, search, archived } = this.#parts;
    const sought = search.value.trim().toLowerCase();
    let count = 0;
    for (const row of list.children) {
      const { value, dataset } = row.firstElementChild;
      const away = dataset.status === "archived";
      count += away;
      row.hidden = !row.textContent.toLowerCase().includes(sought) || (away && !sought && !this.#archivedToo && value !== this.#current);
    }
    archived.textContent = `Archived (${count})`;
    archived.hidden = count === 0;
  }

  #row(session) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", value: session.id });
    button.addEventListener("click", () => this.#parts.choose(session.id));
    const title = document.createElement("span");
    const facts = document.createElement("small");
    title.textContent = named(session);
    title.dir = "auto";
    const when = new Date(session.updated_at).toLocaleString([], { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
    facts.textContent = [WORDS[session.session_status], when].filter(Boolean).join(" · ");
    button.dataset.status = session.session_status;
    button.append(title, facts);
    const item = document.createElement("li");
    item.append(button);
    return item;
  }
}

const named = ({ title, id }) => title || `Session ${id.slice(-6)}`;
