/** Messages on the screen. What has not changed stays as it is, for readers and screen readers. */

// How the server names the files of a message in its text; the files themselves are shown instead.
const TAG = /^\[(?:image|video|audio|document): .*\]$/;

export class Transcript {
  #list;
  #files;

  constructor(list, files) {
    this.#list = list;
    this.#files = files;
  }

  /** `items`: { role, content, media?, note?, running?, waiting? }, oldest first. */
  show(items) {
    items.forEach((item, index) => this.#place(item, this.#list.children[index]));
    while (this.#list.childElementCount > items.length) this.#list.lastElementChild.remove();
  }

  #place({ role, content, media = [], note = "", running = false, waiting = false }, present) {
    const item = present ?? this.#list.appendChild(blank());
    const [who, text, files, small] = item.children;
    item.dataset.role = role;
    write(who, `${role}: `);
    write(text, withoutTags(content, media.length));
    text.hidden = text.textContent === "";
    this.#attach(files, media);
    write(small, note);
    small.hidden = note === "";
    item.classList.toggle("running", running);
    item.classList.toggle("waiting", waiting);
    if (running) item.setAttribute("aria-busy", "true");
    else item.removeAttribute("aria-busy");
  }

  #attach(files, media) {
    const ids = media.map(({ id }) => id).join(" ");
    if (files.dataset.ids === ids) return;
    files.dataset.ids = ids;
    files.hidden = media.length === 0;
    files.replaceChildren(...media.map((one) => this.#files.show(one)));
  }
}

function blank() {
  const item = document.createElement("li");
  const who = document.createElement("strong");
  const files = document.createElement("div");
  const small = document.createElement("small");
  who.className = "unseen";
  files.className = "files";
  files.hidden = true;
  files.dataset.ids = "";
  item.append(who, document.createElement("p"), files, small);
  return item;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function withoutTags(content, count) {
  const lines = content.split("\n");
  for (let left = count; left > 0 && TAG.test(lines.at(-1)); left -= 1) lines.pop();
  return count ? lines.join("\n").trimEnd() : content;
}
