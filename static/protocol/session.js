/**
 * One window of a person's chat: rooms and private conversations over one connection that comes and goes. Subscribes,
 * resumes, sends the queued messages and puts those that arrive into the conversations, without DOM or words. Works
 * with servers without history or presence, too; see `features`.
 */

import { newId } from "../model/ids.js";
import { cleanNick, sameNick } from "../model/nicknames.js";
import { ServerClock } from "../model/server-clock.js";
import { Connection } from "./connection.js";
import { readError } from "./errors.js";
import { loadOlder } from "./history-loader.js";
import { stampedAt } from "./messages.js";
import { Outgoing } from "./outgoing.js";
import { RoomDirectory } from "./presence.js";
import { PRIVATE_QUEUE, PrivateMessages } from "./private-messages.js";
import { RoomWatcher } from "./room-watcher.js";
import { Room } from "./room.js";
import { Subscriptions } from "./subscriptions.js";
import { typingDestination } from "./typing.js";

const ROOMS = "/presence/rooms";
/** The longest wait for messages that a RECEIPT announced but that expired before they were sent. */
const CATCH_UP_MS = 3000;

export class ChatSession {
  #sendQueue;
  #readPositions;
  #person;
  #windowId = newId(); // tells the windows of a person apart
  #timers;
  #now;
  #clock;
  #rooms = new Map(); // destination -> Room
  #privateMessages;
  #outgoing;
  #watcher;
  #subscriptions;
  #acceptedNick = ""; // the nickname of the last login
  #refused = new Set(); // features that this server has refused

  /**
   * `person` is an Identity, which all windows of the browser share; `talks` is a TalkStore of this window, or null.
   */
  constructor({ client, sendQueue, readPositions, person, talks = null, timers = globalThis, now = Date.now }) {
    this.#privateMessages = new PrivateMessages(talks, timers);
    this.#sendQueue = sendQueue;
    this.#readPositions = readPositions;
    this.#person = person;
    this.#timers = timers;
    this.#now = now;
    this.#clock = new ServerClock(now);
    const addressOf = (key) => this.#privateMessages.addressOf(key);
    this.#outgoing = new Outgoing(this, { sendQueue, clock: this.#clock, addressOf });
    this.nick = person.nick;
    /** The name of the user who is, or was last, logged in; "" for an anonymous person. */
    this.user = person.user;
    this.id = null;
    this.rooms = new RoomDirectory();
    this.current = null; // a Conversation
    this.features = { people: false };
    this.maxTextChars = Infinity;
    this.connection = new Connection(client, { timers });
    this.onstate = () => {}; // (state, {retryAt, final, code})
    this.onmessage = () => {}; // (conversation, row) a new message from another person
    this.onconversations = () => {}; // a room or conversation was opened or closed, or a room was entered
    this.onentered = () => {}; // (conversation) a room was entered, and its stored messages have arrived
    this.onpeople = () => {}; // (change) in the people of the current room; null: in the list of rooms
    this.ontyping = () => {}; // the typists of the current room may have changed
    this.onnick = () => {}; // ("set" | "taken" | "needed" | "refused", nick, reason)
    this.onuser = () => {}; // (name) where the server knows users: who is logged in, "" for an anonymous person
    this.onforeign = () => {}; // this browser belongs to another user now; nothing goes on before the page is loaded anew
    this.onbarred = () => {}; // (conversation) the reader may not read this room
    this.onnotice = () => {}; // (conversation or null, name of the notice, ...details)
    this.onrefused = () => {}; // (conversation, id, reason)
    this.onrenamed = () => {}; // (conversation, nick before) the person of a private conversation is called otherwise

    const { connection } = this;
    this.#subscriptions = new Subscriptions(connection);
    this.#watcher = new RoomWatcher(this.#subscriptions, now);
    this.#watcher.onpeople = (change) => {
      if (change?.event === "rename" && change.person.id === this.id) this.#renamed(change.person.nick);
      if (change !== null) this.#privateMessages.hearOf(change, this.#watcher.room.people.list, this.id);
      this.onpeople(change);
    };
    this.#watcher.ontyping = () => this.ontyping();
    this.#watcher.onfailed = () => this.#refused.add("people");
    this.#privateMessages.onopen = (conversation) => {
      this.#outgoing.restore(conversation);
      this.onnotice(conversation, this.#privateMessages.isKept ? "privateKept" : "privateNotKept");
      this.onconversations();
    };
    this.#privateMessages.onrename = (conversation, before) => {
      if (!sameNick(before, conversation.nick)) this.onnotice(conversation, "renamed", before, conversation.nick);
      this.onrenamed(conversation, before);
    };
    this.#privateMessages.onsenderchange = (conversation, nick) => this.onnotice(conversation, "senderChanged", nick);
    connection.onstate = (state, next) => {
      if (state === "offline") this.#lost();
      this.onstate(state, next);
      if (state === "online") this.#outgoing.flush();
    };
    connection.onlogin = (frame) => this.#login(frame);
    connection.onmessage = (frame) => this.#subscriptions.deliver(frame);
    connection.onreceipt = (id, headers) => {
      if (!this.#subscriptions.confirm(id, headers)) this.#outgoing.confirm(id);
    };
    connection.onerror = (frame) => this.#error(frame);
  }

  /** Return the headers of CONNECT that identify this person. */
  connectHeaders() {
    this.follow();
    return this.#person.connectHeaders(this.nick, this.#windowId);
  }

  connect() {
    this.connection.connect();
  }

  // ---- rooms and conversations ----

  /** All conversations: first the rooms in the order of joining, then the private ones. */
  get conversations() {
    const rooms = Array.from(this.#rooms.values(), ({ conversation }) => conversation);
    return rooms.concat(this.#privateMessages.conversations);
  }

  /** Return the joined room with this destination, or null. */
  room(destination) {
    return this.#rooms.get(destination) ?? null;
  }

  /** Join a room, unless it is joined already. Return its conversation. */
  join(address) {
    let room = this.#rooms.get(address.destination);
    if (room === undefined || room.isBarred) {
      if (room === undefined) this.#outgoing.restore((room = new Room(address)).conversation);
      room.isBarred = false; // what was refused before may be allowed now
      this.#rooms.set(address.destination, room);
      if (this.connection.isConnected) {
        this.connection.unready();
        this.#enter(room);
      }
      this.onconversations();
    }
    return room.conversation;
  }

  /** Leave a room, or close a private conversation. */
  leave(conversation) {
    if (conversation.isPrivate) {
      this.#outgoing.release(conversation);
      this.#privateMessages.close(conversation);
    } else {
      const room = this.#rooms.get(conversation.destination);
      if (room === undefined) return;
      if (this.#watcher.room === room) this.#watcher.follow(null);
      this.#rooms.delete(conversation.destination);
      if (room.subscription !== null) this.#subscriptions.unsubscribe(room.subscription);
      this.#timers.clearTimeout(room.timer);
      this.#checkReady();
    }
    this.onconversations();
  }

  /** Return the private conversation with a person; null if there are too many. */
  openPrivate(nick) {
    return this.#privateMessages.with(nick, this.#watcher.room?.people.idOf(nick) ?? null);
  }

  /** Open the private conversations that an earlier page of this window has kept. */
  restoreTalks() {
    this.#privateMessages.restore();
  }

  /** Store the private conversations now, because the page may end. */
  keepTalks() {
    this.#privateMessages.keep();
  }

  /** Show a conversation: presence and typing notices are subscribed for it. */
  show(conversation) {
    this.current = conversation;
    const room = this.#rooms.get(conversation.destination) ?? null;
    this.#watcher.follow(room?.isBarred ? null : room, this.features.people);
  }

  /** Load older messages of a room. Return a promise of whether there were any. */
  loadOlder(conversation) {
    const room = this.#rooms.get(conversation.destination);
    if (room === undefined || !this.connection.isConnected) return Promise.resolve(false);
    return loadOlder(room, this.#subscriptions, (frame) => this.#read(room, frame), { timers: this.#timers });
  }

  // ---- the nickname ----

  /** Ask for another nickname; `onnick` reports the outcome. */
  setNick(nick) {
    const isEnding = this.connection.state === "offline" || this.connection.isHeld;
    if (nick === this.nick && !isEnding) return;
    this.nick = nick;
    // A login under way asks for the nickname before.
    const isKnown = this.features.people || this.#person.hasLogIn;
    if (isEnding || !this.connection.isConnected || isKnown) this.connection.reconnect();
    else this.#renamed(nick);
  }

  /** Take the nickname over that the person has chosen in another window. */
  follow() {
    const { nick } = this.#person;
    // A nickname that was chosen here, and that the server has not confirmed, is newer.
    if (nick !== "" && this.#acceptedNick !== "" && this.nick === this.#acceptedNick) this.#renamed(nick);
  }

  /** A user logs in who was anonymous: the server knows how the user is called. */
  forgetNick() {
    this.nick = this.#acceptedNick = this.#person.nick = "";
  }

  #renamed(nick) {
    if (nick === this.#acceptedNick && nick === this.nick) return;
    this.nick = this.#acceptedNick = nick;
    this.#person.nick = nick;
    this.onnick("set", nick);
  }

  // ---- sending ----

  /** Send a text to a conversation, now or once there is a connection. */
  say(conversation, text, isAction = false) {
    this.#outgoing.say(conversation, text, isAction);
  }

  /** Report that the user is typing in the current room. */
  type() {
    const { room } = this.#watcher;
    // Queued messages go first: the server may limit how many frames this window sends in a second.
    if (room === null || room.isReadOnly || !this.connection.isOnline || this.#sendQueue.entries.length > 0) return;
    if (!room.typing.isDue(room.destination, this.#now())) return;
    const notice = JSON.stringify({ nick: this.nick, typing: true });
    this.connection.send(notice, typingDestination(room.destination), { "content-type": "application/json" });
  }

  /** Send a message again that was refused, or not delivered. */
  retry(conversation, id) {
    this.#outgoing.retry(conversation, id);
  }

  /** Remove such a message from the conversation and the queue. Return its text. */
  takeBack(conversation, id) {
    return this.#outgoing.takeBack(conversation, id);
  }

  // ---- the connection ----

  #login(connected) {
    const nick = cleanNick(connected.headers.nick ?? "");
    if (!this.#isSameUser(connected.headers["x-user"] ?? "")) return;
    if (this.#person.isGiven(this.nick)) this.#person.givenNick = nick;
    if (nick !== "" || this.#person.hasLogIn) this.nick = nick;
    this.#person.nick = this.#acceptedNick = this.nick;
    this.id = connected.headers["x-presence-id"] ?? null;
    if (this.id !== null) {
      this.#person.learn(this.id);
      for (const conversation of this.#privateMessages.login(this.id)) {
        this.#outgoing.hold(conversation);
        this.onnotice(conversation, "restarted", conversation.nick);
      }
    }
    const serverMs = stampedAt(connected.headers);
    if (serverMs !== null) this.#clock.set(serverMs);
    this.features.people = this.id !== null && !this.#refused.has("people");
    this.onnick("set", this.nick);
    this.#outgoing.sendMisnamed();
    for (const room of this.#rooms.values()) if (!room.isBarred) this.#enter(room);
    if (this.features.people) {
      const onrooms = (message) => {
        if (this.rooms.take(message)) this.onpeople(null);
      };
      const failed = () => this.#refused.add("people");
      this.#subscriptions.subscribe(PRIVATE_QUEUE, { id: "private" }, (frame) => this.#privateMessage(frame), { failed });
      this.#subscriptions.subscribe(ROOMS, { id: "rooms" }, onrooms, { failed });
    }
    this.#watcher.resume(this.features.people);
    this.#checkReady();
  }

  /** Take the name of the user. Return false if this connection must not be used. */
  #isSameUser(name) {
    const before = this.#person.user;
    if (before !== "" && name !== before) {
      this.onforeign();
      return false;
    }
    this.#person.user = this.user = name;
    if (this.#person.hasLogIn) this.onuser(name);
    if (name === before || this.#person.isGiven(this.nick)) return true;
    this.forgetNick();
    this.connection.comeBack();
    return false;
  }

  #lost() {
    this.#subscriptions.clear();
    this.#sendQueue.disconnected();
    this.rooms.clear();
    for (const room of this.#rooms.values()) {
      room.isIn = false;
      room.subscription = null;
      room.cancelLoading?.();
      room.people.clear();
      room.typing.clear();
      this.#timers.clearTimeout(room.timer);
    }
    this.onpeople(null);
    this.ontyping();
  }

  #error(frame) {
    const problem = readError(frame, !this.connection.isConnected);
    const { kind, reason, id, maxChars } = problem;
    if (kind === "expired") this.connection.comeBack();
    else if (kind === "right") this.#notAllowed(problem);
    else if (kind === "taken" || kind === "nick") this.#nickRefused(kind === "taken", reason);
    else if (kind !== "access" && !this.#subscriptions.fail(id)) {
      this.maxTextChars = maxChars ?? this.maxTextChars;
      if (!this.#outgoing.refuse(id, reason)) this.onnotice(null, "serverSaid", reason);
    }
  }

  /** The server ends the connection because the reader may not read or write something: come back without that. */
  #notAllowed({ verb, destination, reason, id }) {
    const room = [...this.#rooms.values()].find((one) => one.isAbout(destination)) ?? null;
    const isMessage = verb === "write" && this.#outgoing.refuse(id, reason);
    if (room === null && !isMessage && !this.#subscriptions.fail(id)) {
      this.onnotice(null, "serverSaid", reason);
      return;
    }
    this.connection.comeBack();
    if (room === null) return;
    if (verb === "read") {
      room.isBarred = true;
      if (this.#watcher.room === room) this.#watcher.follow(null);
      this.onbarred(room.conversation);
    } else {
      room.isReadOnly = true;
      if (!isMessage) this.onnotice(room.conversation, "readOnly");
    }
  }

  /** Return to the previous nickname, if there is one; otherwise the user has to choose another. */
  #nickRefused(isTaken, reason) {
    const refused = this.nick;
    if (this.#acceptedNick !== "" && !sameNick(this.#acceptedNick, refused)) {
      this.nick = this.#acceptedNick;
      this.onnick(isTaken ? "taken" : "refused", refused, reason);
      this.connection.reconnect();
    } else {
      this.connection.hold();
      this.onnick(isTaken ? "needed" : "refused", refused, reason);
    }
  }

  #checkReady() {
    if (!this.connection.isConnected) return;
    if ([...this.#rooms.values()].every(({ isIn, isBarred }) => isIn || isBarred)) {
      this.connection.ready();
      this.#outgoing.flush();
    }
  }

  // ---- a room's messages ----

  #enter(room) {
    const { destination, stream } = room;
    const isProbe = stream.isKept !== true;
    const id = isProbe ? `probe ${destination}` : destination;
    const failed = () => stream.forget(); // the history was switched off; the next connection probes again
    const before = room.subscription;
    room.subscription = id;
    this.#subscriptions.subscribe(destination, { id, ...stream.headers() }, (frame) => this.#roomMessage(room, frame), {
      failed,
      done: (headers) => {
        if (isProbe && stream.probed(headers, this.#readPositions.of(destination))) {
          this.#enter(room); // with another id, before the first one ends: others do not see us leave
          return;
        }
        const isComplete = isProbe || stream.continued(headers);
        if (room.wasIn && !isComplete) this.onnotice(room.conversation, "gap");
        if (room.wasIn && (stream.isKept === false || !isComplete)) room.conversation.settleReceived();
        room.timer = this.#timers.setTimeout(() => {
          if (!stream.isCaughtUp && headers["x-stream-damaged"]) this.onnotice(room.conversation, "damaged");
          stream.giveUp();
          this.#settle(room);
        }, CATCH_UP_MS);
        room.isConfirmed = true;
        this.#settle(room);
      },
    });
    room.isConfirmed = false;
    if (before !== null && before !== id) this.#subscriptions.unsubscribe(before);
  }

  /** Enter the room once everything that was stored before has arrived. */
  #settle(room) {
    if (room.isIn || !room.isConfirmed || !room.stream.isCaughtUp) return;
    this.#timers.clearTimeout(room.timer);
    room.isIn = true;
    if (!room.wasIn) {
      room.wasIn = true;
      const read = this.#readPositions.of(room.destination);
      if (read !== null && read.epoch === room.stream.epoch) room.conversation.markFrom(read);
      this.onentered(room.conversation);
    }
    this.onconversations();
    this.#checkReady();
  }

  #roomMessage(room, frame) {
    if (room.subscription !== frame.headers.subscription || !room.stream.take(frame.headers)) return;
    if (frame.headers["x-stream-unreadable"]) this.onnotice(room.conversation, "damaged");
    const message = this.#read(room, frame);
    if (message.isOwn) this.#sendQueue.confirm(message.id);
    if (!message.isOwn || !room.conversation.settle(message.id, message)) {
      const row = room.conversation.add(message);
      if (message.nick !== null) {
        room.typing.stop(message.nick);
        if (room === this.#watcher.room) this.ontyping();
      }
      if (row !== null && !row.isOwn && room.wasIn) this.onmessage(room.conversation, row);
    }
    this.#settle(room);
  }

  #read(room, frame) {
    return room.read(frame, (senderId, id) => this.#isOwn(senderId, id), this.#clock.now());
  }

  /** Return whether this person sent the message. Only a server without presence leaves that to the message's id. */
  #isOwn(senderId, id) {
    if (this.id !== null) return senderId !== null && this.#person.owns(senderId);
    return id !== null && this.#sendQueue.isOwn(id);
  }

  #privateMessage(frame) {
    const received = this.#privateMessages.take(frame, this.#clock.now());
    if (received !== null) this.onmessage(received.conversation, received.row);
  }
}
