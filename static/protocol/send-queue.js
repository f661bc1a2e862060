/**
 * The messages that are not known to have arrived.
 *
 * Every message has an id, which is sent in its body and as its receipt header. It stays in the queue, which survives
 * a reload, until the server's RECEIPT (or the message itself) comes back. After a reconnect, what is left is sent
 * again under the same id, and pages that have seen the id drop it: nothing is lost and nothing is shown twice.
 */

import { newId } from "../model/ids.js";

const MAX_OWN_IDS = 1000;
const OWN_KEY = "rtchat.own";

function isEntry(value) {
  return (
    typeof value === "object" &&
    value !== null &&
    ["id", "destination", "text"].every((key) => typeof value[key] === "string") &&
    typeof value.at === "number" &&
    typeof value.isAction === "boolean" &&
    (value.refused === null || typeof value.refused === "string") &&
    ["undefined", "string"].includes(typeof value.receiverId)
  );
}

/**
 * An entry has `id`, `destination`, `text`, `isAction`, `at` (ms since 1970), `refused` (why the server refused it, or
 * null), once it was sent `sentAs`, the nickname in it, and after address() `receiverId`. `storage` keeps the entries, as sessionStorage does; if it
 * throws or is null, they do not survive a reload. `ownStorage`, as localStorage, keeps the ids of this browser's own
 * messages, for servers that do not say who sent a message.
 */
export class SendQueue {
  #storage;
  #key;
  #entries = new Map(); // id -> entry, oldest first
  #sent = new Set(); // ids that were sent on the current connection
  #ownIds = new Set();
  #ownStorage;

  // The key is older than the name of this class; messages that wait in browsers stand under it.
  constructor(storage, ownStorage = null, key = "rtchat.outbox") {
    this.#storage = storage;
    this.#ownStorage = ownStorage;
    this.#key = key;
    /** False if the browser refuses to store the entries: a reload would lose them. */
    this.isKept = storage !== null;
    for (const id of this.#loadOwn()) this.#ownIds.add(id);
    for (const entry of this.#load()) {
      this.#entries.set(entry.id, entry);
      this.#ownIds.add(entry.id);
    }
  }

  get entries() {
    return [...this.#entries.values()];
  }

  /** Add a message; `id` is given if it was sent before and did not arrive. */
  add({ id = newId(), destination, text, at, isAction = false }) {
    const entry = { id, destination, text, at, isAction, refused: null };
    this.#entries.set(entry.id, entry);
    this.#ownIds.add(entry.id);
    this.#save();
    this.#saveOwn(entry.id);
    return entry;
  }

  get(id) {
    return this.#entries.get(id);
  }

  /** Address the messages to this destination to one person, because the conversation that knows the person ends. */
  address(destination, receiverId) {
    for (const entry of this.#entries.values()) if (entry.destination === destination) entry.receiverId = receiverId;
    this.#save();
  }

  /** Return whether this browser made the message, also after it has left the queue. */
  isOwn(id) {
    return this.#ownIds.has(id);
  }

  /**
   * Call `send(entry)` for every entry that is due and for which `may(entry)` is true, oldest first. If send throws,
   * that entry and the rest stay due.
   */
  flush(send, may = () => true) {
    for (const entry of this.#entries.values()) {
      if (entry.refused !== null || this.#sent.has(entry.id) || !may(entry)) continue;
      send(entry);
      this.#sent.add(entry.id);
    }
  }

  /** The connection is gone: unconfirmed entries become due again. */
  disconnected() {
    this.#sent.clear();
  }

  /** The message has arrived. Return whether it was in the queue. */
  confirm(id) {
    const was = this.#entries.delete(id);
    this.#sent.delete(id);
    if (was) this.#save();
    return was;
  }

  /** The server has refused the message: it is due only after retry(). Return whether it was in the queue. */
  refuse(id, reason) {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    entry.refused = reason;
    this.#save();
    return true;
  }

  /** Make a refused message due again. */
  retry(id) {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.refused = null;
    this.#sent.delete(id);
    this.#save();
  }

  #load() {
    try {
      const stored = JSON.parse(this.#storage.getItem(this.#key) || "[]");
      return Array.isArray(stored) ? stored.filter(isEntry) : [];
    } catch {
      return [];
    }
  }

  #loadOwn() {
    try {
      const stored = JSON.parse(this.#ownStorage.getItem(OWN_KEY) || "[]");
      return Array.isArray(stored) ? stored.filter((id) => typeof id === "string") : [];
    } catch {
      return [];
    }
  }

  /** Other windows of this browser write the same list, so it is read first. */
  #saveOwn(id) {
    try {
      this.#ownStorage.setItem(OWN_KEY, JSON.stringify([...this.#loadOwn(), id].slice(-MAX_OWN_IDS)));
    } catch {
      // After a reload, own messages look like those of other people.
    }
  }

  #save() {
    try {
      this.#storage.setItem(this.#key, JSON.stringify(this.entries));
      this.isKept = true;
    } catch {
      this.isKept = false;
    }
  }
}
