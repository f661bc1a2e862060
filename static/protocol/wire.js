/** The subscriptions of one connection: who gets which messages, and who waits for which RECEIPT. No DOM in here. */

export class Wire {
  #connection;
  #handlers = new Map(); // subscription id -> what to do with its messages
  #receipts = new Map(); // receipt id -> {done, failed}
  #number = 0;

  constructor(connection) {
    this.#connection = connection;
  }

  get isOpen() {
    return this.#connection.isConnected;
  }

  /**
   * Subscribes with `headers`, which name an `id`. `done(headers)` is called with those of the RECEIPT, `failed()` when
   * the server answers with an ERROR.
   */
  subscribe(destination, headers, onmessage, { done = () => {}, failed = () => {} } = {}) {
    const receipt = `ready-${this.#number++}`;
    this.#handlers.set(headers.id, onmessage);
    this.#receipts.set(receipt, { done, failed });
    this.#connection.subscribe(destination, { ...headers, receipt });
  }

  /** Ends a subscription, if there is one of that id. */
  unsubscribe(id) {
    if (this.#handlers.delete(id) && this.isOpen) this.#connection.unsubscribe(id);
  }

  message(frame) {
    this.#handlers.get(frame.headers.subscription)?.(frame);
  }

  /** False if the RECEIPT is not for a subscription. */
  receipt(id, headers) {
    const waiting = this.#receipts.get(id);
    this.#receipts.delete(id);
    waiting?.done(headers);
    return waiting !== undefined;
  }

  /** False if the ERROR is not about a subscription. */
  refused(id) {
    this.#receipts.get(id)?.failed();
    return this.#receipts.has(id);
  }

  /** The connection is gone, and all this with it. */
  lost() {
    this.#handlers.clear();
    this.#receipts.clear();
  }
}
