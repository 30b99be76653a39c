/** What can be done to the chat on the screen: rename, compact, delete. Each asks first. */

const QUESTIONS = {
  rename: { title: "Rename this chat", text: "", yes: "Rename" },
  compact: {
    title: "Compact this chat",
    text: "The last four messages stay in the conversation. Earlier ones are kept in the record, but no longer shown here or told to the agent.",
    yes: "Compact",
  },
  delete: { title: "Delete this chat", text: "All its messages are deleted. This cannot be undone.", yes: "Delete" },
};

export class Actions {
  #parts; // { menu, dialog, title, text, name, label, yes, no, tell(text), done(action) }
  #client = null;
  #chat = () => ({ key: "", label: "" });

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

  /** `chat` tells the key and label of the chat on the screen. */
  follow(client, chat) {
    this.#client = client;
    this.#chat = chat;
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
    const chat = this.#chat();
    const words = QUESTIONS[action];
    this.#close(true);
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
    const { tell, done } = this.#parts;
    const calls = {
      rename: () => this.#client.request("sessions.patch", { key, label }),
      compact: () => this.#client.request("sessions.compact", { key }),
      delete: () => this.#client.request("sessions.delete", { key }),
    };
    try {
      const answer = await calls[action]();
      done(action, key);
      if (action === "compact") tell(answer.message ?? `Compacted: ${answer.kept} of ${answer.original} messages stay.`);
    } catch (error) {
      tell(error.message);
    }
  }
}
