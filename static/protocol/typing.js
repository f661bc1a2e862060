/** Typing notices: how often to send one, and how long one holds. They are stored nowhere. */

import { cleanNick, foldNick } from "../model/nicknames.js";

/** At most one notice in this time. */
export const SAY_EVERY_MS = 3000;
/** A person without another notice in this time has stopped typing. */
export const BELIEVE_MS = 5000;
const MAX_TYPISTS = 50;

/** Return the destination of a room's typing notices. */
export function typingDestination(destination) {
  return destination.replace(/^\/topic\/chat/, "/topic/typing");
}

export class Typing {
  #sentAt = new Map(); // destination -> when the last notice was sent, in ms
  #heard = new Map(); // folded nick -> {nick, until}

  /** Return whether a notice is due; if so, count it as sent. */
  isDue(destination, now) {
    if (now - (this.#sentAt.get(destination) ?? -Infinity) < SAY_EVERY_MS) return false;
    this.#sentAt.set(destination, now);
    return true;
  }

  /** Take the body of another person's notice. */
  hear(body, now) {
    let value = null;
    try {
      value = JSON.parse(body);
    } catch {
      return;
    }
    if (typeof value?.nick !== "string" || value.typing !== true) return;
    const nick = cleanNick(value.nick);
    if (nick === "" || (this.#heard.size >= MAX_TYPISTS && !this.#heard.has(foldNick(nick)))) return;
    this.#heard.set(foldNick(nick), { nick, until: now + BELIEVE_MS });
  }

  /** The person has sent the message, or has left. */
  stop(nick) {
    this.#heard.delete(foldNick(nick));
  }

  clear() {
    this.#heard.clear();
  }

  /** Return the nicknames of the people who are typing, without the reader's own. */
  now(now, ownNick) {
    for (const [key, { until }] of this.#heard) {
      if (until <= now || key === foldNick(ownNick)) this.#heard.delete(key);
    }
    return [...this.#heard.values()].map(({ nick }) => nick);
  }
}
