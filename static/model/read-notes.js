/** What was read just now, in each room, until it is stored. */

const STORE_AFTER_MS = 500;

/** Stores read positions a little later, so that a room with many messages does not write for each of them. */
export class ReadNotes {
  #positions;
  #timers;
  #timer = null;
  #noted = new Map(); // destination -> {epoch, offset}

  /** `positions` are the ReadPositions of this browser. */
  constructor(positions, timers = globalThis) {
    this.#positions = positions;
    this.#timers = timers;
  }

  /** The reader has seen the newest message of a conversation. */
  note({ destination, lastPosition }) {
    if (lastPosition === null) return;
    this.#noted.set(destination, lastPosition);
    this.#timer ??= this.#timers.setTimeout(() => this.store(), STORE_AFTER_MS);
  }

  /** Store all of it now, because the page may not come back. */
  store() {
    this.#timers.clearTimeout(this.#timer);
    this.#timer = null;
    for (const [destination, { epoch, offset }] of this.#noted) this.#positions.note(destination, epoch, offset);
    this.#noted.clear();
  }
}
