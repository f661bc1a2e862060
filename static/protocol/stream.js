/**
 * Where a room's ordered stream of messages was read up to, and what to ask for so that nothing is missed and nothing
 * comes twice. Headers in, headers out: no socket and no DOM in here.
 *
 * A destination with history says so in the RECEIPT of a SUBSCRIBE (x-stream-epoch, and in x-stream-offset the next
 * offset it will give). So a room is first asked with "next", which every destination allows; if it has history, a
 * second SUBSCRIBE begins where the page wants to read from. A server that knows no history ignores the header.
 */

/** So much of the past is read when a room is entered; what is older comes when somebody looks for it. */
export const FIRST_BLOCK = 300;
/** The new-since-you-left mark should be within what is read, but not at any price. */
const MOST_UNREAD = 5000;
/** A few messages before the mark. */
const BEFORE_MARK = 20;

const number = (text) => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : null);

export class Stream {
  #target = 0; // caught up when this is the next offset

  constructor() {
    /** Whether the server keeps this room's messages: null as long as nobody knows. */
    this.isKept = null;
    this.epoch = null;
    /** The next offset to come. */
    this.next = 0;
    /** The oldest offset that was read, null if none. */
    this.first = null;
    /** Nothing is kept before `first`. */
    this.isComplete = false;
  }

  /** The headers of the SUBSCRIBE that begins or continues. */
  headers() {
    if (this.isKept !== true) return { "x-stream-offset": "next" };
    if (this.epoch === null) return { "x-stream-offset": `offset=${this.next}` };
    return { "x-stream-epoch": this.epoch, "x-stream-offset": `offset=${this.next}` };
  }

  /**
   * Reads the RECEIPT of the first SUBSCRIBE. True if another one, with headers(), has to follow.
   * `read` is {epoch, offset} of the last message that was read in an earlier visit, or null.
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

  /** Reads the RECEIPT of a SUBSCRIBE that continues. False if the server no longer has all that was missed. */
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

  /** The room's history was switched off; ask as if nothing were known. */
  forget() {
    this.isKept = null;
    this.epoch = null;
  }

  /** Notes a MESSAGE. False if it has been here before, or will come again. */
  take(headers) {
    const offset = number(headers["x-stream-offset"]);
    if (offset === null) return true;
    if (this.isKept !== true) return false; // the replay that follows has it too
    const epoch = headers["x-stream-epoch"];
    if (epoch !== undefined && epoch !== this.epoch) this.#begin(epoch);
    if (offset < this.next) return false;
    if (this.first === null) {
      this.first = offset;
      if (offset > this.next) this.isComplete = true; // asked for more than there was
    }
    this.next = offset + 1;
    return true;
  }

  /** True when all that was there at the time of the SUBSCRIBE has come. */
  get isCaughtUp() {
    return this.isKept === false || (this.isKept === true && this.next >= this.#target);
  }

  /** What was waited for is not there any more. */
  giveUp() {
    this.#target = this.next;
  }

  get hasEarlier() {
    return this.isKept === true && !this.isComplete && this.first !== null && this.first > 0;
  }

  /** The headers of a SUBSCRIBE for a block before what is there, and where the block ends. */
  earlier(count) {
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

  /** A block that was asked for from `from` on has come, and begins with `offset` (null: it was empty). */
  tookEarlier(from, offset) {
    if (offset !== null) this.first = offset;
    if (offset === null || offset > from || from === 0) this.isComplete = true;
  }

  #begin(epoch) {
    this.epoch = epoch;
    this.next = 0;
    this.first = null;
    this.isComplete = true; // what is shown above belongs to another time
  }
}
