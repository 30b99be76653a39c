/** The state of the line to the server: a word in the bar, a sentence and a countdown below it. */

const WORDS = {
  idle: "Not connected",
  connecting: "Connecting…",
  pairing: "Waiting for approval",
  reconnecting: "Reconnecting…",
  stopped: "Not connected",
};
const OFFLINE = "This device seems to be offline; what you send is kept until it arrives.";
const TICK_MS = 1000;

export class Line {
  #parts; // { state, banner, text, count, queued, retry }
  #client = null;
  #until = 0;
  #ticking = null;
  #told = "";

  constructor(parts) {
    this.#parts = parts;
    for (const sign of ["online", "offline"]) addEventListener(sign, () => this.#show());
  }

  follow(client) {
    this.#client = client;
    client.on("state", ({ state, error }) => {
      this.#until = 0;
      this.#parts.state.dataset.state = state === "stopped" && !error ? "idle" : state;
      if (state !== "ready") this.#parts.state.textContent = WORDS[state];
      this.#show();
    });
    client.on("retry", ({ delayMs }) => {
      this.#until = Date.now() + delayMs;
      this.#show();
    });
  }

  /** Who is connected, in the bar. */
  name(text) {
    this.#parts.state.textContent = text;
  }

  /** Something was queued or sent. */
  changed() {
    this.#show();
  }

  #show() {
    const { banner, text, queued, retry } = this.#parts;
    const lost = this.#client?.state === "reconnecting";
    const doubtful = this.#client?.state === "ready" && !navigator.onLine; // its end may not have been noticed
    banner.hidden = !lost && !doubtful;
    retry.hidden = !lost;
    this.#tick(lost);
    const words = !navigator.onLine ? OFFLINE : lost ? "The connection is lost." : "";
    if (words !== this.#told) text.textContent = this.#told = words; // a screen reader hears it once
    const waiting = this.#client?.queued ?? 0;
    queued.textContent = lost && waiting ? `${waiting} ${waiting === 1 ? "message waits" : "messages wait"} to be sent.` : "";
  }

  #tick(lost) {
    clearInterval(this.#ticking);
    const { count } = this.#parts;
    count.textContent = "";
    if (!lost) return;
    const say = () => {
      const left = Math.ceil((this.#until - Date.now()) / 1000);
      count.textContent = left > 0 ? `Trying again in ${left} s.` : "Trying again…";
    };
    say();
    this.#ticking = setInterval(say, TICK_MS);
  }
}
