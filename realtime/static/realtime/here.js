/** Who is at the session now, and whether its worker is missed. */

const WORKER = "worker"; // the agent that is nobody of ours

export class Here {
  #parts; // { people, hint, known(key): the session's name in the console, read(id) -> { data, agent, key } }
  #id = "";
  #archived = false;
  #missed = false; // the worker

  constructor(parts) {
    this.#parts = parts;
  }

  async look(id) {
    this.#id = id;
    try {
      const { data, agent, key } = await this.#parts.read(id);
      if (id !== this.#id) return;
      this.#parts.people.textContent = inWords(data);
      this.#missed = agent === WORKER && !data.some(({ part }) => part === "worker");
      this.#parts.known(key);
    } catch {
      if (id === this.#id) this.#parts.people.textContent = "Who is here is not known.";
    }
    this.#show();
  }

  /** A worker has said something; whether that is news. */
  served() {
    const news = this.#missed;
    this.#missed = false;
    this.#show();
    return news;
  }

  archived(now) {
    this.#archived = now;
    this.#show();
  }

  /** What was known may not hold any more. */
  clear() {
    this.#id = "";
    this.#missed = this.#archived = false;
    this.#parts.people.textContent = "";
    this.#show();
  }

  #show() {
    const { hint } = this.#parts;
    const archived = this.#archived && "This session is archived; its menu takes it out again.";
    const missed = this.#missed && "No worker is here. What you write is kept and waits for one.";
    const words = [archived, missed].filter(Boolean).join(" ");
    if (hint.textContent !== words) hint.textContent = words; // a screen reader hears it once
    hint.hidden = words === "";
  }
}

function inWords(people) {
  const names = (part) => people.filter((one) => one.part === part).map(({ user }) => user || "somebody");
  const watching = names("viewer").join(", ");
  const [worker] = names("worker");
  return [watching && `Watching: ${watching}`, worker && `Worker: ${worker}`].filter(Boolean).join(" · ");
}
