/** The server's log, live, for administrators: asked for while its panel is open. */

const KEPT = 500;
const OWN = new Set(["time", "level", "event"]);

export class ServerLog {
  #client;
  #parts; // { panel, list, level, pause, state }
  #paused = [];
  #following = false;

  constructor(parts) {
    this.#parts = parts;
    const { panel, level, pause } = parts;
    panel.addEventListener("toggle", () => this.#follow());
    level.addEventListener("change", () => this.#follow());
    pause.addEventListener("click", () => this.#turn());
  }

  /** A new client, of somebody who may read logs or not. */
  follow(client) {
    this.#client = client;
    client.on("log", (line) => this.#hear(line));
    client.on("ready", ({ role }) => {
      this.#following = false; // the wish ended with the connection that it was made on
      this.#parts.panel.hidden = role !== "admin" && role !== "owner";
      this.#follow();
    });
  }

  clear() {
    const { panel, list, pause, state } = this.#parts;
    list.replaceChildren();
    this.#paused = [];
    this.#following = false;
    pause.setAttribute("aria-pressed", "false");
    state.textContent = "";
    panel.hidden = true;
    panel.open = false;
  }

  async #follow() {
    const { panel, level, state } = this.#parts;
    const wanted = panel.open && !panel.hidden;
    if (this.#client?.state !== "ready" || (!wanted && !this.#following)) return;
    this.#following = wanted;
    const params = wanted ? { action: "start", level: level.value } : { action: "stop" };
    try {
      await this.#client.request("logs.tail", params);
      state.textContent = wanted ? "Listening." : "";
    } catch (error) {
      state.textContent = error.message;
    }
  }

  #hear(line) {
    if (this.#parts.pause.getAttribute("aria-pressed") !== "true") return this.#add([line]);
    this.#paused = [...this.#paused, line].slice(-KEPT);
    this.#parts.state.textContent = `Paused: ${this.#paused.length} held back.`;
  }

  #turn() {
    const { pause, state } = this.#parts;
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
    state.textContent = paused ? "Paused." : "Listening.";
    if (paused) return;
    this.#add(this.#paused);
    this.#paused = [];
  }

  #add(lines) {
    const { list } = this.#parts;
    list.append(...lines.map((line) => row(line)));
    while (list.childElementCount > KEPT) list.firstElementChild.remove();
  }
}

function row(line) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  const level = document.createElement("b");
  const title = document.createElement("strong");
  const rest = document.createElement("span");
  const moment = new Date(line.time);
  time.textContent = Number.isNaN(moment.valueOf()) ? "" : moment.toLocaleTimeString([], { hour12: false });
  item.dataset.level = level.textContent = line.level ?? "";
  title.textContent = line.event ?? "";
  const fields = Object.entries(line).filter(([name]) => !OWN.has(name));
  rest.textContent = fields.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ");
  item.append(time, " ", level, " ", title, " ", rest);
  return item;
}
