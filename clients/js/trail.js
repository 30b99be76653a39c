/** Where a numbered history was last seen, and what is missing (docs/decisions/0010-recovery.md). */

/** @import { Position } from "./shared.d.ts" */

export class Trail {
  #gap;
  /** @type {Position | null} */
  #last = null;
  /** @type {Position | null} */
  #end = null; // of the replay that is under way
  #known = false; // an answer came before
  #asked = false;
  #fresh = false; // asked from now on
  #unsure = false; // something came without a number
  full = true; // no filter leaves anything out
  #dense = true; // and none did when the last message came

  /** `gap(reason)` is told of each. */
  constructor(/** @type {(reason: string) => void} */ gap) {
    this.#gap = gap;
  }

  /** What a new connection asks from; null: from now on. */
  ask(full = true) {
    this.full = this.#dense = full;
    this.#asked = true;
    this.#fresh = !this.#last;
    return this.#last;
  }

  /**
   * Where the history is; what was missed follows. Unasked: the server has looked again.
   * @param {Partial<Position> & { recovered?: boolean, reason?: string }} answer
   */
  answered({ recovered, epoch, offset, reason = "unnumbered" }) {
    const here = epoch && offset !== undefined ? { epoch, offset } : null;
    const whole = recovered && !this.#fresh;
    if (whole) this.#end = here;
    else this.#last = here;
    if (!whole && this.#known) this.#gap(reason);
    this.#known = true;
    this.#asked = this.#fresh = false;
  }

  /** Something later was answered: the replay has come, or this server knows no numbers. */
  settle() {
    if (this.#asked) this.answered({});
    if (this.#end && this.#last?.epoch === this.#end.epoch && this.#last.offset < this.#end.offset) this.#last = this.#end;
    this.#end = null;
  }

  /** Whether a message is new; a gap before it is told. */
  heard(/** @type {Partial<Position>} */ { epoch = this.#last?.epoch, offset }) {
    const last = this.#last;
    if (!epoch || offset === undefined) {
      if (last && !this.#unsure) this.#gap("unnumbered");
      this.#unsure = true;
      return true;
    }
    if (last && epoch !== last.epoch) this.#gap("epoch");
    else if (last && offset <= last.offset) return false;
    else if (last && this.#dense && offset > last.offset + 1) this.#gap("jump");
    this.#last = { epoch, offset };
    this.#dense = this.full;
    this.#unsure = false;
    return true;
  }
}
