/** Private messages, sorted into one conversation for each sender. */

import { Conversation } from "../model/conversation.js";
import { cleanNick, foldNick } from "../model/nicknames.js";
import { readBody, stampedAt } from "./messages.js";

/** Where the server delivers this session's private messages. */
export const PRIVATE_QUEUE = "/user/queue/private";
const MAX_CONVERSATIONS = 100;

/** Return whether messages to this destination are private. */
export function isPrivateDestination(destination) {
  return destination.startsWith("/user/");
}

export class PrivateMessages {
  #byNick = new Map(); // folded nick -> {conversation, senderId}

  constructor() {
    this.onopen = () => {}; // (conversation) a new one
    this.onsenderchange = () => {}; // (conversation, nick) the nickname belongs to another person now
  }

  get conversations() {
    return [...this.#byNick.values()].map(({ conversation }) => conversation);
  }

  /** Return the conversation with a person, a new one if there is none; null if there are too many. */
  with(nick) {
    const key = foldNick(nick);
    if (!this.#byNick.has(key)) {
      if (this.#byNick.size >= MAX_CONVERSATIONS) return null;
      const conversation = new Conversation({ nick });
      this.#byNick.set(key, { conversation, senderId: null });
      this.onopen(conversation);
    }
    return this.#byNick.get(key).conversation;
  }

  close(conversation) {
    this.#byNick.delete(foldNick(conversation.nick));
  }

  /** Take a MESSAGE from PRIVATE_QUEUE. Return {conversation, row} if it is a new message, else null. */
  take(frame, now) {
    const body = readBody(frame);
    if (frame.headers["x-undelivered"] === "true") {
      for (const { conversation } of this.#byNick.values()) conversation.undelivered(body.id);
      return null;
    }
    const nick = cleanNick(frame.headers["x-sender"] ?? "");
    const conversation = nick === "" ? null : this.with(nick); // a sender without a nickname cannot be answered
    if (conversation === null) return null;
    const known = this.#byNick.get(foldNick(nick));
    const senderId = frame.headers["x-sender-id"] ?? null;
    if (known.senderId !== null && known.senderId !== senderId) this.onsenderchange(conversation, nick);
    known.senderId = senderId;
    const row = conversation.add({ ...body, senderId, nick, at: stampedAt(frame.headers) ?? now, offset: null, isOwn: false, live: true });
    return row === null ? null : { conversation, row };
  }
}
