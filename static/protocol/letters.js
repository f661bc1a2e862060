/** The private conversations of a page, by whom they are with. No DOM and no socket in here. */

import { Conversation } from "../model/conversation.js";
import { cleanNick, readBody } from "./messages.js";
import { foldNick } from "./people.js";

export const LETTERS = "/user/queue/private";
const MAX_CONVERSATIONS = 100;

/** Whether a destination is somebody's private messages. */
export function isLetter(destination) {
  return destination.startsWith("/user/");
}

export class Letters {
  #byNick = new Map(); // folded nick -> {conversation, senderId}

  constructor() {
    this.onopen = () => {}; // (conversation) a new one
    this.onstranger = () => {}; // (conversation, nick) somebody else has the name now
  }

  get conversations() {
    return [...this.#byNick.values()].map(({ conversation }) => conversation);
  }

  /** The conversation with somebody; null if there are too many already. */
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

  /** Takes a MESSAGE of LETTERS; gives {conversation, row} of one that is new, else null. */
  take(frame, now) {
    const body = readBody(frame);
    if (frame.headers["x-undelivered"] === "true") {
      for (const { conversation } of this.#byNick.values()) conversation.undelivered(body.id);
      return null;
    }
    const nick = cleanNick(frame.headers["x-sender"] ?? "");
    const conversation = nick === "" ? null : this.with(nick); // without a name there is nobody to answer to
    if (conversation === null) return null;
    const known = this.#byNick.get(foldNick(nick));
    const senderId = frame.headers["x-sender-id"] ?? null;
    if (known.senderId !== null && known.senderId !== senderId) this.onstranger(conversation, nick);
    known.senderId = senderId;
    const row = conversation.add({ ...body, nick, at: now, offset: null, isOwn: false, live: true });
    return row === null ? null : { conversation, row };
  }
}
