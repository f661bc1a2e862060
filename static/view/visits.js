/**
 * The page's entries in the browser's history. Each bears a mark once it was shown, which tells the Back button from a
 * new address.
 */

export class Visits {
  /** Whether the entry on display was shown before. */
  get isReturn() {
    return history.state?.rtchat === true;
  }

  mark() {
    if (!this.isReturn) history.replaceState({ ...history.state, rtchat: true }, "");
  }

  /** Put another address into the entry on display. */
  replace(hash) {
    history.replaceState({ ...history.state, rtchat: true }, "", hash);
  }
}
