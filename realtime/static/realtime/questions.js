/** What a worker asks before it goes on: a card for each question, to be allowed or denied. */

import { visible } from "./visible.js";

const LONG = 300; // characters of what a tool is given: more is folded

export class Questions {
  #area;
  #parts; // { answer(id, response), connected() -> bool, late(), changed(count) }
  #cards = new Map(); // request id -> { card, words, frame }
  #answered = new Map(); // request id -> frame, for an answer that is refused

  constructor(area, parts) {
    this.#area = area;
    this.#parts = parts;
  }

  ask(frame) {
    if (frame.request?.subtype !== "can_use_tool" || this.#cards.has(frame.request_id)) return;
    this.#cards.set(frame.request_id, this.#card(frame));
    this.#changed();
  }

  /** Somebody has answered, or nobody has to any more. */
  settle(id) {
    const late = this.#answered.delete(id); // an answer that counts is not told to who gave it
    this.#remove(id);
    if (late) this.#parts.late();
  }

  /** An answer was not taken. */
  refuse(id, words) {
    const frame = this.#answered.get(id);
    if (!frame) return;
    this.#answered.delete(id);
    this.ask(frame);
    this.#cards.get(id).words.textContent = `Not answered: ${words}`;
  }

  /** Answers that waited for the connection are given. */
  delivered() {
    for (const [id, { card }] of this.#cards) if (card.dataset.waits) this.#remove(id);
  }

  clear() {
    this.#answered.clear();
    for (const id of [...this.#cards.keys()]) this.settle(id);
  }

  #card(frame) {
    const { tool_name: tool, description, input = {} } = frame.request;
    const card = this.#area.appendChild(made("section", { className: "question" }));
    const given = visible(JSON.stringify(input, null, 2)); // what is allowed is what is read
    const shown = made("details", { open: given.length <= LONG });
    const lines = made("pre", { textContent: given, tabIndex: 0 });
    const title = made("h3", { textContent: `May it use ${visible(String(tool))}?` });
    const why = made("input", { placeholder: "Why not (optional)", maxLength: 1000 });
    const allow = made("button", { type: "button", className: "primary", textContent: "Allow" });
    const deny = made("button", { type: "button", className: "danger", textContent: "Deny" });
    const words = made("p", { className: "wrong" });
    const acts = made("div", { className: "answer" });
    card.setAttribute("aria-label", title.textContent);
    lines.setAttribute("role", "region");
    lines.setAttribute("aria-label", "What it is given");
    why.setAttribute("aria-label", "Why not");
    words.setAttribute("role", "alert");
    shown.append(made("summary", { textContent: "What it is given" }), lines);
    acts.append(allow, deny, why);
    card.append(title, ...(description ? [made("p", { textContent: visible(String(description)) })] : []), shown, acts, words);
    allow.addEventListener("click", () => this.#answer(frame, { behavior: "allow", updatedInput: input }));
    deny.addEventListener("click", () => this.#answer(frame, { behavior: "deny", message: why.value.trim() || "Denied by the person who was asked." }));
    return { card, words, frame };
  }

  #answer(frame, response) {
    const id = frame.request_id;
    const { card, words } = this.#cards.get(id);
    this.#answered.set(id, frame);
    this.#parts.answer(id, response);
    if (this.#parts.connected()) return this.#remove(id);
    card.dataset.waits = "yes";
    for (const control of card.querySelectorAll("button, input")) control.disabled = true;
    words.textContent = `${response.behavior === "allow" ? "Allowed" : "Denied"}; told when the connection is back.`;
  }

  #remove(id) {
    const found = this.#cards.get(id);
    if (!found) return;
    const held = found.card.contains(document.activeElement);
    this.#cards.delete(id);
    found.card.remove();
    this.#changed(held);
  }

  #changed(held = false) {
    this.#area.hidden = this.#cards.size === 0;
    this.#parts.changed(this.#cards.size, held);
  }
}

const made = (tag, properties) => Object.assign(document.createElement(tag), properties);
