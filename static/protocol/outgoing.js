/** The reader's own messages, from the text field until the server has them: sent, confirmed, refused, sent again. */

import { writeBody } from "./messages.js";
import { isPrivateDestination } from "./private-messages.js";

export class Outgoing {
  #session;
  #sendQueue;
  #clock;
  #addressOf;
  #misnamed = null; // the entry of a message that was refused for its nickname

  /** `addressOf(key)` returns {destination, headers} of the private conversation with this key. */
  constructor(session, { sendQueue, clock, addressOf }) {
    this.#session = session;
    this.#sendQueue = sendQueue;
    this.#clock = clock;
    this.#addressOf = addressOf;
  }

  /** Send a text to a conversation, now or once there is a connection. */
  say(conversation, text, isAction = false) {
    this.#add(conversation, { text, isAction });
    this.flush();
  }

  /** Send the queued messages whose room has been entered. */
  flush() {
    const { connection, features, nick } = this.#session;
    if (!connection.isConnected || !connection.isOnline) return;
    for (const { id, destination, refused } of this.#sendQueue.entries) {
      if (refused !== null) continue;
      if (isPrivateDestination(destination) && !features.people) this.refuse(id, "noPrivate");
      else if (this.#session.room(destination)?.isBarred) this.refuse(id, "noRead");
    }
    const may = ({ destination }) => this.#session.room(destination)?.isIn ?? true;
    this.#sendQueue.flush((entry) => {
      entry.sentAs = nick;
      const isPrivate = isPrivateDestination(entry.destination);
      const { destination, headers } = isPrivate ? this.#addressOf(entry.destination) : entry;
      connection.send(writeBody({ ...entry, nick }), destination, {
        "content-type": "application/json",
        ...headers,
        ...(entry.receiverId === undefined ? {} : { "x-receiver-id": entry.receiverId }),
        receipt: entry.id,
      });
    }, may);
  }

  /** Send a message again that was refused, or not delivered. */
  retry(conversation, id) {
    const row = conversation.takeUndelivered(id);
    if (row === null) {
      this.#sendQueue.retry(id);
      conversation.wait(id);
    } else {
      this.#add(conversation, row);
    }
    this.flush();
  }

  /** Remove such a message from the conversation and the queue. Return its text. */
  takeBack(conversation, id) {
    const row = conversation.takeUndelivered(id);
    if (row !== null) return row.text;
    const entry = this.#sendQueue.get(id);
    this.#sendQueue.confirm(id);
    conversation.remove(id);
    return entry === undefined ? "" : entry.text;
  }

  /** Add the queued messages of a conversation to it, as after a reload. */
  restore(conversation) {
    for (const entry of this.#sendQueue.entries) {
      if (entry.destination === conversation.destination) conversation.addPending(entry, this.#session.nick);
    }
  }

  /** A private conversation ends: what still waits in it goes to that person, not to another who has the name then. */
  release({ destination }) {
    const receiverId = this.#addressOf(destination).headers["x-receiver-id"];
    if (receiverId !== undefined) this.#sendQueue.address(destination, receiverId);
  }

  /** It is not certain who is called so now: what waits for that person is sent only when the reader says so. */
  hold({ destination }) {
    for (const entry of this.#sendQueue.entries) {
      if (entry.destination === destination && entry.refused === null) this.refuse(entry.id, "restarted");
    }
  }

  /** The server has confirmed an own message. */
  confirm(id) {
    const entry = this.#sendQueue.get(id);
    if (!this.#sendQueue.confirm(id)) {
      for (const conversation of this.#session.conversations) conversation.received(id);
      return;
    }
    const conversation = this.#conversationAt(entry.destination);
    if (conversation === null) return;
    const room = this.#session.room(entry.destination);
    if (room !== null) room.isReadOnly = false;
    if (room?.stream.isKept === true) conversation.received(id);
    else conversation.settle(id);
  }

  /** The server has refused a message. Return false if there is none with this id. */
  refuse(id, reason) {
    const entry = this.#sendQueue.get(id);
    if (entry === undefined || !this.#sendQueue.refuse(id, reason)) return false;
    if (/not your nick/i.test(reason)) this.#misnamed = entry;
    const conversation = this.#conversationAt(entry.destination);
    if (conversation !== null) {
      conversation.refuse(id, reason);
      this.#session.onrefused(conversation, id, reason);
    }
    return true;
  }

  /** Make due again what was refused because another window had changed the nickname. */
  sendMisnamed() {
    const entry = this.#misnamed;
    this.#misnamed = null;
    if (entry === null || entry.sentAs === this.#session.nick || entry.refused === null) return;
    this.#sendQueue.retry(entry.id);
    this.#conversationAt(entry.destination)?.wait(entry.id);
  }

  #add(conversation, { id, text, isAction }) {
    const { destination } = conversation;
    const entry = this.#sendQueue.add({ id, destination, text, isAction, at: this.#clock.now() });
    conversation.addPending(entry, this.#session.nick);
  }

  #conversationAt(destination) {
    return this.#session.conversations.find((one) => one.destination === destination) ?? null;
  }
}
