/** The ids of messages that have been shown. */

const MAX_SEEN_IDS = 10000;
/** A longer id is no id; the page's own have 32 characters. */
export const MAX_ID_CHARS = 200;

/** Remembers the latest ids, so that a message that arrives twice is shown once. */
export class SeenIds {
  #ids = new Set();
  #limit;

  constructor(limit = MAX_SEEN_IDS) {
    this.#limit = limit;
  }

  /** Return whether the id is new. A missing or oversized id identifies nothing and is always new. */
  add(id) {
    if (typeof id !== "string" || id === "" || id.length > MAX_ID_CHARS) return true;
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > this.#limit) this.#ids.delete(this.#ids.values().next().value);
    return true;
  }
}
