/** Who is typing: how often to say so, and how long to believe it. Nothing of it is kept anywhere. */

import { cleanNick } from "./messages.js";
import { foldNick } from "./people.js";

/** One notice in this time, however fast somebody types. */
export const SAY_EVERY_MS = 3000;
/** Without another notice somebody has stopped. */
export const BELIEVE_MS = 5000;
const MAX_TYPISTS = 50;

/** The destination for the typing notices of a room. */
export function typingDestination(destination) {
  return destination.replace(/^\/topic\/chat/, "/topic/typing");
}

export class Typing {
  #saidAt = new Map(); // destination -> ms
  #heard = new Map(); // folded nick -> {nick, until}

  /** True if a notice should go out now. */
  isDue(destination, now) {
    if (now - (this.#saidAt.get(destination) ?? -Infinity) < SAY_EVERY_MS) return false;
    this.#saidAt.set(destination, now);
    return true;
  }

  /** Takes the body of somebody's notice. */
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

  /** Their message is there, or they left. */
  stop(nick) {
    this.#heard.delete(foldNick(nick));
  }

  clear() {
    this.#heard.clear();
  }

  /** The nicknames of those who are typing, without one's own. */
  now(now, ownNick) {
    for (const [key, { until }] of this.#heard) {
      if (until <= now || key === foldNick(ownNick)) this.#heard.delete(key);
    }
    return [...this.#heard.values()].map(({ nick }) => nick);
  }
}
