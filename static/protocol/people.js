/** Who is in a room and which rooms there are, from the server's presence messages. No DOM and no socket in here. */

import { cleanNick } from "./messages.js";

const MAX_PEOPLE = 5000;

function read(frame) {
  if (typeof frame.body !== "string") return null;
  try {
    const value = JSON.parse(frame.body);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

function person(value) {
  if (typeof value !== "object" || value === null || typeof value.nick !== "string") return null;
  const nick = cleanNick(value.nick);
  return nick === "" ? null : { id: String(value.id ?? nick), nick };
}

/** Nicknames are the same in any case of letters. */
export function sameNick(one, other) {
  return foldNick(one) === foldNick(other);
}

export function foldNick(nick) {
  return nick.normalize("NFKC").toLowerCase();
}

export class People {
  #byId = new Map();

  constructor() {
    /** False until the server has told who is here. */
    this.isKnown = false;
  }

  /** Takes a MESSAGE of /presence/ROOM; gives {event, person, before} of what happened, or null. */
  take(frame) {
    const value = read(frame);
    if (value === null) return null;
    if (value.event === "here" && Array.isArray(value.people)) {
      this.isKnown = true;
      this.#byId = new Map();
      for (const one of value.people.slice(0, MAX_PEOPLE)) {
        const known = person(one);
        if (known !== null) this.#byId.set(known.id, known);
      }
      return { event: "here" };
    }
    const who = person(value.person);
    if (who === null) return null;
    const known = this.#byId.get(who.id);
    if (value.event === "leave") {
      this.#byId.delete(who.id);
      return known === undefined ? null : { event: "leave", person: known };
    }
    if (value.event !== "join" && value.event !== "rename") return null;
    this.#byId.set(who.id, who);
    const before = typeof value.before === "string" ? cleanNick(value.before) : known?.nick;
    return { event: value.event, person: who, before };
  }

  clear() {
    this.#byId.clear();
    this.isKnown = false;
  }

  /** By name. */
  get list() {
    return [...this.#byId.values()].sort((a, b) => a.nick.localeCompare(b.nick));
  }

  get nicks() {
    return [...this.#byId.values()].map(({ nick }) => nick);
  }
}

export class Rooms {
  #counts = new Map(); // destination -> people

  constructor() {
    this.isKnown = false;
  }

  /** Takes a MESSAGE of /presence/rooms; true if something changed. */
  take(frame) {
    const value = read(frame);
    if (value === null || !Array.isArray(value.rooms)) return false;
    if (value.event === "here") {
      this.#counts.clear();
      this.isKnown = true;
    }
    for (const room of value.rooms) {
      if (typeof room?.destination !== "string" || !Number.isInteger(room.people)) continue;
      this.#counts.set(room.destination, Math.max(0, room.people));
    }
    return true;
  }

  clear() {
    this.#counts.clear();
    this.isKnown = false;
  }

  /** How many people are there; 0 for a room that nobody knows. */
  peopleIn(destination) {
    return this.#counts.get(destination) ?? 0;
  }

  get destinations() {
    return [...this.#counts.keys()];
  }
}
