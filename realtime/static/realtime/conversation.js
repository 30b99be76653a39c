/**
 * One session on the screen: its stored messages, what was just typed, and the run in progress.
 *
 * The stored history is the truth: it is read on opening, after every run and after a reconnect.
 */

import { newId } from "../client/gateway.js";
import { Runs } from "./runs.js";

const AGENT = "default";
const PARTIAL = "Part of this was missed; the whole answer follows at its end.";

export class Conversation {
  #client;
  #parts; // { transcript, tell(text), changed(): a run began or ended, restore(entries) }
  #key = "";
  #messages = [];
  #outgoing = []; // { text, media, before, lost, settled }
  #runs = new Runs();
  #unwatch = null;
  #reading = false;
  #again = false;

  constructor(client, parts) {
    this.#client = client;
    this.#parts = parts;
    client.on("state", () => this.redraw());
  }

  get key() {
    return this.#key;
  }

  get runId() {
    return this.#runs.active(this.#key);
  }

  /** Show a session; `stored` false: it exists only once something is sent. */
  async open(key, { stored = true } = {}) {
    this.#leave(key);
    this.#parts.tell("");
    this.redraw();
    if (stored) await this.refresh();
  }

  /** Read the history; asked again meanwhile, or for another session, read it once more. */
  async refresh() {
    this.#again = this.#reading;
    if (this.#reading || !this.#key) return;
    this.#reading = true;
    const key = this.#key;
    const done = this.#runs.done();
    const settled = this.#outgoing.filter((entry) => entry.settled);
    try {
      const read = await this.#read(key);
      if (key === this.#key) this.#adopt(read, done, settled);
      else this.#again = true;
    } catch (error) {
      if (key !== this.#key) this.#again = true;
      else if (error.code !== "UNAVAILABLE") this.#parts.tell(error.message);
    } finally {
      this.#reading = false;
    }
    if (this.#again) await this.refresh();
  }

  /** Offline, it waits in the client's queue; a repetition is recognised by its `messageId`. */
  async send(text, media = []) {
    const key = this.#key;
    const entry = { text, media, before: this.#shown().filter((item) => isOf(item, { text, media })).length };
    this.#outgoing.push(entry);
    this.#parts.tell("");
    this.redraw();
    const params = { sessionKey: key, agentId: AGENT, message: text, messageId: newId(), stream: true };
    if (media.length) params.media = media;
    try {
      const { injected } = await this.#client.request("chat.send", params, { queue: true });
      entry.settled = true;
      if (injected && key === this.#key) this.#parts.tell("Passed on to the running answer.");
    } catch (error) {
      entry.lost = true; // whether it was stored, the history says
      if (key !== this.#key) return;
      this.#parts.tell(error.message);
      await this.refresh();
    }
  }

  async abort() {
    try {
      await this.#client.request("chat.abort", { sessionKey: this.#key, runId: this.runId });
    } catch (error) {
      this.#parts.tell(error.message);
    }
  }

  /** An `agent` event. Runs of other sessions are followed too, but not shown. */
  heard(event) {
    const news = this.#runs.hear(event);
    if (news === "" || event.sessionKey !== this.#key) return;
    if (news === "ended") this.#ended(event);
    this.redraw();
    if (news === "goes on") return;
    this.#parts.changed();
    const { type, payload } = event;
    const known = this.#shown().some(({ role, content }) => role === "user" && content === payload?.message);
    if (news === "ended" || (type === "run.started" && !known)) this.refresh();
  }

  /** After a reconnect or a resync. */
  resumed() {
    this.#runs.doubt();
    return this.refresh();
  }

  /** Nothing of this person stays on the screen; what was not sent yet is handed back. */
  clear() {
    const unsent = this.#outgoing.filter((entry) => !this.#isStored(entry));
    this.#leave("");
    this.#runs.clear();
    this.#parts.tell("");
    this.redraw();
    if (unsent.length) this.#parts.restore(unsent);
  }

  #leave(key) {
    this.#unwatch?.();
    this.#unwatch = key ? this.#client.watch(key) : null;
    this.#key = key;
    this.#messages = [];
    this.#outgoing = [];
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

  /** `done`: the runs, `settled`: the entries, that had ended when the reading began. */
  #adopt({ messages, runId }, done, settled) {
    this.#messages = messages;
    this.#runs.adopt(this.#key, runId, done);
    const open = this.#outgoing.filter((entry) => !this.#isStored(entry) && !settled.includes(entry));
    this.#outgoing = open.filter((entry) => !entry.lost);
    const lost = open.filter((entry) => entry.lost);
    if (lost.length) this.#parts.restore(lost);
    this.redraw();
    this.#parts.changed();
  }

  #ended({ type, payload }) {
    if (type === "run.failed") this.#parts.tell(`The run failed: ${payload?.error ?? "no reason given"}`);
    if (type === "run.cancelled") this.#parts.tell("Aborted.");
  }

  #isStored(entry) {
    return this.#messages.filter((message) => isOf(message, entry)).length > entry.before;
  }

  #shown() {
    const waiting = this.#outgoing.filter((entry) => !this.#isStored(entry));
    return [...this.#messages, ...waiting.map(({ text, media }) => ({ role: "user", content: text, waits: true, media }))];
  }

  redraw() {
    const offline = this.#client.state !== "ready" || !navigator.onLine;
    const items = this.#shown().map(({ role, content, media_refs: media = [], partial, waits, media: files = [] }) => ({
      role,
      content: waits ? [content, ...files.map(({ filename }) => filename)].filter(Boolean).join("\n") : content,
      media,
      waiting: Boolean(waits) && (offline || !this.runId),
      note: partial ? "Aborted" : waits && offline ? "Waits for the connection" : "",
    }));
    for (const { text, done, partial, aborted } of this.#runs.of(this.#key)) {
      const note = aborted ? "Aborted" : partial && !done ? PARTIAL : "";
      items.push({ role: "assistant", content: text, running: !done, note });
    }
    this.#parts.transcript.show(items);
  }
}

/** Whether a message is what an outgoing entry became, or an entry like it. */
function isOf({ role, content, media_refs: refs, media: waiting }, { text, media }) {
  if (role !== "user") return false;
  if (!media.length) return content === text;
  const ids = (refs ?? waiting ?? []).map(({ id, path }) => path ?? id);
  return media.every(({ path }) => ids.includes(path));
}
