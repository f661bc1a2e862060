/** The subscriptions of one connection: the handlers of their messages and RECEIPTs. */

export class Subscriptions {
  #connection;
  #handlers = new Map(); // subscription id -> handler of its messages
  #receipts = new Map(); // receipt id -> {done, failed}
  #number = 0;

  constructor(connection) {
    this.#connection = connection;
  }

  /** Whether subscribing is possible. */
  get isOpen() {
    return this.#connection.isConnected;
  }

  /**
   * Subscribe with `headers`, which must include `id`. Calls `done(headers)` with the headers of the RECEIPT, or
   * `failed()` when the server answers with an ERROR.
   */
  subscribe(destination, headers, onmessage, { done = () => {}, failed = () => {} } = {}) {
    const receipt = `ready-${this.#number++}`;
    this.#handlers.set(headers.id, onmessage);
    this.#receipts.set(receipt, { done, failed });
    this.#connection.subscribe(destination, { ...headers, receipt });
  }

  /** End the subscription with this id, if there is one. */
  unsubscribe(id) {
    if (this.#handlers.delete(id) && this.isOpen) this.#connection.unsubscribe(id);
  }

  /** Pass a MESSAGE to its handler. */
  deliver(frame) {
    this.#handlers.get(frame.headers.subscription)?.(frame);
  }

  /** Take a RECEIPT. Return false if it confirms no subscription. */
  confirm(id, headers) {
    const waiting = this.#receipts.get(id);
    this.#receipts.delete(id);
    waiting?.done(headers);
    return waiting !== undefined;
  }

  /** Take the receipt-id of an ERROR. Return false if it refuses no subscription. */
  fail(id) {
    this.#receipts.get(id)?.failed();
    return this.#receipts.has(id);
  }

  /** Forget everything: the connection is gone. */
  clear() {
    this.#handlers.clear();
    this.#receipts.clear();
  }
}
