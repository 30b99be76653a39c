/** A button beside each line that is there to be copied. */

for (const block of document.querySelectorAll(".copyable")) {
  const line = block.querySelector("code").textContent;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${line.slice(0, 60)}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(line);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block.querySelector("code")); // then the keyboard does it
      button.textContent = "Selected";
    }
  });
  block.append(button);
}
