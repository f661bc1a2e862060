/**
 * One room, or one private conversation, as it is read: its messages in the server's order, one's own that are under
 * way behind them, what is unread, and where "new since you left" stands. No DOM and no socket in here.
 *
 * A message is {kind: "message", id, nick, text, bytes, at, offset, isOwn, isAction, state, reason, live}; `state` is
 * "sent", "waiting", "refused" or "undelivered". A notice of the page itself is {kind: "notice", text, at}.
 * display() puts rows of the kinds "day" and "mark" between them. `version` changes with whatever a row shows.
 */

import { SeenIds } from "../protocol/outbox.js";

/** More than this is not kept in the page; the oldest go first, many at once because the list moves each time. */
const MAX_ITEMS = 20000;
const CUT_ITEMS = 2000;

const MINUTE_MS = 60000;

function dayOf(at) {
  const date = new Date(at);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

/** Whether `row` stands under the name of the message above it: same person, same minute. */
function continues(above, row) {
  if (above === null || above.kind !== "message" || row.kind !== "message") return false;
  if (row.isAction || above.isAction || row.nick === null) return false;
  if (above.isOwn !== row.isOwn || above.nick !== row.nick) return false;
  if (above.at === null || row.at === null) return above.at === row.at;
  return Math.floor(above.at / MINUTE_MS) === Math.floor(row.at / MINUTE_MS);
}

export class Conversation {
  #items = [];
  #pending = [];
  #seen = new SeenIds(MAX_ITEMS);
  #days = new Map(); // day -> its row
  #display = null;
  #markRow = { kind: "mark", version: 0 };

  /** `address` is {destination, name} of a room or {nick} of a private conversation. */
  constructor(address) {
    this.name = address.name ?? null;
    /** The other person's nickname, null in a room. */
    this.nick = address.nick ?? null;
    this.destination = address.nick === undefined ? address.destination : `/user/${address.nick}/queue/private`;
    this.isPrivate = address.nick !== undefined;
    /** Messages that were not there when somebody last looked. */
    this.unread = 0;
    /** Those among them that name the reader. */
    this.mentions = 0;
    /** The first message that is new since the reader left, null if there is none. */
    this.mark = null;
    this.onchange = () => {};
  }

  /** Everything to show, in order. The same array until something changes. */
  display() {
    if (this.#display === null) this.#display = this.#build();
    return this.#display;
  }

  /** The messages alone, those under way included. */
  get messages() {
    return [...this.#items, ...this.#pending].filter(({ kind }) => kind === "message");
  }

  /** True as long as nobody has said anything. */
  get isEmpty() {
    return this.#pending.length === 0 && !this.#items.some(({ kind }) => kind === "message");
  }

  /** The highest offset there is, null without history. */
  get lastOffset() {
    for (let i = this.#items.length - 1; i >= 0; i--) {
      if (this.#items[i].offset !== null && this.#items[i].offset !== undefined) return this.#items[i].offset;
    }
    return null;
  }

  /** Adds a message that came in; gives its row, or null if its id has been here before. */
  add(message) {
    if (!this.#seen.add(message.id)) return null;
    const row = { kind: "message", state: "sent", reason: null, version: 0, ...message };
    this.#push(row);
    return row;
  }

  /** Adds older messages before all others. */
  addEarlier(messages) {
    const rows = messages
      .filter(({ id }) => this.#seen.add(id))
      .map((message) => ({ kind: "message", state: "sent", reason: null, version: 0, ...message }));
    this.#items.unshift(...rows);
    this.#changed();
  }

  addNotice(text, at = Date.now()) {
    this.#push({ kind: "notice", text, at, version: 0, live: true });
  }

  /** Adds an own message that is under way; stands behind all others until settle(). */
  addPending(entry, nick) {
    const { id, text, isAction, at, refused } = entry;
    const state = refused === null ? "waiting" : "refused";
    const row = { kind: "message", id, nick, text, bytes: null, at, offset: null, isOwn: true, isAction, state };
    this.#pending.push({ ...row, reason: refused, version: 0, live: true });
    this.#changed();
  }

  /** The own message `id` is in its place in the room. True if it was under way here. */
  settle(id, { offset = null, nick = null } = {}) {
    const row = this.#take(id);
    if (row === null) return false;
    this.#seen.add(id);
    if (nick !== null) row.nick = nick;
    row.offset = offset;
    if (row.state !== "undelivered") this.#set(row, "sent");
    this.#push(row);
    return true;
  }

  /** The server has the message, its place is not known yet. */
  received(id) {
    const row = this.#find(id);
    if (row !== undefined) this.#set(row, "sent");
  }

  /** All own messages that the server has, but whose place will not be told any more, stay where they are now. */
  settleReceived() {
    for (const { id, state } of [...this.#pending]) if (state === "sent") this.settle(id);
  }

  wait(id) {
    const row = this.#find(id);
    if (row !== undefined) this.#set(row, "waiting");
  }

  refuse(id, reason) {
    const row = this.#find(id);
    if (row !== undefined) this.#set(row, "refused", reason);
  }

  /** A private message found nobody. */
  undelivered(id) {
    const row = this.#find(id) ?? this.#items.findLast((one) => one.id === id && one.isOwn);
    if (row !== undefined) this.#set(row, "undelivered");
  }

  remove(id) {
    if (this.#take(id) !== null) this.#changed();
  }

  // ---- reading ----

  /** A message came that nobody looked at. */
  countUnread(row, isMention) {
    if (this.unread === 0) this.#setMark(row);
    this.unread += 1;
    if (isMention) this.mentions += 1;
    this.#changed();
  }

  /** Of what was just read from the server, everything behind `offset` is new to the reader. */
  markFrom(offset) {
    const fresh = this.#items.filter((row) => row.kind === "message" && !row.isOwn && row.offset > offset);
    if (fresh.length === 0) return;
    this.#setMark(fresh[0]);
    this.unread = fresh.length;
    this.#changed();
  }

  /** Somebody looks at it all now; the mark stays until leave(). */
  read() {
    if (this.unread === 0) return;
    this.unread = 0;
    this.mentions = 0;
    this.#changed();
  }

  /** Nobody looks any more. */
  leave() {
    if (this.unread > 0 || this.mark === null) return;
    this.#setMark(null);
    this.#changed();
  }

  // ---- inside ----

  #setMark(row) {
    this.mark = row;
  }

  #push(row) {
    this.#items.push(row);
    if (this.#items.length > MAX_ITEMS) this.#items.splice(0, CUT_ITEMS);
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
  }

  #build() {
    const rows = [];
    let above = null;
    let day = null;
    for (const list of [this.#items, this.#pending]) {
      for (const row of list) {
        if (row.at !== null) {
          const next = dayOf(row.at);
          if (next !== day) {
            rows.push(this.#dayRow(next, row.at));
            above = null;
          }
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

  #dayRow(day, at) {
    let row = this.#days.get(day);
    if (row === undefined) {
      row = { kind: "day", at, version: 0 };
      this.#days.set(day, row);
    }
    return row;
  }
}
