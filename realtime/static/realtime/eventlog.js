/** The live list of event frames; the newest last, the oldest forgotten. */

const KEPT = 200;
const SHOWN = 400; // characters of a payload

export class EventLog {
  #list;

  constructor(list) {
    this.#list = list;
  }

  add(name, detail) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    const title = document.createElement("strong");
    const text = document.createElement("code");
    const now = new Date();
    time.dateTime = now.toISOString();
    time.textContent = now.toLocaleTimeString();
    title.textContent = name;
    text.textContent = (JSON.stringify(detail) ?? "").slice(0, SHOWN);
    item.append(time, " ", title, " ", text);
    this.#list.append(item);
    while (this.#list.childElementCount > KEPT) this.#list.firstElementChild.remove();
  }
}
