/**
 * Private conversations, one for each person. A person is known by the public id that the server gives; the nickname
 * says how the person is called now, and finds a person whose id is not known yet.
 */

import { Conversation } from "../model/conversation.js";
import { cleanNick, foldNick, sameNick } from "../model/nicknames.js";
import { cut } from "../model/text.js";
import { readBody, stampedAt } from "./messages.js";

/** Where the server delivers this session's private messages. */
export const PRIVATE_QUEUE = "/user/queue/private";
const MAX_CONVERSATIONS = 100;
const MAX_STALE_NICK_CHARS = 26;
const SAVE_AFTER_MS = 300;

/** Return whether messages to this destination are private. */
export function isPrivateDestination(destination) {
  return destination.startsWith("/user/");
}

/** Return the destination of the person who is called so. */
const destinationOf = (nick) => `/user/${nick}/queue/private`;

export class PrivateMessages {
  #talks = []; // {conversation, personId}, the latest last
  #ownId = null;
  #store;
  #timers;
  #timer = null;

  /** `store` is a TalkStore, or null if nothing is kept. */
  constructor(store, timers) {
    this.#store = store;
    this.#timers = timers;
    this.onopen = () => {}; // (conversation) a new one
    this.onsenderchange = () => {}; // (conversation, nick) the nickname belongs to another person now
    this.onrename = () => {}; // (conversation, nick before) the person is called otherwise now
  }

  get conversations() {
    return this.#talks.map(({ conversation }) => conversation);
  }

  /** Whether a reload of this window finds the conversations. */
  get isKept() {
    return this.#store !== null && this.#store.isKept;
  }

  /**
   * Return the conversation with a person, a new one if there is none; null if there are too many. `personId` is null
   * if only the nickname is known.
   */
  with(nick, personId = null) {
    const known = this.#talks.find((talk) => personId !== null && talk.personId === personId);
    if (known !== undefined) {
      this.#rename(known, nick);
      return known.conversation;
    }
    const called = this.#called(nick);
    const isAnother = called !== undefined && personId !== null && called.personId !== null;
    const talk = isAnother || called === undefined ? this.#open(nick) : called;
    if (talk === null) return null;
    if (personId !== null) {
      talk.personId = personId;
      this.#rename(talk, nick);
      this.#changed();
    }
    if (isAnother) {
      // The server gives a name to one person at a time: what was said to the one before stays with that person.
      this.#setAside(called);
      this.onsenderchange(talk.conversation, nick);
    }
    return talk.conversation;
  }

  close(conversation) {
    this.#talks = this.#talks.filter((talk) => talk.conversation !== conversation);
    this.#changed();
  }

  /** Open the conversations that an earlier page of this window has kept. */
  restore() {
    if (this.#store === null) return;
    const { ownId, talks } = this.#store.load();
    this.#ownId = ownId;
    for (const { nick, personId, destination, unread, messages } of talks) {
      const talk = this.#open(nick, destination);
      if (talk === null) return;
      talk.personId = personId;
      talk.conversation.restore(messages, unread);
    }
  }

  /** Store the conversations now. */
  keep() {
    this.#timers.clearTimeout(this.#timer);
    this.#timer = null;
    this.#store?.save(this.#ownId, this.#talks);
  }

  /** Return {destination, headers} for a SEND to the person in the conversation with this key. */
  addressOf(key) {
    const talk = this.#talks.find(({ conversation }) => conversation.destination === key);
    const headers = { "x-copy": "true" };
    if (talk === undefined) return { destination: key, headers };
    if (talk.personId !== null) headers["x-receiver-id"] = talk.personId;
    return { destination: destinationOf(talk.conversation.nick), headers };
  }

  /**
   * The server knows the reader by this id. A server that has restarted gives other ids; return the conversations with
   * people who were known before, and may not be those who have their names now.
   */
  login(ownId) {
    if (this.#ownId === ownId) return [];
    const unsure = this.#ownId === null ? [] : this.#talks.filter(({ personId }) => personId !== null);
    for (const talk of unsure) talk.personId = null;
    this.#ownId = ownId;
    if (this.#talks.length > 0) this.#changed();
    return unsure.map(({ conversation }) => conversation);
  }

  /** Note how people are called whom the reader talks to; `change` is what People.take() returned of a room. */
  hearOf(change, everyone, ownId) {
    if (change.event === "leave") return;
    const people = change.event === "here" ? everyone : [change.person];
    for (const one of people) if (one.id !== ownId) this.hear(one, change.before);
  }

  /** The person with this id is called so now; `before` is the nickname until now, if it is known. */
  hear({ id, nick }, before = nick) {
    const talk =
      this.#talks.find(({ personId }) => personId === id) ??
      this.#talks.find(({ personId, conversation }) => personId === null && sameNick(conversation.nick, before));
    if (talk === undefined) return;
    talk.personId = id;
    this.#rename(talk, nick);
    this.#changed();
  }

  /**
   * Take a MESSAGE from PRIVATE_QUEUE. Return {conversation, row} if it is a new message of another person, else null.
   */
  take(frame, now) {
    const { headers } = frame;
    const body = readBody(frame);
    if (headers["x-undelivered"] === "true") {
      for (const { conversation } of this.#talks) conversation.undelivered(body.id);
      return null;
    }
    const senderId = headers["x-sender-id"] ?? null;
    const isCopy = headers["x-receiver-id"] !== undefined;
    const nick = cleanNick(headers["x-sender"] ?? "");
    const other = isCopy ? cleanNick(headers["x-receiver"] ?? "") : nick;
    // A sender without a nickname cannot be answered.
    const conversation = other === "" ? null : this.with(other, isCopy ? headers["x-receiver-id"] : senderId);
    if (conversation === null || conversation.isPending(body.id)) return null; // its own RECEIPT settles it
    const at = stampedAt(headers) ?? now;
    const row = conversation.add({ ...body, senderId, nick, at, offset: null, isOwn: isCopy, live: true });
    return row === null || isCopy ? null : { conversation, row };
  }

  #changed() {
    if (this.#store !== null) this.#timer ??= this.#timers.setTimeout(() => this.keep(), SAVE_AFTER_MS);
  }

  #called(nick) {
    const key = foldNick(nick);
    return this.#talks.findLast(({ conversation }) => foldNick(conversation.nick) === key);
  }

  #open(nick, destination = null) {
    if (this.#talks.length >= MAX_CONVERSATIONS) return null;
    let key = destination ?? destinationOf(nick);
    // A conversation keeps its key when the person is renamed, so another may have it. Spaces do not matter in names.
    for (let spaces = " "; destination === null && this.#has(key); spaces += " ") key = destinationOf(`${nick}${spaces}`);
    const conversation = new Conversation({ nick, destination: key });
    conversation.onkeep = () => this.#changed();
    const talk = { conversation, personId: null };
    this.#talks.push(talk);
    this.onopen(conversation);
    return talk;
  }

  #has(key) {
    return this.#talks.some(({ conversation }) => conversation.destination === key);
  }

  #rename(talk, nick) {
    const before = talk.conversation.nick;
    if (before === nick) return;
    const other = this.#called(nick);
    talk.conversation.nick = nick;
    this.onrename(talk.conversation, before);
    if (other !== undefined && other !== talk) this.#setAside(other);
  }

  /** The name of this conversation belongs to another person: give it one of its own. */
  #setAside(talk) {
    const before = talk.conversation.nick;
    let nick = before;
    for (let number = 2; this.#called(nick) !== undefined; number++) {
      nick = `${cut(before, MAX_STALE_NICK_CHARS)} (${number})`;
    }
    talk.conversation.nick = nick;
    this.onrename(talk.conversation, before);
  }
}
