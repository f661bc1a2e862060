/**
 * A room, or a private conversation, as its reader sees it: the messages in the server's order, the unsent ones behind
 * them, what is unread, and where "New since you left" stands.
 *
 * A message is {kind: "message", id, senderId, nick, text, bytes, at, arrivedAt, epoch, offset, isOwn, isAction, state,
 * reason, live}; `at` is the server's time, `arrivedAt` that of this browser, `state` is "sent", "waiting", "refused" or
 * "undelivered". A notice of the page itself is {kind: "notice", text, at: null}.
 * display() adds rows of the kinds "day" and "mark". `version` changes whenever a row has to be drawn again.
 */

import { SeenIds } from "./seen-ids.js";

/** The page keeps at most this many rows. The oldest go first, many at a time because each cut moves the list. */
const MAX_ITEMS = 20000;
const CUT_ITEMS = 2000;

const MINUTE_MS = 60000;

/** Return a function from a time to the beginning of the reader's day, in ms since 1970; most times are of one day. */
function dayFinder() {
  let begin = 0;
  let end = 0;
  return (at) => {
    if (at < begin || at >= end) {
      begin = new Date(at).setHours(0, 0, 0, 0);
      end = new Date(at).setHours(24, 0, 0, 0);
    }
    return begin;
  };
}

/** Return whether the message `one` belongs behind `other`, which arrived later. */
function isBehind(one, other) {
  if (one.offset !== null && other.offset !== null && one.epoch === other.epoch) return one.offset > other.offset;
  // Without numbers, the server delivers in the order of its time.
  if (one.offset === null && other.offset === null) return false;
  return one.at !== null && other.at !== null && one.at > other.at;
}

/** Return whether `row` continues the message above it under the same name: same person, same minute. */
function continues(above, row) {
  if (above === null || above.kind !== "message" || row.kind !== "message") return false;
  if (row.isAction || above.isAction || row.nick === null) return false;
  if (above.isOwn !== row.isOwn || above.nick !== row.nick) return false;
  if (!row.isOwn && above.senderId !== row.senderId) return false; // the name has passed to another person
  if (above.at === null || row.at === null) return above.at === row.at;
  return Math.floor(above.at / MINUTE_MS) === Math.floor(row.at / MINUTE_MS);
}

export class Conversation {
  #items = [];
  #pending = [];
  #last = null; // the last row with an offset
  #seen = new SeenIds(MAX_ITEMS);
  #days = new Map(); // day, and how many lines of that day stand above -> the row
  #display = null;
  #markRow = { kind: "mark", version: 0 };

  /** `address` is {destination, name} of a room, or {destination, nick} of a private conversation. */
  constructor(address) {
    this.name = address.name ?? null;
    /** The other person's nickname, which may change; null in a room. */
    this.nick = address.nick ?? null;
    /** Where its messages go; of a private conversation a key that stays when the person is renamed. */
    this.destination = address.destination;
    this.isPrivate = address.nick !== undefined;
    /** How many messages have arrived since the reader last looked. */
    this.unread = 0;
    /** How many of them mention the reader. */
    this.mentions = 0;
    /** The first message that is new since the reader left, or null. */
    this.mark = null;
    this.onchange = () => {}; // (it has to be drawn again)
    this.onkeep = () => {}; // something that is worth keeping may have changed
  }

  /** Return everything to show, in order. The array stays the same until something changes. */
  display() {
    if (this.#display === null) this.#display = this.#build();
    return this.#display;
  }

  /** The messages without notices, unsent ones included. */
  get messages() {
    return [...this.#items, ...this.#pending].filter(({ kind }) => kind === "message");
  }

  /** True as long as there is nothing to read: no message, and of notices one line at most. */
  get isEmpty() {
    if (this.#pending.length > 0 || this.#items.length > 1) return false;
    return this.#items.every(({ kind, text }) => kind === "notice" && !text.includes("\n"));
  }

  /** {epoch, offset} of the last message, or null without history. */
  get lastPosition() {
    return this.#last === null ? null : { epoch: this.#last.epoch, offset: this.#last.offset };
  }

  /** Add a message that arrived. Return its row, or null if its id is known already. */
  add(message) {
    if (!this.#seen.add(message.id)) return null;
    const row = this.#received(message);
    this.#insert(row);
    return row;
  }

  /** Add older messages before all others. */
  addOlder(messages) {
    const rows = messages
      .filter(({ id }) => this.#seen.add(id))
      .map((message) => this.#received(message));
    this.#items.unshift(...rows);
    this.#last ??= rows.findLast(({ offset }) => offset !== null) ?? null;
    this.#changed();
  }

  /** Add the messages that were kept of an earlier page, the last `unread` of which are new to the reader. */
  restore(messages, unread) {
    const rows = messages.filter(({ id }) => this.#seen.add(id)).map((message) => this.#received({ bytes: null, ...message }));
    this.#items.push(...rows);
    const fresh = rows.filter(({ isOwn }) => !isOwn).slice(-unread);
    if (unread > 0 && fresh.length > 0) {
      this.#setMark(fresh[0]);
      this.unread = this.mentions = fresh.length;
    }
    this.#changed();
  }

  /** Whether an own message with this id is unsent or unconfirmed. */
  isPending(id) {
    return this.#find(id) !== undefined;
  }

  /** Add a notice of the page itself. */
  addNotice(text) {
    this.#insert({ kind: "notice", text, at: null, version: 0, live: true });
  }

  /** Add an own message that is unsent or unconfirmed; it stays behind all others until settle(). */
  addPending(entry, nick) {
    const { id, text, isAction, at, refused } = entry;
    const state = refused === null ? "waiting" : "refused";
    const row = this.#received({ id, nick, text, bytes: null, at, offset: null, isOwn: true, isAction, live: true });
    this.#pending.push({ ...row, state, reason: refused });
    this.#changed();
  }

  /**
   * Move an own message to its place in the room; `message` is what came back from the server, if anything did. Return
   * false if it was not pending here.
   */
  settle(id, { offset = null, epoch = null, at = null, nick = null, senderId = null } = {}) {
    const row = this.#take(id);
    if (row === null) return false;
    this.#seen.add(id);
    Object.assign(row, { offset, epoch, senderId, nick: nick ?? row.nick, at: at ?? row.at });
    if (row.state !== "undelivered") this.#set(row, "sent");
    this.#insert(row);
    return true;
  }

  /** The server has the message; its place in the room is not known yet. */
  received(id) {
    const row = this.#find(id);
    if (row !== undefined) this.#set(row, "sent");
  }

  /** Settle the own messages that the server has but whose place it will not report any more. */
  settleReceived() {
    for (const { id, state } of [...this.#pending]) if (state === "sent") this.settle(id);
  }

  /** The message is about to be sent again. */
  wait(id) {
    const row = this.#find(id);
    if (row !== undefined) this.#set(row, "waiting");
  }

  /** What is said of the messages that wait has changed. */
  redrawWaiting() {
    for (const row of this.#pending) if (row.state === "waiting") row.version += 1;
    this.#changed();
  }

  /** The server has refused the message. */
  refuse(id, reason) {
    const row = this.#find(id);
    if (row !== undefined) this.#set(row, "refused", reason);
  }

  /** The recipient of a private message was not there. */
  undelivered(id) {
    const row = this.#find(id) ?? this.#items.findLast((one) => one.id === id && one.isOwn);
    if (row !== undefined) this.#set(row, "undelivered");
  }

  remove(id) {
    if (this.#take(id) !== null) this.#changed();
  }

  /** Take an own message that was not delivered out of the conversation. Return it, or null if there is none. */
  takeUndelivered(id) {
    const isIt = (row) => row.id === id && row.state === "undelivered";
    for (const list of [this.#items, this.#pending]) {
      const at = list.findIndex(isIt);
      if (at < 0) continue;
      const [row] = list.splice(at, 1);
      this.#changed();
      return row;
    }
    return null;
  }

  // ---- reading ----

  /** Count a message that arrived while the reader did not look. */
  countUnread(row, isMention) {
    if (this.unread === 0) this.#setMark(row);
    this.unread += 1;
    if (isMention) this.mentions += 1;
    this.#changed();
  }

  /** Mark the loaded messages behind a position as new to the reader. */
  markFrom({ epoch, offset }) {
    const isFresh = (row) => row.kind === "message" && !row.isOwn && row.epoch === epoch && row.offset > offset;
    const fresh = this.#items.filter(isFresh);
    if (fresh.length === 0) return;
    this.#setMark(fresh[0]);
    this.unread = fresh.length;
    this.#changed();
  }

  /** The reader sees the newest message; the mark stays until leave(). */
  read() {
    if (this.unread === 0) return;
    this.unread = 0;
    this.mentions = 0;
    this.#changed();
  }

  /** The reader has turned away. */
  leave() {
    if (this.unread > 0 || this.mark === null) return;
    this.#setMark(null);
    this.#changed();
  }

  // ---- internals ----

  #setMark(row) {
    this.mark = row;
  }

  #received(message) {
    const rest = { kind: "message", senderId: null, epoch: null, offset: null, state: "sent", reason: null, version: 0 };
    return { ...rest, arrivedAt: Date.now(), ...message };
  }

  /** Put a row behind all others, or before the messages that belong behind it. */
  #insert(row) {
    const items = this.#items;
    let place = items.length;
    if (row.kind === "message") {
      for (let i = items.length - 1; i >= 0; i--) {
        if (items[i].kind !== "message") continue;
        if (!isBehind(items[i], row)) break;
        place = i;
      }
    }
    items.splice(place, 0, row);
    const hasOffset = row.kind === "message" && row.offset !== null;
    if (hasOffset && (this.#last === null || !isBehind(this.#last, row))) this.#last = row;
    if (items.length > MAX_ITEMS) items.splice(0, CUT_ITEMS);
    this.#changed();
  }

  #find(id) {
    return this.#pending.find((row) => row.id === id);
  }

  #take(id) {
    const at = this.#pending.findIndex((row) => row.id === id);
    return at < 0 ? null : this.#pending.splice(at, 1)[0];
  }

  #set(row, state, reason = null) {
    row.state = state;
    row.reason = reason;
    row.version += 1;
    this.#changed();
  }

  #changed() {
    this.#display = null;
    this.onchange();
    this.onkeep();
  }

  #build() {
    const rows = [];
    const dayOf = dayFinder();
    const lines = new Map(); // day -> how many lines it has so far
    let above = null;
    let day = null;
    for (const list of [this.#items, this.#pending]) {
      for (const row of list) {
        // What waits to be sent stands behind everything, so also under a later day than that on which it was written.
        const next = row.at === null || (list === this.#pending && dayOf(row.at) < day) ? day : dayOf(row.at);
        if (next !== day) {
          const count = lines.get(next) ?? 0;
          lines.set(next, count + 1);
          rows.push(this.#dayRow(next, count));
          above = null;
          day = next;
        }
        if (row === this.mark) {
          rows.push(this.#markRow);
          above = null;
        }
        const isContinued = continues(above, row);
        if (row.isContinued !== isContinued) {
          row.isContinued = isContinued;
          row.version += 1;
        }
        rows.push(row);
        above = row;
      }
    }
    return rows;
  }

  /** Return the line of a day. Each place needs a row of its own: the list shows a row once. */
  #dayRow(day, count) {
    const key = `${day} ${count}`;
    let row = this.#days.get(key);
    if (row === undefined) {
      row = { kind: "day", at: day, version: 0 };
      this.#days.set(key, row);
    }
    return row;
  }
}
