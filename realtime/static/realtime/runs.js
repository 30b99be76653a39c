/** Runs of every session that events tell of, so that switching between sessions loses nothing. */

const ENDINGS = new Set(["run.completed", "run.failed", "run.cancelled"]);
const REMEMBERED_ENDINGS = 100;

/** In what its agent is: 001 and 002 say it in the same words. */
export const tryingAgain = ({ attempt, maxAttempts }) => `Trying again (${attempt} of ${maxAttempts})`;

export class Runs {
  // run id -> { key, text, partial, again, done, cut }; a run that is done stays until the history
  // that has its answer was read. `again`: its agent asks its model once more. `cut`: it ended early
  #runs = new Map();
  #ended = new Set();

  /** The id of the run at work in this session, or "". */
  active(key) {
    for (const [id, run] of this.#runs) if (run.key === key && !run.done) return id;
    return "";
  }

  of(key) {
    return [...this.#runs.values()].filter((run) => run.key === key);
  }

  /** Those that have ended so far: to be given to `adopt` after a history that began to be read now. */
  done() {
    return [...this.#runs].filter(([, run]) => run.done).map(([id]) => id);
  }

  /** What an `agent` event says: "began", "ended", "goes on", or "" for one that came too late. */
  hear({ type, runId, sessionKey, payload }) {
    if (ENDINGS.has(type)) return this.#end(type, runId, sessionKey, payload);
    if (this.#ended.has(runId)) return "";
    const known = this.#runs.get(runId);
    const run = known ?? { key: sessionKey, text: "", partial: type !== "run.started" };
    this.#runs.set(runId, run);
    if (type === "run.started") run.partial = false; // a reading may have told of it before
    run.again = type === "run.retrying" ? payload : null;
    if (type === "chunk") run.text += payload.content;
    return known ? "goes on" : "began";
  }

  /** After a reading of `key`: `runId` is at work there, or "" when none is. */
  adopt(key, runId, done) {
    for (const id of done) this.#runs.delete(id);
    for (const [id, run] of this.#runs) {
      if (run.key === key && !run.done && id !== runId) this.#runs.delete(id); // its end was missed
    }
    if (runId && !this.#ended.has(runId) && !this.#runs.has(runId)) this.#runs.set(runId, { key, text: "", partial: true });
  }

  /** Events may be missed from here on: what is on the screen of a run at work may have a gap. */
  doubt() {
    for (const run of this.#runs.values()) run.partial = true;
  }

  forget(runId) {
    this.#runs.delete(runId);
  }

  clear() {
    this.#runs.clear();
  }

  #end(type, runId, key, payload) {
    this.#ended.add(runId);
    if (this.#ended.size > REMEMBERED_ENDINGS) this.#ended.delete(this.#ended.values().next().value);
    const text = payload?.content || this.#runs.get(runId)?.text;
    this.#runs.delete(runId);
    if (text) this.#runs.set(runId, { key, text, partial: false, done: true, cut: type !== "run.completed" });
    return "ended";
  }
}
