/**
 * Keeps one subscription alive over a STOMPClient: connects, subscribes, and comes back after a loss with
 * growing delays. No DOM in here; timers and randomness are handed in.
 */

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30000;
/** A connection that lasted this long was a good one: the next loss starts with short delays again. */
const STABLE_MS = 10000;
const SUBSCRIPTION_ID = "sub-0";

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
  #destination;
  #timers;
  #random;
  #attempt = 0;
  #retryTimer = null;
  #stableTimer = null;
  #joins = 0;
  #joinReceipt = null;

  /** `destination` is subscribed as soon as there is a connection; see join(). */
  constructor(client, destination, { timers = globalThis, random = Math.random } = {}) {
    this.#client = client;
    this.#destination = destination;
    this.#timers = timers;
    this.#random = random;
    /** "offline", "connecting" or "online"; online means subscribed: what is sent from now on arrives here. */
    this.state = "offline";
    this.onstate = () => {}; // (state, {retryAt, final}) retryAt in ms since 1970, null if there is no next attempt
    this.onmessage = () => {}; // (frame)
    this.onreceipt = () => {}; // (id)
    this.onerror = () => {}; // (frame) the server's ERROR

    client.onconnectedframe = () => this.#subscribe();
    client.onmessageframe = (frame) => {
      // What was under way from the room left a moment ago is not for this one.
      if (frame.headers.destination === this.#destination) this.onmessage(frame);
    };
    client.onreceiptframe = (frame) => this.#receipt(frame.headers["receipt-id"]);
    client.onerrorframe = (frame) => this.onerror(frame);
    client.onclose = (code) => this.#closed(code);
  }

  get isOnline() {
    return this.state === "online";
  }

  /** Connects now, if there is no connection and none is being made. */
  connect() {
    if (this.state !== "offline") return;
    this.#timers.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#enter("connecting");
    this.#client.connect();
  }

  /** Leaves the destination of now for another. */
  join(destination) {
    if (destination === this.#destination) return;
    this.#destination = destination;
    if (!this.#client.connected) return;
    this.#client.unsubscribe(SUBSCRIPTION_ID);
    this.#enter("connecting");
    this.#subscribe();
  }

  /** Throws when there is no connection. */
  send(body, destination, headers) {
    this.#client.send(body, destination, headers);
  }

  #subscribe() {
    this.#joinReceipt = `joined-${this.#joins++}`;
    this.#client.subscribe(this.#destination, { id: SUBSCRIPTION_ID, receipt: this.#joinReceipt });
  }

  #receipt(id) {
    if (id !== this.#joinReceipt) {
      this.onreceipt(id);
      return;
    }
    this.#joinReceipt = null;
    this.#timers.clearTimeout(this.#stableTimer);
    this.#stableTimer = this.#timers.setTimeout(() => {
      this.#attempt = 0;
    }, STABLE_MS);
    this.#enter("online");
  }

  #closed(code) {
    this.#timers.clearTimeout(this.#stableTimer);
    this.#joinReceipt = null;
    if (!mayReturn(code)) {
      this.#enter("offline", { final: true });
      return;
    }
    const delayMs = retryDelayMs(this.#attempt++, this.#random);
    this.#retryTimer = this.#timers.setTimeout(() => this.connect(), delayMs);
    this.#enter("offline", { retryAt: Date.now() + delayMs });
  }

  #enter(state, { retryAt = null, final = false } = {}) {
    this.state = state;
    this.onstate(state, { retryAt, final });
  }
}
