/** What can be done to the chat or session on the screen: what cannot be taken back asks first. */

const QUESTIONS = {
  rename: { title: "Rename", text: "", yes: "Rename" },
  compact: {
    title: "Compact this chat",
    text: "The last four messages stay in the conversation. Earlier ones are kept in the record, but no longer shown here or told to the agent.",
    yes: "Compact",
  },
  delete: { title: "Delete this chat", text: "All its messages are deleted. This cannot be undone.", yes: "Delete" },
};

export class Actions {
  #parts; // { menu, dialog, title, text, name, label, yes, no, chat() -> { key, label }, act(action, key, label), tell(text), done(action, key, answer) }

  constructor(parts) {
    this.#parts = parts;
    const { menu, dialog, no } = parts;
    for (const button of menu.querySelectorAll("button")) {
      button.addEventListener("click", () => this.#ask(button.value));
    }
    menu.addEventListener("keydown", ({ key }) => key === "Escape" && this.#close(true));
    menu.addEventListener("focusout", ({ relatedTarget }) => {
      if (!menu.contains(relatedTarget)) this.#close(false);
    });
    no.addEventListener("click", () => dialog.close(""));
  }

  /** Whatever was asked is not asked any more. */
  clear() {
    this.#parts.dialog.close("");
    this.#parts.name.value = "";
  }

  #close(back) {
    this.#parts.menu.open = false;
    if (back) this.#parts.menu.querySelector("summary").focus();
  }

  #ask(action) {
    const { dialog, title, text, name, label, yes } = this.#parts;
    const chat = this.#parts.chat();
    const words = QUESTIONS[action];
    this.#close(true);
    if (!words) return this.#do(action, chat.key, chat.label);
    title.textContent = words.title;
    text.textContent = words.text;
    text.hidden = words.text === "";
    label.hidden = action !== "rename";
    name.disabled = action !== "rename";
    name.value = chat.label;
    yes.textContent = words.yes;
    yes.value = action;
    yes.className = action === "delete" ? "danger" : "primary";
    dialog.returnValue = "";
    dialog.onclose = () => dialog.returnValue === action && this.#do(action, chat.key, name.value.trim());
    dialog.showModal();
    if (action === "rename") name.select();
  }

  async #do(action, key, label) {
    const { act, tell, done } = this.#parts;
    try {
      done(action, key, await act(action, key, label));
    } catch (error) {
      tell(error.message);
    }
  }
}
