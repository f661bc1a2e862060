/**
 * The position in a room's stream of messages, and the SUBSCRIBE headers that continue there without a gap or a
 * repeat. Headers in, headers out.
 *
 * A destination with history says so in the RECEIPT of a SUBSCRIBE: x-stream-epoch, and in x-stream-offset the offset
 * of its next message. A room is therefore probed with "next", which every destination allows; if it has history, a
 * second SUBSCRIBE starts where the page wants to read from. A server without history ignores the header.
 */

/** Messages that are read when a room is entered; older ones are loaded on demand. */
export const FIRST_BLOCK = 300;
/** The "New since you left" mark should be among the messages that are read, up to this many. */
const MOST_UNREAD = 5000;
/** Messages that are read before the mark. */
const BEFORE_MARK = 20;

const number = (text) => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : null);

export class Stream {
  #target = 0; // caught up when this is the next offset

  constructor() {
    /** Whether the server stores this room's messages; null until that is known. */
    this.isKept = null;
    this.epoch = null;
    /** The offset of the next message. */
    this.next = 0;
    /** The oldest offset that was read, or null. */
    this.first = null;
    /** The server has nothing older than `first`. */
    this.isComplete = false;
  }

  /** Return the headers of the SUBSCRIBE that starts or continues the stream. */
  headers() {
    if (this.isKept !== true) return { "x-stream-offset": "next" };
    if (this.epoch === null) return { "x-stream-offset": `offset=${this.next}` };
    return { "x-stream-epoch": this.epoch, "x-stream-offset": `offset=${this.next}` };
  }

  /**
   * Take the RECEIPT of the probe. Return whether another SUBSCRIBE, with headers(), has to follow. `read` is
   * {epoch, offset} of the last message that was read during an earlier visit, or null.
   */
  probed(headers, read = null) {
    const next = number(headers["x-stream-offset"]);
    if (headers["x-stream-epoch"] === undefined || next === null) {
      this.isKept = false;
      return false;
    }
    this.isKept = true;
    this.epoch = headers["x-stream-epoch"];
    let from = next - FIRST_BLOCK;
    if (read !== null && read.epoch === this.epoch && read.offset < next) {
      from = Math.min(from, Math.max(read.offset + 1 - BEFORE_MARK, next - MOST_UNREAD));
    }
    this.next = Math.max(0, from);
    this.isComplete = this.next === 0;
    this.#target = next;
    return true;
  }

  /** Take the RECEIPT of a SUBSCRIBE that continues. Return false if the server has lost messages in between. */
  continued(headers) {
    const next = number(headers["x-stream-offset"]);
    if (headers["x-stream-epoch"] === undefined || next === null) {
      this.isKept = false;
      return true;
    }
    const isSame = headers["x-stream-epoch"] === this.epoch;
    if (!isSame) this.#begin(headers["x-stream-epoch"]);
    this.#target = next;
    return isSame && headers["x-stream-recovered"] !== "false";
  }

  /** The room's history was switched off: probe it again. */
  forget() {
    this.isKept = null;
    this.epoch = null;
  }

  /** Take the headers of a MESSAGE. Return false if it is a repeat, or will be repeated. */
  take(headers) {
    const offset = number(headers["x-stream-offset"]);
    if (offset === null) return true;
    if (this.isKept !== true) return false; // the replay that follows includes it
    const epoch = headers["x-stream-epoch"];
    if (epoch !== undefined && epoch !== this.epoch) this.#begin(epoch);
    if (offset < this.next) return false;
    if (this.first === null) {
      this.first = offset;
      if (offset > this.next) this.isComplete = true; // more was asked for than there is
    }
    this.next = offset + 1;
    return true;
  }

  /** Whether everything that was stored at the time of the SUBSCRIBE has arrived. */
  get isCaughtUp() {
    return this.isKept === false || (this.isKept === true && this.next >= this.#target);
  }

  /** Stop waiting for messages that the server no longer has. */
  giveUp() {
    this.#target = this.next;
  }

  /** Whether the server may have older messages than `first`. */
  get hasOlder() {
    return this.isKept === true && !this.isComplete && this.first !== null && this.first > 0;
  }

  /** Return {from, end, headers}: the offsets of the block before `first`, and the headers of its SUBSCRIBE. */
  olderBlock(count) {
    const from = Math.max(0, this.first - count);
    return {
      end: this.first,
      headers: {
        "x-stream-offset": `offset=${from}`,
        ack: "client-individual",
        "prefetch-count": String(this.first - from),
      },
      from,
    };
  }

  /** The block that was asked for from `from` has arrived; it starts with `offset`, null if it was empty. */
  addedOlder(from, offset) {
    if (offset !== null) this.first = offset;
    if (offset === null || offset > from || from === 0) this.isComplete = true;
  }

  #begin(epoch) {
    this.epoch = epoch;
    this.next = 0;
    this.first = null;
    this.isComplete = true; // what is shown above belongs to another epoch
  }
}
