/** The state of the connection: in the header, in a line above the messages, and for the ear. */

import { STRINGS } from "../strings.js";
import { $, announce } from "./dom.js";

const RESTARTING = 1012;
const TRY_LATER = 1013;

export class Status {
  #state = "connecting";
  #retryAt = null;
  #wasOnline = false;
  #isLost = false;

  constructor() {
    this.onretry = () => {};
    $("retry").addEventListener("click", () => this.onretry());
    setInterval(() => {
      if (this.#retryAt !== null) this.#showState();
    }, 500);
  }

  /** True while there is to be another attempt. */
  get isWaiting() {
    return this.#retryAt !== null;
  }

  show(state, { retryAt, final, code }) {
    const isDropped = state === "offline" && retryAt === null && !final;
    this.#state = isDropped ? "connecting" : state; // to come back in the same instant, as for another nickname
    this.#retryAt = retryAt;
    document.body.dataset.state = this.#state;
    this.#showState();
    if (state === "online") this.#online();
    else if (state === "offline" && !isDropped) this.#offline(final, code);
  }

  /** Why there is no connection, and what the button beside it is for. */
  explain(words, button = STRINGS.retryNow) {
    $("offline-text").textContent = words;
    $("retry").textContent = button;
    $("offline").hidden = false;
  }

  #showState() {
    const secondsLeft = this.#retryAt === null ? 0 : Math.max(1, Math.ceil((this.#retryAt - Date.now()) / 1000));
    $("state").textContent = this.#retryAt === null ? STRINGS[this.#state] : STRINGS.offlineIn(secondsLeft);
  }

  #online() {
    if (!this.#wasOnline || this.#isLost) announce(this.#wasOnline ? STRINGS.saidOnline : STRINGS.saidOnlineFirst);
    this.#wasOnline = true;
    this.#isLost = false;
    $("offline").hidden = true;
  }

  #offline(final, code) {
    // Said once per loss, not once per attempt.
    if (!this.#isLost) {
      const seconds = final ? 0 : Math.ceil((this.#retryAt - Date.now()) / 1000);
      announce(final ? STRINGS.saidOfflineForGood : STRINGS.saidOffline(seconds));
      this.#isLost = true;
      this.explain(STRINGS.waitSafely);
    }
    if (final) this.explain(STRINGS.refusedForGood);
    else if (code === RESTARTING) this.explain(STRINGS.restarting);
    else if (code === TRY_LATER) this.explain(STRINGS.busyServer);
  }
}
