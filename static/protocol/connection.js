/**
 * Keeps a STOMPClient connected: connects, and comes back after a loss with growing delays. What is subscribed is the
 * business of whoever sets `onlogin`. No DOM in here; timers and randomness are handed in.
 */

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30000;
/** A connection that lasted this long was a good one: the next loss starts with short delays again. */
const STABLE_MS = 10000;

/**
 * How long to wait before attempt number `attempt` (0, 1, 2 …): a random time in the upper half of
 * 1, 2, 4 … 30 s, so that the pages of a restarted server do not all come back in the same instant.
 */
export function retryDelayMs(attempt, random = Math.random) {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return Math.round(longest / 2 + (random() * longest) / 2);
}

/** Close codes from 3500 to 3999 ask the client to stay away. */
export function mayReturn(code) {
  return !(code >= 3500 && code <= 3999);
}

export class Connection {
  #client;
  #timers;
  #random;
  #attempt = 0;
  #retryTimer = null;
  #stableTimer = null;
  #isHeld = false;

  constructor(client, { timers = globalThis, random = Math.random } = {}) {
    this.#client = client;
    this.#timers = timers;
    this.#random = random;
    /** "offline", "connecting" or "online"; online is what ready() says: all that is wanted is subscribed. */
    this.state = "offline";
    this.onstate = () => {}; // (state, {retryAt, final, code}) retryAt in ms since 1970, null if there is no next attempt
    this.onlogin = () => {}; // (frame) the server's CONNECTED
    this.onmessage = () => {}; // (frame)
    this.onreceipt = () => {}; // (id, headers)
    this.onerror = () => {}; // (frame) the server's ERROR

    client.onconnectedframe = (frame) => this.onlogin(frame);
    client.onmessageframe = (frame) => this.onmessage(frame);
    client.onreceiptframe = (frame) => this.onreceipt(frame.headers["receipt-id"], frame.headers);
    client.onerrorframe = (frame) => this.onerror(frame);
    client.onclose = (code) => this.#closed(code);
  }

  get isOnline() {
    return this.state === "online";
  }

  /** Logged in; sending is possible. */
  get isConnected() {
    return this.#client.connected;
  }

  /** Connects now, if there is no connection and none is being made. */
  connect() {
    if (this.state !== "offline") return;
    this.#isHeld = false;
    this.#timers.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#enter("connecting");
    this.#client.connect();
  }

  /** Drops the connection, if there is one, and makes it anew, as for another nickname. */
  reconnect() {
    if (this.state === "offline") {
      this.connect();
      return;
    }
    this.#timers.clearTimeout(this.#stableTimer);
    this.#enter("offline");
    this.connect();
  }

  /** The end of this connection is not followed by another attempt; connect() ends that. */
  hold() {
    this.#isHeld = true;
  }

  /** Everything that is wanted is subscribed. */
  ready() {
    if (this.state !== "connecting" || !this.isConnected) return;
    this.#timers.clearTimeout(this.#stableTimer);
    this.#stableTimer = this.#timers.setTimeout(() => {
      this.#attempt = 0;
    }, STABLE_MS);
    this.#enter("online");
  }

  /** More is wanted than is subscribed: online again with the next ready(). */
  unready() {
    if (this.state === "online") this.#enter("connecting");
  }

  /** These three throw when there is no connection. */
  send(body, destination, headers) {
    this.#client.send(body, destination, headers);
  }

  subscribe(destination, headers) {
    this.#client.subscribe(destination, headers);
  }

  unsubscribe(id) {
    this.#client.unsubscribe(id);
  }

  #closed(code) {
    this.#timers.clearTimeout(this.#stableTimer);
    if (this.#isHeld || !mayReturn(code)) {
      this.#enter("offline", { final: true, code });
      return;
    }
    const delayMs = retryDelayMs(this.#attempt++, this.#random);
    this.#retryTimer = this.#timers.setTimeout(() => this.connect(), delayMs);
    this.#enter("offline", { retryAt: Date.now() + delayMs, code });
  }

  #enter(state, { retryAt = null, final = false, code = null } = {}) {
    this.state = state;
    this.onstate(state, { retryAt, final, code });
  }
}
