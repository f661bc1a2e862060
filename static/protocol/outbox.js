/**
 * The messages that are not known to have arrived, and the ids of those that have been shown.
 * No DOM and no socket in here.
 *
 * Every message gets an id that travels in its body and as its receipt. It stays in the outbox,
 * which survives a reload, until the server's receipt (or the message itself) comes back. After a
 * reconnect whatever is left goes out again under the same id, and pages that have seen the id drop it:
 * nothing is lost and nothing is shown twice.
 */

const MAX_SEEN_IDS = 10000;
const MAX_ID_CHARS = 200;
const MAX_OWN_IDS = 1000;
const OWN_KEY = "rtchat.own";

/** 128 random bits in hex. crypto.randomUUID exists on https and localhost only, getRandomValues everywhere. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Remembers the latest ids. */
export class SeenIds {
  #ids = new Set();
  #limit;

  constructor(limit = MAX_SEEN_IDS) {
    this.#limit = limit;
  }

  /** True if the id is new. An id that is missing or oversized is taken as no id: always new. */
  add(id) {
    if (typeof id !== "string" || id === "" || id.length > MAX_ID_CHARS) return true;
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > this.#limit) this.#ids.delete(this.#ids.values().next().value);
    return true;
  }
}

function isEntry(value) {
  return (
    typeof value === "object" &&
    value !== null &&
    ["id", "destination", "text"].every((key) => typeof value[key] === "string") &&
    typeof value.at === "number" &&
    typeof value.isAction === "boolean" &&
    (value.refused === null || typeof value.refused === "string")
  );
}

/**
 * An entry: id, destination, text, isAction, at (ms since 1970), refused (why the server did not take it, or null).
 * `storage` is anything like sessionStorage; one that throws or is null costs the survival of a reload only.
 * `ownStorage`, like localStorage, is where the ids of one's own messages are remembered.
 */
export class Outbox {
  #storage;
  #key;
  #entries = new Map(); // id -> entry, oldest first
  #sent = new Set(); // ids that went out on the connection there is now
  #ownIds = new Set();
  #ownStorage;

  constructor(storage, ownStorage = null, key = "rtchat.outbox") {
    this.#storage = storage;
    this.#ownStorage = ownStorage;
    this.#key = key;
    /** False when the browser refuses to store: a reload would lose what waits. */
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

  add({ destination, text, at, isAction = false }) {
    const entry = { id: newId(), destination, text, at, isAction, refused: null };
    this.#entries.set(entry.id, entry);
    this.#ownIds.add(entry.id);
    this.#save();
    this.#saveOwn(entry.id);
    return entry;
  }

  get(id) {
    return this.#entries.get(id);
  }

  /** True for the id of any message that this browser made, also after it has left the outbox. */
  isOwn(id) {
    return this.#ownIds.has(id);
  }

  /**
   * Hands every entry that is due, and that `may(entry)` go out, to `send(entry)`, oldest first.
   * Stops when send throws: the rest stays.
   */
  flush(send, may = () => true) {
    for (const entry of this.#entries.values()) {
      if (entry.refused !== null || this.#sent.has(entry.id) || !may(entry)) continue;
      send(entry);
      this.#sent.add(entry.id);
    }
  }

  /** The connection is gone: whatever is unconfirmed will have to go out again. */
  disconnected() {
    this.#sent.clear();
  }

  /** The message has arrived. True if it was in the outbox. */
  confirm(id) {
    const was = this.#entries.delete(id);
    this.#sent.delete(id);
    if (was) this.#save();
    return was;
  }

  /** The server does not take this message: it is not sent again by itself. True if it was in the outbox. */
  refuse(id, reason) {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    entry.refused = reason;
    this.#save();
    return true;
  }

  /** A refused message becomes due again. */
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

  /** Other windows of this browser write there too, so it is read first. */
  #saveOwn(id) {
    try {
      this.#ownStorage.setItem(OWN_KEY, JSON.stringify([...this.#loadOwn(), id].slice(-MAX_OWN_IDS)));
    } catch {
      // After a reload one's own messages look like anybody's.
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
