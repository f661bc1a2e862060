/** The rooms of an IRC client, and who is in them: names compared as the server says. No DOM in here. */

import { foldName } from "./irc-wire.js";

/** The key of the room in which the server speaks. */
export const SERVER_ROOM = "";

export class IrcRooms {
  #mapping = "rfc1459";
  #channelSigns = "#&";
  #ranks = "@+"; // highest first
  #told = new Map(); // room key -> members that the answer to NAMES has told so far
  #rooms = new Map();

  constructor() {
    this.of(SERVER_ROOM);
  }

  /** What the server says of itself in its line 005: words such as PREFIX=(ov)@+ */
  learn(words) {
    for (const word of words) {
      const [name, value = ""] = word.split("=");
      if (name === "CASEMAPPING") this.#mapping = value;
      else if (name === "CHANTYPES") this.#channelSigns = value;
      else if (name === "PREFIX") this.#ranks = value.replace(/^\(.*\)/, "");
    }
  }

  get server() {
    return this.#rooms.get(SERVER_ROOM);
  }

  fold(name) {
    return foldName(name, this.#mapping);
  }

  isSame(one, other) {
    return this.fold(one) === this.fold(other);
  }

  isChannel(name) {
    return name !== "" && this.#channelSigns.includes(name[0]);
  }

  /** Every room there is, in the order in which they came. */
  all() {
    return [...this.#rooms.values()];
  }

  /** The room of a channel or person, or undefined. */
  find(name = "") {
    return this.#rooms.get(this.fold(name));
  }

  /**
   * The room of a channel or person, made when there is none: {key, name, isChannel, isJoined, topic, members}, where
   * members is a Map of key -> {nick, rank}.
   */
  of(name) {
    const key = this.fold(name);
    if (!this.#rooms.has(key)) {
      const isChannel = this.isChannel(name);
      this.#rooms.set(key, { key, name, isChannel, isJoined: false, topic: "", members: new Map() });
    }
    return this.#rooms.get(key);
  }

  /** Forgets a person, or a room that we are not in; tells whether it was there. */
  forget(key) {
    return key !== SERVER_ROOM && !this.#rooms.get(key)?.isJoined && this.#rooms.delete(key);
  }

  enter(room, nick) {
    room.members.set(this.fold(nick), { nick, rank: "" });
  }

  /** Tells whether the person was in the room. */
  leave(room, nick) {
    return room.members.delete(this.fold(nick));
  }

  /** Tells whether the person was in the room. */
  rename(room, nick, next) {
    const member = room.members.get(this.fold(nick));
    if (member === undefined) return false;
    room.members.delete(this.fold(nick));
    room.members.set(this.fold(next), { ...member, nick: next });
    return true;
  }

  /** A part of the answer to NAMES: "@ada +bob carol". */
  addNames(channel, list) {
    const key = this.fold(channel);
    if (!this.#told.has(key)) this.#told.set(key, new Map());
    for (const word of list.split(" ")) {
      let start = 0;
      while (start < word.length && this.#ranks.includes(word[start])) start++;
      const nick = word.slice(start).split("!")[0];
      if (nick !== "") this.#told.get(key).set(this.fold(nick), { nick, rank: word.slice(0, Math.min(start, 1)) });
    }
  }

  /** The answer to NAMES is whole: gives the room whose members are known now, or undefined. */
  endNames(channel) {
    const room = this.find(channel);
    const members = this.#told.get(this.fold(channel));
    this.#told.delete(this.fold(channel));
    if (room === undefined || !room.isJoined || members === undefined) return undefined;
    room.members = members;
    return room;
  }

  /** Who is in a room, those with a rank first, then by name. */
  membersOf(room) {
    const order = ({ rank }) => (rank === "" ? this.#ranks.length : this.#ranks.indexOf(rank));
    return [...room.members.values()].sort((a, b) => order(a) - order(b) || a.nick.localeCompare(b.nick));
  }
}
