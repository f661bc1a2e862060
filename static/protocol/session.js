/**
 * One person's chat: the rooms and private conversations, over one connection that comes and goes. It subscribes,
 * resumes, sends what waits in the outbox, and puts what arrives into the conversations. No DOM and no words in here.
 *
 * With a server that keeps no history or knows no people it does without; see `features`.
 */

import { Company } from "./company.js";
import { Connection } from "./connection.js";
import { loadEarlier } from "./earlier.js";
import { LETTERS, Letters, isLetter } from "./letters.js";
import { cleanNick, writeBody } from "./messages.js";
import { Rooms, sameNick } from "./people.js";
import { readRefusal } from "./refusal.js";
import { Room } from "./room.js";
import { typingDestination } from "./typing.js";
import { Wire } from "./wire.js";

const ROOMS = "/presence/rooms";
/** When a room's RECEIPT announced messages that do not come (they aged in between), this ends the waiting. */
const CATCH_UP_MS = 3000;

export class ChatSession {
  #outbox;
  #reading;
  #token;
  #timers;
  #now;
  #rooms = new Map(); // destination -> Room
  #letters = new Letters();
  #company;
  #wire;
  #goodNick = ""; // the one of the last login
  #refused = new Set(); // features that this server does not want to have asked for

  constructor({ client, outbox, reading, token, nick = "", timers = globalThis, now = Date.now }) {
    this.#outbox = outbox;
    this.#reading = reading;
    this.#token = token;
    this.#timers = timers;
    this.#now = now;
    this.nick = nick;
    this.id = null;
    this.rooms = new Rooms();
    this.current = null; // a Conversation
    this.features = { people: false };
    this.maxTextChars = Infinity;
    this.connection = new Connection(client, { timers });
    this.onstate = () => {}; // (state, {retryAt, final, code})
    this.onmessage = () => {}; // (conversation, row) something new, from somebody else
    this.onconversations = () => {}; // a room or conversation came or went
    this.onentered = () => {}; // (conversation) a room is there, with all that was said
    this.onpeople = () => {}; // (change) who is in the current room, or in which rooms people are
    this.ontyping = () => {}; // somebody types in the current room
    this.onnick = () => {}; // ("set" | "taken" | "needed" | "refused", nick, reason)
    this.onnotice = () => {}; // (conversation or null, name of the notice, ...details)
    this.onrefused = () => {}; // (conversation, id, reason)
    this.onreplaced = () => {}; // this person's chat goes on in another window

    const { connection } = this;
    this.#wire = new Wire(connection);
    this.#company = new Company(this.#wire, now);
    this.#company.onpeople = (change) => {
      if (change?.event === "rename" && change.person.id === this.id) this.#renamed(change.person.nick);
      this.onpeople(change);
    };
    this.#company.ontyping = () => this.ontyping();
    this.#company.onfailed = () => this.#refused.add("people");
    this.#letters.onopen = (conversation) => {
      this.#restore(conversation);
      this.onnotice(conversation, "privateNotKept");
      this.onconversations();
    };
    this.#letters.onstranger = (conversation, nick) => this.onnotice(conversation, "somebodyElse", nick);
    connection.onstate = (state, next) => {
      if (state === "offline") this.#lost();
      this.onstate(state, next);
      if (state === "online") this.flush();
    };
    connection.onlogin = (frame) => this.#login(frame);
    connection.onmessage = (frame) => this.#wire.message(frame);
    connection.onreceipt = (id, headers) => {
      if (!this.#wire.receipt(id, headers)) this.#arrived(id);
    };
    connection.onerror = (frame) => this.#error(frame);
  }

  /** The headers that tell the server who comes. */
  connectHeaders() {
    return this.nick === "" ? {} : { nick: this.nick, "x-presence-token": this.#token };
  }

  connect() {
    this.connection.connect();
  }

  // ---- rooms and conversations ----

  /** All of them: rooms first, in the order of joining. */
  get conversations() {
    return [...[...this.#rooms.values()].map(({ conversation }) => conversation), ...this.#letters.conversations];
  }

  room(destination) {
    return this.#rooms.get(destination) ?? null;
  }

  /** Joins a room, if that is not done; gives its conversation. */
  join(address) {
    let room = this.#rooms.get(address.destination);
    if (room === undefined) {
      room = new Room(address);
      this.#rooms.set(address.destination, room);
      this.#restore(room.conversation);
      if (this.connection.isConnected) {
        this.connection.unready();
        this.#enter(room);
      }
      this.onconversations();
    }
    return room.conversation;
  }

  /** Leaves a room, or closes a private conversation. */
  leave(conversation) {
    if (conversation.isPrivate) {
      this.#letters.close(conversation);
    } else {
      const room = this.#rooms.get(conversation.destination);
      if (room === undefined) return;
      if (this.#company.room === room) this.#company.follow(null);
      this.#rooms.delete(conversation.destination);
      if (room.subscription !== null) this.#wire.unsubscribe(room.subscription);
      this.#timers.clearTimeout(room.timer);
      this.#checkReady();
    }
    this.onconversations();
  }

  /** The private conversation with somebody; null if there are too many already. */
  openPrivate(nick) {
    return this.#letters.with(nick);
  }

  /** The conversation that somebody looks at now: its people and typists are asked for. */
  show(conversation) {
    this.current = conversation;
    this.#company.follow(this.#rooms.get(conversation.destination) ?? null, this.features.people);
  }

  /** Reads older messages of a room; gives a promise of whether there were any. */
  loadEarlier(conversation) {
    const room = this.#rooms.get(conversation.destination);
    if (room === undefined || !this.connection.isConnected) return Promise.resolve(false);
    const read = (frame) => room.read(frame, this.#outbox, this.#now());
    return loadEarlier(room, this.#wire, read, { timers: this.#timers });
  }

  // ---- the nickname ----

  setNick(nick) {
    if (nick === this.nick && this.connection.state !== "offline") return;
    this.nick = nick;
    if (this.connection.state === "offline" || this.features.people) this.connection.reconnect();
    else this.onnick("set", nick);
  }

  /** Another window of the same person chose another nickname. */
  #renamed(nick) {
    this.nick = this.#goodNick = nick;
    this.onnick("set", nick);
  }

  // ---- writing ----

  /** Sends a text to a conversation, now or when there is a connection. */
  say(conversation, text, isAction = false) {
    const { destination } = conversation;
    const entry = this.#outbox.add({ destination, text, at: this.#now(), isAction });
    conversation.addPending(entry, this.nick);
    this.flush();
  }

  /** Somebody is typing into the current room. */
  type() {
    const { room } = this.#company;
    // A message that is under way comes first: the server may let this window send so many a second.
    if (room === null || !this.connection.isOnline || this.#outbox.entries.length > 0) return;
    if (!room.typing.isDue(room.destination, this.#now())) return;
    const notice = JSON.stringify({ nick: this.nick, typing: true });
    this.connection.send(notice, typingDestination(room.destination), { "content-type": "application/json" });
  }

  /** Sends what waits, where the way is free. */
  flush() {
    if (!this.connection.isConnected || !this.connection.isOnline) return;
    for (const { id, destination, refused } of this.#outbox.entries) {
      if (refused === null && isLetter(destination) && !this.features.people) this.#refuse(id, "noPrivate");
    }
    const may = ({ destination }) => this.#rooms.get(destination)?.isIn ?? true;
    this.#outbox.flush((entry) => {
      this.connection.send(writeBody({ ...entry, nick: this.nick }), entry.destination, {
        "content-type": "application/json",
        timestamp: String(entry.at),
        receipt: entry.id,
      });
    }, may);
  }

  /** Tries a refused message again. */
  retry(conversation, id) {
    this.#outbox.retry(id);
    conversation.wait(id);
    this.flush();
  }

  /** Takes back a message that did not go out; gives its text. */
  takeBack(conversation, id) {
    const entry = this.#outbox.get(id);
    this.#outbox.confirm(id);
    conversation.remove(id);
    return entry === undefined ? "" : entry.text;
  }

  // ---- the connection ----

  #login(frame) {
    const nick = cleanNick(frame.headers.nick ?? "");
    if (nick !== "") this.nick = nick;
    this.#goodNick = this.nick;
    this.id = frame.headers["x-presence-id"] ?? null;
    this.features.people = this.id !== null && !this.#refused.has("people");
    this.onnick("set", this.nick);
    for (const room of this.#rooms.values()) this.#enter(room);
    if (this.features.people) {
      const refuse = { failed: () => this.#refused.add("people") };
      this.#wire.subscribe(LETTERS, { id: "private" }, (message) => this.#letter(message), refuse);
      this.#wire.subscribe(ROOMS, { id: "rooms" }, (message) => {
        if (this.rooms.take(message)) this.onpeople(null);
      }, refuse);
    }
    this.#company.resume(this.features.people);
    this.#checkReady();
  }

  #lost() {
    this.#wire.lost();
    this.#outbox.disconnected();
    this.rooms.clear();
    for (const room of this.#rooms.values()) {
      room.isIn = false;
      room.subscription = null;
      room.giveUpEarlier?.();
      room.people.clear();
      room.typing.clear();
      this.#timers.clearTimeout(room.timer);
    }
    this.onpeople(null);
    this.ontyping();
  }

  #error(frame) {
    const { kind, reason, id, maxChars } = readRefusal(frame, !this.connection.isConnected);
    if (kind === "taken" || kind === "nick") {
      this.#nickRefused(kind === "taken", reason);
    } else if (kind === "replaced") {
      this.connection.hold();
      this.onreplaced();
    } else if (!this.#wire.refused(id)) {
      this.maxTextChars = maxChars ?? this.maxTextChars;
      if (!this.#refuse(id, reason)) this.onnotice(null, "serverSaid", reason);
    }
  }

  /** Goes back to the name of before, if there is one; else somebody has to choose. */
  #nickRefused(isTaken, reason) {
    const refused = this.nick;
    if (this.#goodNick !== "" && !sameNick(this.#goodNick, refused)) {
      this.nick = this.#goodNick;
      this.onnick(isTaken ? "taken" : "refused", refused, reason);
      this.connection.reconnect();
    } else {
      this.connection.hold();
      this.onnick(isTaken ? "needed" : "refused", refused, reason);
    }
  }

  #checkReady() {
    if (!this.connection.isConnected) return;
    if ([...this.#rooms.values()].every(({ isIn }) => isIn)) {
      this.connection.ready();
      this.flush();
    }
  }

  // ---- a room's messages ----

  #enter(room) {
    const { destination, stream } = room;
    const isProbe = stream.isKept !== true;
    const id = isProbe ? `probe ${destination}` : destination;
    const failed = () => stream.forget(); // no history any more; the next connection asks anew
    const before = room.subscription;
    room.subscription = id;
    this.#wire.subscribe(destination, { id, ...stream.headers() }, (frame) => this.#roomMessage(room, frame), {
      failed,
      done: (headers) => {
        if (isProbe && stream.probed(headers, this.#reading.of(destination))) {
          this.#enter(room); // with another id, and the first one ends after that: nobody sees us leave
          return;
        }
        const isWhole = isProbe || stream.continued(headers);
        if (room.wasIn && !isWhole) this.onnotice(room.conversation, "gap");
        if (room.wasIn && (stream.isKept === false || !isWhole)) room.conversation.settleReceived();
        room.timer = this.#timers.setTimeout(() => {
          stream.giveUp();
          this.#settle(room);
        }, CATCH_UP_MS);
        room.isConfirmed = true;
        this.#settle(room);
      },
    });
    room.isConfirmed = false;
    if (before !== null && before !== id) this.#wire.unsubscribe(before);
  }

  /** The room is in as soon as all has come that was there before. */
  #settle(room) {
    if (room.isIn || !room.isConfirmed || !room.stream.isCaughtUp) return;
    this.#timers.clearTimeout(room.timer);
    room.isIn = true;
    if (!room.wasIn) {
      room.wasIn = true;
      const read = this.#reading.of(room.destination);
      if (read !== null && read.epoch === room.stream.epoch) room.conversation.markFrom(read.offset);
      this.onentered(room.conversation);
    }
    this.onconversations();
    this.#checkReady();
  }

  #roomMessage(room, frame) {
    if (room.subscription !== frame.headers.subscription || !room.stream.take(frame.headers)) return;
    const message = room.read(frame, this.#outbox, this.#now());
    if (message.isOwn) this.#outbox.confirm(message.id);
    if (!message.isOwn || !room.conversation.settle(message.id, message)) {
      const row = room.conversation.add(message);
      if (message.nick !== null) {
        room.typing.stop(message.nick);
        if (room === this.#company.room) this.ontyping();
      }
      if (row !== null && !row.isOwn && room.wasIn) this.onmessage(room.conversation, row);
    }
    this.#settle(room);
  }

  #letter(frame) {
    const news = this.#letters.take(frame, this.#now());
    if (news !== null) this.onmessage(news.conversation, news.row);
  }

  /** The server has an own message. */
  #arrived(id) {
    const entry = this.#outbox.get(id);
    if (!this.#outbox.confirm(id)) {
      for (const conversation of this.conversations) conversation.received(id);
      return;
    }
    const conversation = this.#conversationAt(entry.destination);
    if (conversation === null) return;
    if (this.#rooms.get(entry.destination)?.stream.isKept === true) conversation.received(id);
    else conversation.settle(id);
  }

  #refuse(id, reason) {
    const entry = this.#outbox.get(id);
    if (entry === undefined || !this.#outbox.refuse(id, reason)) return false;
    const conversation = this.#conversationAt(entry.destination);
    if (conversation !== null) {
      conversation.refuse(id, reason);
      this.onrefused(conversation, id, reason);
    }
    return true;
  }

  /** Puts what still waits for a conversation into it, as after a reload. */
  #restore(conversation) {
    for (const entry of this.#outbox.entries) {
      if (entry.destination === conversation.destination) conversation.addPending(entry, this.nick);
    }
  }

  #conversationAt(destination) {
    return this.conversations.find((one) => one.destination === destination) ?? null;
  }
}
