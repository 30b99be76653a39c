/**
 * The live list of event frames; the newest last, the oldest forgotten.
 *
 * A burst (the chunks of one run) is one line with a counter. Payloads are written out on demand.
 */

const KEPT = 200;
const SHOWN = 4000; // characters of a payload
const BURSTS = new Set(["chunk", "chat", "thinking"]);

export class EventLog {
  #list;
  #bursts = new Map(); // "name of run" -> { item, count, details: the last so many }

  constructor(list) {
    this.#list = list;
  }

  /** An event frame, as the client hands it on. */
  event({ event, payload }) {
    const kind = event === "agent" ? payload?.type : event;
    const name = event === "agent" ? `agent ${kind}` : event;
    if (BURSTS.has(kind) && payload?.runId) this.#burst(name, payload);
    else this.add(name, payload);
  }

  add(name, detail) {
    const entry = { name, last: detail, count: 1, item: document.createElement("li") };
    entry.item.append(detail === undefined ? head(entry) : unfolding(entry));
    this.#list.append(entry.item);
    while (this.#list.childElementCount > KEPT) this.#list.firstElementChild.remove();
    return entry;
  }

  clear() {
    this.#list.replaceChildren();
    this.#bursts.clear();
  }

  #burst(name, payload) {
    const key = `${name} ${payload.runId}`;
    const entry = this.#bursts.get(key);
    if (!entry?.item.isConnected) {
      this.#bursts.set(key, this.add(name, payload));
      if (this.#bursts.size > KEPT) this.#bursts.delete(this.#bursts.keys().next().value);
      return;
    }
    entry.count += 1;
    entry.last = payload;
    entry.item.querySelector(".count").textContent = ` ×${entry.count}`;
  }
}

function head({ name }) {
  const line = document.createElement("span");
  const time = document.createElement("time");
  const title = document.createElement("strong");
  const count = document.createElement("span");
  const now = new Date();
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString([], { hour12: false });
  title.textContent = name;
  count.className = "count";
  line.append(time, " ", title, count);
  return line;
}

function unfolding(entry) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const text = document.createElement("code");
  summary.append(head(entry));
  details.append(summary, text);
  details.addEventListener("toggle", () => {
    const burst = entry.count > 1 ? "the last of them: " : "";
    text.textContent = details.open ? burst + JSON.stringify(entry.last).slice(0, SHOWN) : "";
  });
  return details;
}
