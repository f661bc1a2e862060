/** The server's clock. What it says is the same for all readers, however wrong their own clocks are. */

export class ServerClock {
  #now;
  #aheadMs = 0;

  /** `now` is this browser's clock, in ms since 1970. */
  constructor(now) {
    this.#now = now;
  }

  /** Take the time that the server has just told, in ms since 1970. */
  set(serverMs) {
    this.#aheadMs = serverMs - this.#now();
  }

  now() {
    return this.#now() + this.#aheadMs;
  }
}
