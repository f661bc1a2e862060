/** The rooms of an IRC client and their members. Names are compared in the way that the server announces. */

import { foldName } from "./irc-format.js";

/** The key of the room for messages of the server itself. */
export const SERVER_ROOM = "";

export class IrcRooms {
  #mapping = "rfc1459";
  #channelSigns = "#&";
  #ranks = "@+"; // highest first
  #pendingNames = new Map(); // room key -> the members in an answer to NAMES that is not complete
  #rooms = new Map();

  constructor() {
    this.of(SERVER_ROOM);
  }

  /** Take the properties that the server announces in its line 005, such as PREFIX=(ov)@+ */
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

  /** Return all rooms in the order of their creation. */
  all() {
    return [...this.#rooms.values()];
  }

  /** Return the room of a channel or person, or undefined. */
  find(name = "") {
    return this.#rooms.get(this.fold(name));
  }

  /**
   * Return the room of a channel or person, a new one if there is none: {key, name, isChannel, isJoined, topic,
   * members}, where members is a Map of key -> {nick, rank}.
   */
  of(name) {
    const key = this.fold(name);
    if (!this.#rooms.has(key)) {
      const isChannel = this.isChannel(name);
      this.#rooms.set(key, { key, name, isChannel, isJoined: false, topic: "", members: new Map() });
    }
    return this.#rooms.get(key);
  }

  /** Forget a person, or a channel that we are not in. Return whether there was one. */
  forget(key) {
    return key !== SERVER_ROOM && !this.#rooms.get(key)?.isJoined && this.#rooms.delete(key);
  }

  enter(room, nick) {
    room.members.set(this.fold(nick), { nick, rank: "" });
  }

  /** Return whether the person was in the room. */
  leave(room, nick) {
    return room.members.delete(this.fold(nick));
  }

  /** Return whether the person was in the room. */
  rename(room, nick, next) {
    const member = room.members.get(this.fold(nick));
    if (member === undefined) return false;
    room.members.delete(this.fold(nick));
    room.members.set(this.fold(next), { ...member, nick: next });
    return true;
  }

  /** Take a part of the answer to NAMES, such as "@ada +bob carol". */
  addNames(channel, list) {
    const key = this.fold(channel);
    if (!this.#pendingNames.has(key)) this.#pendingNames.set(key, new Map());
    for (const word of list.split(" ")) {
      let start = 0;
      while (start < word.length && this.#ranks.includes(word[start])) start++;
      const nick = word.slice(start).split("!")[0];
      if (nick !== "") this.#pendingNames.get(key).set(this.fold(nick), { nick, rank: word.slice(0, Math.min(start, 1)) });
    }
  }

  /** Take the end of the answer to NAMES. Return the room whose members are known now, or undefined. */
  endNames(channel) {
    const room = this.find(channel);
    const members = this.#pendingNames.get(this.fold(channel));
    this.#pendingNames.delete(this.fold(channel));
    if (room === undefined || !room.isJoined || members === undefined) return undefined;
    room.members = members;
    return room;
  }

  /** Return the members of a room: by rank, then by name. */
  membersOf(room) {
    const order = ({ rank }) => (rank === "" ? this.#ranks.length : this.#ranks.indexOf(rank));
    return [...room.members.values()].sort((a, b) => order(a) - order(b) || a.nick.localeCompare(b.nick));
  }
}
