/** The log of a session on the screen: who said what, tools folded, an answer while it is given. */

import { copyButton } from "./copying.js";
import { markdown } from "./markdown.js";
import { visible } from "./visible.js";

const MOST = 2000; // items on the screen; the oldest go first
const TIME = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
const PARTIAL = "Part of this may be missing; the whole answer follows at its end.";
const FRAME_MS = 16;
const LONGEST = 20_000; // characters of what a tool said
const TELLING = ["command", "file_path", "path", "pattern", "url", "query", "prompt", "description"]; // of what a tool is given

export class SessionLog {
  #list;
  #said = new Map(); // message id -> { body, blocks: [{ block, element }] }
  #tools = new Map(); // tool use id -> its element
  #waiting = new Map(); // uuid -> the item of what is not stored yet
  #live = null; // { item, text, thought, partial }: what is being said
  #sure = false; // nothing that is being said was missed
  #drawing = 0;
  #took = 0; // ms, to draw it: a long answer is drawn less often

  constructor(list) {
    this.#list = list;
  }

  clear() {
    this.#quiet();
    this.#sure = false;
    this.#said.clear();
    this.#tools.clear();
    this.#waiting.clear();
    this.#list.replaceChildren();
  }

  /** A frame of the log, or of what is live. Pieces that follow what is stored `now` are all there. */
  hear(frame, now = true) {
    if (now && frame.type !== "stream_event" && frame.type !== "tool_progress") this.#sure = true;
    if (frame.type === "user") this.#user(frame);
    else if (frame.type === "assistant") this.#assistant(frame);
    else if (frame.type === "stream_event") this.#piece(frame.event);
    else if (frame.type === "tool_progress") this.#progress(frame);
    else if (frame.type === "result") this.#result(frame);
    else if (frame.type === "system") this.#system(frame);
  }

  /** What was just typed, until the log has it. */
  waits(uuid, text) {
    const item = this.#item("user", {});
    this.#list.append(item); // behind those that wait already
    this.#waiting.set(uuid, item);
    item.classList.add("waiting");
    item.append(made("p", { textContent: text }), made("small", { textContent: "Not stored yet" }));
  }

  /** It was not taken. */
  forget(uuid) {
    this.#waiting.get(uuid)?.remove();
    this.#waiting.delete(uuid);
  }

  /** Before all that is shown. */
  precede(text) {
    const item = made("li");
    item.dataset.role = "system";
    item.append(made("p", { textContent: text }));
    this.#list.prepend(item);
  }

  /** Pieces may have been missed. */
  doubt() {
    this.#sure = false;
    if (!this.#live) return;
    this.#live.partial = true;
    this.#draw();
  }

  // --- what is stored

  #user({ uuid, message, created_at: at }) {
    this.forget(uuid);
    const blocks = blocksOf(message);
    for (const block of blocks) if (block.type === "tool_result") this.#answered(block);
    const text = blocks.map((block) => (block.type === "text" ? block.text : "")).filter(Boolean).join("\n");
    if (!text) return;
    const item = this.#item("user", { at });
    const shown = made("p", { textContent: text, dir: "auto" });
    item.append(copyButton("Copy the message", () => text, () => shown), shown);
  }

  #assistant({ message, created_at: at, uuid }) {
    this.#quiet();
    const id = message?.id ?? uuid;
    if (!this.#said.has(id)) {
      const body = this.#item("assistant", { at });
      const said = { body, blocks: [], copy: null };
      said.copy = copyButton("Copy the message", () => words(said), () => body);
      body.append(said.copy);
      this.#said.set(id, said);
    }
    const said = this.#said.get(id);
    for (const block of blocksOf(message)) this.#add(said, block);
    said.body.hidden = said.blocks.length === 0;
    said.copy.hidden = words(said) === "";
  }

  /** The same message comes again with more in it, or with its next block alone. */
  #add({ body, blocks }, block) {
    const known = blocks.find((one) => isGrown(one.block, block));
    if (known) {
      known.block = block;
      this.#fill(known.element, block);
      return;
    }
    const element = this.#element(block);
    if (!element) return;
    blocks.push({ block, element });
    body.append(element);
  }

  #element(block) {
    if (block.type === "text" && block.text) return this.#fill(made("div", { className: "markdown" }), block);
    if (block.type === "thinking" && block.thinking) {
      const element = made("details", { className: "thought" });
      element.append(made("summary", { textContent: "Thought" }), made("p"));
      return this.#fill(element, block);
    }
    return block.type === "tool_use" ? this.#tool(block) : null;
  }

  #fill(element, block) {
    if (block.type === "text") markdown(element, block.text);
    if (block.type === "thinking") element.lastElementChild.textContent = block.thinking;
    return element;
  }

  #tool({ id, name, input = {} }) {
    const element = made("details", { className: "tool" });
    const summary = made("summary");
    const about = hint(input);
    summary.append(made("b", { textContent: visible(name ?? "A tool") }), " ", ...(about ? [made("code", { textContent: about }), " "] : []), made("small", { textContent: "at work" }));
    element.append(summary, lines("What it was given", visible(JSON.stringify(input, null, 2))));
    element.dataset.state = "running";
    this.#tools.set(id, element);
    return element;
  }

  #answered({ tool_use_id: id, content, is_error: failed }) {
    const element = this.#tools.get(id);
    if (!element) return;
    this.#tools.delete(id);
    element.dataset.state = failed ? "failed" : "done";
    state(element).textContent = failed ? "failed" : "done";
    const text = typeof content === "string" ? content : blocksOf({ content }).map((block) => block.text ?? `[${block.type}]`).join("\n");
    const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)}\n… (${text.length} characters)` : text;
    element.append(lines("What it answered", cut || "(nothing)"));
  }

  #progress({ tool_use_id: id, elapsed_time_seconds: seconds }) {
    const element = this.#tools.get(id);
    if (element && seconds >= 1) state(element).textContent = `at work, ${Math.round(seconds)} s`;
  }

  #result({ is_error: failed, result, created_at: at }) {
    const half = this.#live?.text;
    this.#quiet();
    for (const element of this.#tools.values()) {
      element.dataset.state = "failed";
      state(element).textContent = "not ended";
    }
    this.#tools.clear();
    if (!failed) return;
    if (half && !this.#list.lastElementChild?.matches("[data-role=assistant]")) markdown(this.#body("assistant"), half);
    this.#line(`The turn ended: ${result || "it failed"}.`.replace(/\.\.$/, "."), at);
  }

  #system({ subtype, content, created_at: at }) {
    if (subtype === "compact_boundary") this.#line("What was said before is known to the agent in short.", at);
    else if (subtype === "informational" && typeof content === "string") this.#line(content, at);
  }

  #line(text, at) {
    this.#item("system", { at }).append(made("p", { textContent: text }));
  }

  // --- what is being said

  #piece(event) {
    const { delta } = event ?? {};
    if (event?.type === "message_start") {
      this.#sure = true;
      return this.#quiet();
    }
    if (typeof delta?.text !== "string" && typeof delta?.thinking !== "string") return;
    if (!this.#live) {
      const item = this.#item("assistant", {});
      item.classList.add("running");
      item.setAttribute("aria-busy", "true");
      item.append(made("p", { className: "thinking", hidden: true }), made("div", { className: "markdown" }), made("small", { hidden: true }));
      this.#live = { item, text: "", thought: "", partial: !this.#sure };
    }
    this.#live.text += delta.text ?? "";
    this.#live.thought += delta.thinking ?? "";
    this.#drawing ||= setTimeout(() => this.#draw(), Math.max(FRAME_MS, 2 * this.#took));
  }

  #draw() {
    clearTimeout(this.#drawing);
    this.#drawing = 0;
    if (!this.#live) return;
    const begun = performance.now();
    const { item, text, thought, partial } = this.#live;
    const [, thinking, body, small] = item.children;
    thinking.hidden = text !== "" || thought === "";
    thinking.textContent = `Thinks: ${thought.slice(-200)}`;
    markdown(body, text);
    small.hidden = !partial;
    small.textContent = partial ? PARTIAL : "";
    this.#took = performance.now() - begun;
  }

  #quiet() {
    clearTimeout(this.#drawing);
    this.#drawing = 0;
    this.#live?.item.remove();
    this.#live = null;
  }

  // --- items

  #item(role, { at }) {
    const item = made("li");
    item.dataset.role = role;
    if (at) item.title = TIME.format(new Date(at));
    item.append(made("span", { className: "unseen", textContent: `${role}: ` }));
    const [waiting = null] = this.#waiting.values();
    this.#list.insertBefore(item, waiting); // what is not stored yet stays at the end
    while (this.#list.childElementCount > MOST) this.#list.firstElementChild.remove();
    return item;
  }

  #body(role) {
    return this.#item(role, {}).appendChild(made("div", { className: "markdown" }));
  }
}

/** What was said, as it was written. */
const words = ({ blocks }) => blocks.filter(({ block }) => block.type === "text").map(({ block }) => block.text).join("\n\n");

const made = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
const state = (tool) => tool.querySelector("summary small");

function blocksOf(message) {
  const content = message?.content ?? [];
  return typeof content === "string" ? [{ type: "text", text: content }] : content;
}

/** Whether `now` is `before` once more, or with more in it. */
function isGrown(before, now) {
  if (before.type !== now.type) return false;
  if (now.type === "tool_use") return before.id === now.id;
  const [old, text] = now.type === "text" ? [before.text, now.text] : [before.thinking, now.thinking];
  return typeof text === "string" && text.startsWith(old);
}

/** What a tool is given, in a few words. */
function hint(input) {
  const named = TELLING.map((name) => input[name]).find((value) => typeof value === "string");
  const text = named ?? Object.values(input).find((value) => typeof value === "string") ?? "";
  const line = visible(text.split("\n", 1)[0]);
  return line.length > 80 ? `${line.slice(0, 80)}…` : line;
}

function lines(label, text) {
  const element = made("pre", { textContent: text, tabIndex: 0 });
  element.setAttribute("role", "region");
  element.setAttribute("aria-label", label);
  return element;
}
