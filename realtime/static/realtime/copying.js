/** A button that copies: code, or a message as it was written. */

const SAID_MS = 2000;

/** `text()` is copied; where the browser does not allow it, `shown()` is selected for the keyboard. */
export function copyButton(label, text, shown) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", async () => {
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      getSelection().selectAllChildren(shown());
      said = "Selected: copy it with the keyboard";
    }
    button.dataset.done = said;
    button.setAttribute("aria-label", said);
    setTimeout(() => {
      delete button.dataset.done;
      button.setAttribute("aria-label", label);
    }, SAID_MS);
  });
  return button;
}
