/**
 * Keeps a STOMPClient connected: connects, and reconnects after a loss with growing delays. Subscribing is the task of
 * `onlogin`. Timers and randomness are passed in.
 */

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30000;
/** After a connection that lasted this long the delays start from the shortest again. */
const STABLE_MS = 10000;
/** Within that time the page comes back so often at once; after that, with growing delays. */
const MOST_RETURNS = 60;

/**
 * Return the delay before attempt number `attempt` (0, 1, 2 …): a random time in the upper half of 1, 2, 4 … 30 s, so
 * that the pages of a restarted server do not all reconnect in the same instant.
 */
export function retryDelayMs(attempt, random = Math.random) {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return Math.round(longest / 2 + (random() * longest) / 2);
}

/** Return whether the client may reconnect: close codes 3500 to 3999 ask it not to. */
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
  #isAsleep = false;
  #returns = 0;
  #mayReturn = false; // although the server closes for good

  constructor(client, { timers = globalThis, random = Math.random } = {}) {
    this.#client = client;
    this.#timers = timers;
    this.#random = random;
    /** "offline", "connecting" or "online"; ready() makes it online, once everything is subscribed. */
    this.state = "offline";
    this.onstate = () => {}; // (state, {retryAt, final, code}) retryAt: ms since 1970, null without a next attempt
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

  /** Whether the client has logged in, so that sending is possible. */
  get isConnected() {
    return this.#client.connected;
  }

  /** Whether the end of this connection, which may be under way, is final. */
  get isHeld() {
    return this.#isHeld;
  }

  /** Connect now, unless there is a connection or an attempt at one. */
  connect() {
    if (this.state !== "offline") return;
    this.#isHeld = false;
    this.#isAsleep = false;
    this.#mayReturn = false;
    this.#stopTimers();
    this.#enter("connecting");
    this.#client.connect();
  }

  /** Drop the connection, if there is one, and connect again, as for another nickname. */
  reconnect() {
    if (this.state === "offline") {
      this.connect();
      return;
    }
    this.#enter("offline");
    this.connect();
  }

  /** Connect again although the server is about to close the connection for good: what it objects to was changed. */
  comeBack() {
    if (this.#returns++ < MOST_RETURNS) this.reconnect();
    else this.#mayReturn = true;
  }

  /**
   * Close the connection because the page is left, and do not retry: a page that the browser keeps in its back/forward
   * cache would look present, and might never come back.
   */
  sleep() {
    if (this.state === "offline" && this.#retryTimer === null) return;
    this.#isAsleep = true;
    this.#stopTimers();
    this.#client.close();
    this.#enter("offline");
  }

  /** The page is back: undo sleep(). */
  wake() {
    if (this.#isAsleep) this.connect();
  }

  /** Do not reconnect when this connection ends, until the next connect(). */
  hold() {
    this.#isHeld = true;
  }

  /** Stop trying, as after a close with this code: a browser does not tell why a WebSocket failed. */
  giveUp(code) {
    if (this.state !== "offline") return;
    this.#stopTimers();
    this.#enter("offline", { final: true, code });
  }

  /** Everything is subscribed: the connection is online. */
  ready() {
    if (this.state !== "connecting" || !this.isConnected) return;
    this.#timers.clearTimeout(this.#stableTimer);
    this.#stableTimer = this.#timers.setTimeout(() => {
      this.#attempt = 0;
      this.#returns = 0;
    }, STABLE_MS);
    this.#enter("online");
  }

  /** Something is yet to be subscribed: "connecting" until the next ready(). */
  unready() {
    if (this.state === "online") this.#enter("connecting");
  }

  // The next three throw without a connection.

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
    if (this.#isHeld || !(this.#mayReturn || mayReturn(code))) {
      this.#enter("offline", { final: true, code });
      return;
    }
    const delayMs = retryDelayMs(this.#attempt++, this.#random);
    this.#retryTimer = this.#timers.setTimeout(() => this.connect(), delayMs);
    this.#enter("offline", { retryAt: Date.now() + delayMs, code });
  }

  #stopTimers() {
    this.#timers.clearTimeout(this.#stableTimer);
    this.#timers.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
  }

  #enter(state, { retryAt = null, final = false, code = null } = {}) {
    this.state = state;
    this.onstate(state, { retryAt, final, code });
  }
}
