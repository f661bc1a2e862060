/** The state of the connection: in the header, above the messages, and for screen readers. */

import { STRINGS } from "../strings.js";
import { $, announce } from "./dom.js";

const RESTARTING = 1012;
const TRY_LATER = 1013;
const REFUSED = 3501;

export class Status {
  #state = "connecting";
  #retryAt = null;
  #wasOnline = false;
  #isLost = false;
  #known = null; // why the connection is about to end

  constructor() {
    this.onretry = () => {};
    $("retry").addEventListener("click", () => this.onretry());
    setInterval(() => {
      if (this.#retryAt !== null) this.#showState();
    }, 500);
  }

  /** Whether another attempt to connect is scheduled. */
  get isWaiting() {
    return this.#retryAt !== null;
  }

  show(state, { retryAt, final, code }) {
    const isDropped = state === "offline" && retryAt === null && !final;
    this.#state = isDropped ? "connecting" : state; // dropped to reconnect at once, as for another nickname
    this.#retryAt = retryAt;
    document.body.dataset.state = this.#state;
    this.#showState();
    if (this.#state === "connecting") this.#known = null;
    if (state === "online") this.#online();
    else if (state === "offline" && !isDropped) this.#offline(final, code);
  }

  /**
   * Show why there is no connection, beside the button that makes one. `link`: the part of the address to which a link
   * leads that shows the chat in a page of its own.
   */
  explain(words, { button = STRINGS.retryNow, link = null } = {}) {
    $("offline-text").textContent = words;
    $("retry").textContent = button;
    $("offline-link").hidden = link === null;
    if (link !== null) $("offline-link").href = `/${link}`;
    $("offline").hidden = false;
  }

  /** The connection is about to end for this reason, which is said instead of one that its end would suggest. */
  expectEnd(words) {
    this.#known = words;
    this.explain(words);
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
    if (this.#known !== null) {
      this.explain(this.#known);
      announce(this.#known);
      this.#isLost = true;
      return;
    }
    // Announced once per loss, not once per attempt.
    if (!this.#isLost) {
      const seconds = final ? 0 : Math.ceil((this.#retryAt - Date.now()) / 1000);
      announce(code === REFUSED ? STRINGS.needLogIn : final ? STRINGS.saidOfflineForGood : STRINGS.saidOffline(seconds));
      this.#isLost = true;
      this.explain(STRINGS.waitSafely);
    }
    if (code === REFUSED) this.explain(STRINGS.needLogIn);
    else if (final) this.explain(STRINGS.refusedForGood);
    else if (code === RESTARTING) this.explain(STRINGS.restarting);
    else if (code === TRY_LATER) this.explain(STRINGS.busyServer);
  }
}
