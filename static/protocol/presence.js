/** The people in a room, and the rooms on the server, from its presence messages. */

import { cleanNick, foldNick } from "../model/nicknames.js";

const MAX_PEOPLE = 5000;
const collator = new Intl.Collator();
/** Anyone can write to any name, so of the rooms without people only the latest are remembered. */
const MAX_EMPTY_ROOMS = 100;

/** Return the object in the body of a frame, or null. */
function readJson(frame) {
  if (typeof frame.body !== "string") return null;
  try {
    const value = JSON.parse(frame.body);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** Return {id, nick} of a person in a presence message, or null. */
function readPerson(value) {
  if (typeof value !== "object" || value === null || typeof value.nick !== "string") return null;
  const nick = cleanNick(value.nick);
  return nick === "" ? null : { id: String(value.id ?? nick), nick };
}

/** The people in one room. */
export class People {
  #byId = new Map();

  constructor() {
    /** False until the server has sent the list of people. */
    this.isKnown = false;
  }

  /**
   * Take a MESSAGE of /presence/ROOM. Return what happened as {event, person, before}, or null; `event` is "here" (the
   * whole list), "join", "leave" or "rename".
   */
  take(frame) {
    const value = readJson(frame);
    if (value === null) return null;
    if (value.event === "here" && Array.isArray(value.people)) {
      this.isKnown = true;
      this.#byId = new Map();
      for (const one of value.people.slice(0, MAX_PEOPLE)) {
        const known = readPerson(one);
        if (known !== null) this.#byId.set(known.id, known);
      }
      return { event: "here" };
    }
    const who = readPerson(value.person);
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

  /** {id, nick} of everyone, sorted by nickname. */
  get list() {
    return [...this.#byId.values()].sort((a, b) => collator.compare(a.nick, b.nick));
  }

  /** Return the id of the person with this nickname, or null. */
  idOf(nick) {
    const key = foldNick(nick);
    for (const one of this.#byId.values()) if (foldNick(one.nick) === key) return one.id;
    return null;
  }

  get nicks() {
    return [...this.#byId.values()].map(({ nick }) => nick);
  }
}

/** The rooms on the server, each with the number of people in it. */
export class RoomDirectory {
  #counts = new Map(); // destination -> number of people

  constructor() {
    this.isKnown = false;
  }

  /** Take a MESSAGE of /presence/rooms. Return whether something changed. */
  take(frame) {
    const value = readJson(frame);
    if (value === null || !Array.isArray(value.rooms)) return false;
    if (value.event === "here") {
      this.#counts.clear();
      this.isKnown = true;
    }
    for (const room of value.rooms) {
      if (typeof room?.destination !== "string" || !Number.isInteger(room.people)) continue;
      this.#counts.delete(room.destination);
      this.#counts.set(room.destination, Math.max(0, room.people));
    }
    const empty = this.destinations.filter((destination) => this.peopleIn(destination) === 0);
    for (const destination of empty.slice(0, -MAX_EMPTY_ROOMS)) this.#counts.delete(destination);
    return true;
  }

  clear() {
    this.#counts.clear();
    this.isKnown = false;
  }

  /** The number of people in a room; 0 for an unknown room. */
  peopleIn(destination) {
    return this.#counts.get(destination) ?? 0;
  }

  get destinations() {
    return [...this.#counts.keys()];
  }
}
