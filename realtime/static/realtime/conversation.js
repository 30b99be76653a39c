/**
 * One session on the screen: its stored messages, what was just typed, and the run in progress.
 *
 * The stored history is the truth: it is read on opening, after every run and after a reconnect.
 */

import { newId } from "../client/gateway.js";

const AGENT = "default";
const ENDINGS = new Set(["run.completed", "run.failed", "run.cancelled"]);
const REMEMBERED_ENDINGS = 100;

export class Conversation {
  #client;
  #parts; // { list, notice, changed(): called when a run begins or ends, restore(text) }
  #key = "";
  #messages = [];
  #outgoing = []; // { text, before, lost }
  // run id -> { key, text, done } for runs of every session, so that switching loses nothing; a run
  // that is done stays until the history that has its answer was read
  #runs = new Map();
  #ended = new Set();
  #reading = false;
  #again = false;

  constructor(client, parts) {
    this.#client = client;
    this.#parts = parts;
  }

  get key() {
    return this.#key;
  }

  get runId() {
    for (const [id, run] of this.#runs) if (run.key === this.#key && !run.done) return id;
    return "";
  }

  /** Show a session; `stored` false: it exists only once something is sent. */
  async open(key, { stored = true } = {}) {
    this.#key = key;
    this.#messages = [];
    this.#outgoing = [];
    this.#tell("");
    this.#render();
    if (stored) await this.refresh();
  }

  /** Read the history; asked again meanwhile, or for another session, read it once more. */
  async refresh() {
    this.#again = this.#reading;
    if (this.#reading || !this.#key) return;
    this.#reading = true;
    const key = this.#key;
    const done = [...this.#runs].filter(([, run]) => run.done).map(([id]) => id);
    try {
      const read = await this.#read(key);
      if (key === this.#key) this.#adopt(read, done);
      else this.#again = true;
    } catch (error) {
      if (key !== this.#key) this.#again = true;
      else if (error.code !== "UNAVAILABLE") this.#tell(error.message);
    } finally {
      this.#reading = false;
    }
    if (this.#again) await this.refresh();
  }

  async send(text) {
    const key = this.#key;
    const entry = { text, before: this.#shown().filter((item) => item.role === "user" && item.content === text).length };
    this.#outgoing.push(entry);
    this.#tell("");
    this.#render();
    try {
      const request = { sessionKey: key, agentId: AGENT, message: text, messageId: newId(), stream: true };
      const { injected } = await this.#client.request("chat.send", request);
      if (injected && key === this.#key) this.#tell("Passed on to the running answer.");
    } catch (error) {
      entry.lost = true; // whether it was stored, the history says
      if (key !== this.#key) return;
      this.#tell(error.message);
      await this.refresh();
    }
  }

  async abort() {
    try {
      await this.#client.request("chat.abort", { sessionKey: this.#key, runId: this.runId });
    } catch (error) {
      this.#tell(error.message);
    }
  }

  /** An `agent` event. Runs of other sessions are followed too, but not shown. */
  heard({ type, runId, sessionKey, payload }) {
    if (ENDINGS.has(type)) return this.#finish(type, runId, sessionKey, payload);
    if (this.#ended.has(runId)) return;
    const known = this.#runs.get(runId);
    const run = known ?? { key: sessionKey, text: "" };
    this.#runs.set(runId, run);
    if (type === "chunk") run.text += payload.content;
    if (sessionKey === this.#key) this.#render();
    if (known) return;
    this.#parts.changed();
    const mine = this.#shown().some((item) => item.role === "user" && item.content === payload?.message);
    if (type === "run.started" && sessionKey === this.#key && !mine) this.refresh();
  }

  clear() {
    this.#key = "";
    this.#messages = [];
    this.#outgoing = [];
    this.#runs.clear();
    this.#tell("");
    this.#render();
  }

  async #read(key) {
    try {
      const { messages } = await this.#client.request("chat.history", { sessionKey: key });
      const { isRunning, runId } = await this.#client.request("chat.session.status", { sessionKey: key });
      return { messages, runId: isRunning ? runId : "" };
    } catch (error) {
      if (error.code === "NOT_FOUND") return { messages: [], runId: "" }; // nothing was sent to it yet
      throw error;
    }
  }

  /** `done`: the runs that had ended when the reading began. */
  #adopt({ messages, runId }, done) {
    this.#messages = messages;
    for (const id of done) this.#runs.delete(id);
    for (const [id, run] of this.#runs) {
      if (run.key === this.#key && !run.done && id !== runId) this.#runs.delete(id); // its end was missed
    }
    if (runId && !this.#ended.has(runId) && !this.#runs.has(runId)) this.#runs.set(runId, { key: this.#key, text: "" });
    this.#outgoing = this.#outgoing.filter((entry) => !this.#isStored(entry));
    const lost = this.#outgoing.filter((entry) => entry.lost);
    this.#outgoing = this.#outgoing.filter((entry) => !entry.lost);
    if (lost.length) this.#parts.restore(lost.map((entry) => entry.text).join("\n"));
    this.#render();
    this.#parts.changed();
  }

  #finish(type, runId, sessionKey, payload) {
    this.#ended.add(runId);
    if (this.#ended.size > REMEMBERED_ENDINGS) this.#ended.delete(this.#ended.values().next().value);
    const text = payload?.content || this.#runs.get(runId)?.text;
    this.#runs.delete(runId);
    if (text && sessionKey === this.#key) this.#runs.set(runId, { key: sessionKey, text, done: true });
    this.#parts.changed();
    if (sessionKey !== this.#key) return;
    if (type === "run.failed") this.#tell(`The run failed: ${payload?.error ?? "no reason given"}`);
    if (type === "run.cancelled") this.#tell("Aborted.");
    this.#render();
    this.refresh();
  }

  #isStored({ text, before }) {
    return this.#messages.filter(({ role, content }) => role === "user" && content === text).length > before;
  }

  #shown() {
    const waiting = this.#outgoing.filter((entry) => !this.#isStored(entry));
    return [...this.#messages, ...waiting.map(({ text }) => ({ role: "user", content: text, waiting: !this.runId }))];
  }

  #tell(text) {
    this.#parts.notice.textContent = text;
  }

  /** Bring the list up to date; what has not changed stays as it is, for readers and screen readers. */
  #render() {
    const { list } = this.#parts;
    const items = this.#shown();
    for (const { key, text, done } of this.#runs.values()) {
      if (key === this.#key) items.push({ role: "assistant", content: text, running: !done });
    }
    items.forEach((item, index) => this.#place(item, list.children[index]));
    while (list.childElementCount > items.length) list.lastElementChild.remove();
  }

  #place({ role, content, running = false, waiting = false }, present) {
    const item = present ?? this.#parts.list.appendChild(document.createElement("li"));
    if (item.dataset.role !== role) {
      const who = document.createElement("strong");
      who.className = "unseen";
      who.textContent = `${role}: `;
      const text = document.createElement("p");
      item.dataset.role = role;
      item.replaceChildren(who, text);
    }
    const text = item.lastElementChild;
    if (text.textContent !== content) text.textContent = content;
    item.classList.toggle("running", running);
    item.classList.toggle("waiting", waiting);
    if (running) item.setAttribute("aria-busy", "true");
    else item.removeAttribute("aria-busy");
  }
}
