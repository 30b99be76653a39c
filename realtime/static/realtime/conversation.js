/**
 * One session on the screen: its stored messages, what was just typed, and the run in progress.
 *
 * The stored history is the truth: it is read on opening, after every run and after a reconnect.
 */

import { Outbox } from "./outbox.js";
import { Runs, tryingAgain } from "./runs.js";

const AGENT = "default";
const CUT = "Cut short"; // by an abort or a failure: the history does not say which
const PARTIAL = "Part of this may be missing; the whole answer follows at its end.";

export class Conversation {
  #client;
  #parts; // { transcript, tell(text), changed(): a run began or ended, restore(entries) }
  #key = "";
  #messages = [];
  #outbox = new Outbox();
  #runs = new Runs();
  #unwatch = null;
  #reading = false;
  #again = false;

  constructor(client, parts) {
    this.#client = client;
    this.#parts = parts;
    client.on("state", ({ state }) => {
      if (state === "reconnecting") this.#runs.doubt();
      this.redraw();
    });
    client.on("dropped", ({ params }) => this.#outbox.drop(params.messageId));
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
    const settled = this.#outbox.settled();
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
    const entry = this.#outbox.add(key, text, media, this.#shown());
    this.#parts.tell("");
    this.redraw();
    const params = { sessionKey: key, agentId: AGENT, message: text, messageId: entry.id, stream: true };
    if (media.length) params.media = media;
    try {
      const { injected } = await this.#client.request("chat.send", params, { queue: true });
      entry.settled = true;
      if (key !== this.#key) this.#outbox.forget(entry); // the history says it when it is opened
      else if (injected) this.#parts.tell("Passed on to the running answer.");
    } catch (error) {
      entry.lost = true; // whether it was stored, the history says
      if (key !== this.#key) return; // given back when its session is opened again
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
    if (news === "") return;
    if (event.sessionKey !== this.#key) {
      if (news === "ended") this.#runs.forget(event.runId); // the history has it when it is opened
      return;
    }
    if (news === "ended") this.#ended(event);
    this.redraw();
    if (news === "goes on") return;
    this.#parts.changed();
    const { type, payload } = event;
    const known = this.#shown().some(({ role, content }) => role === "user" && content === payload?.message);
    if (news === "ended" || (type === "run.started" && !known)) this.refresh();
  }

  /** After a reconnect, which was doubted when the line was lost, or a resync. */
  resumed(reason) {
    if (reason !== "reconnected") this.#runs.doubt();
    return this.refresh();
  }

  /** Nothing of this person stays on the screen; what was not sent yet is handed back. */
  clear() {
    const unsent = this.#outbox.clear(this.#key, this.#messages);
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
    const lost = this.#outbox.adopt(this.#key, messages, settled);
    if (lost.length) this.#parts.restore(lost);
    this.redraw();
    this.#parts.changed();
  }

  #ended({ type, payload }) {
    if (type === "run.failed") this.#parts.tell(`The run failed: ${payload?.error ?? "no reason given"}`);
    if (type === "run.cancelled") this.#parts.tell("Aborted.");
  }

  #shown() {
    const waiting = this.#outbox.open(this.#key, this.#messages);
    const said = waiting.map(({ text, media, settled }) => ({ role: "user", content: text, waits: !settled, media }));
    return [...this.#messages, ...said];
  }

  redraw() {
    const offline = this.#client.state !== "ready" || !navigator.onLine;
    const items = this.#shown().map(({ role, content, media_refs: media = [], partial, waits, media: files = [] }) => ({
      role,
      content: [content, ...files.map(({ filename }) => filename)].filter(Boolean).join("\n"),
      media,
      waiting: Boolean(waits) && (offline || !this.runId),
      note: partial ? CUT : waits && offline ? "Waits for the connection" : "",
    }));
    for (const { text, done, partial, again, cut } of this.#runs.of(this.#key)) {
      const note = cut ? CUT : again ? tryingAgain(again) : partial && !done ? PARTIAL : "";
      items.push({ role: "assistant", content: text, running: !done, note });
    }
    this.#parts.transcript.show(items);
  }
}
