/**
 * The messages that are not known to have arrived, and the ids of those that have been shown.
 * No DOM and no socket in here.
 *
 * Every message gets an id that travels as its correlation-id and as its receipt. It stays in the outbox,
 * which survives a reload, until the server's receipt (or the message itself) comes back. After a
 * reconnect whatever is left goes out again under the same id, and pages that have seen the id drop it:
 * nothing is lost and nothing is shown twice.
 */

const MAX_SEEN_IDS = 10000;
const MAX_ID_CHARS = 200;

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
    ["id", "destination", "nick", "text"].every((key) => typeof value[key] === "string") &&
    typeof value.at === "number" &&
    (value.refused === null || typeof value.refused === "string")
  );
}

/**
 * An entry: id, destination, nick, text, at (ms since 1970), refused (why the server did not take it, or null).
 * `storage` is anything like sessionStorage; one that throws or is null costs the survival of a reload only.
 */
export class Outbox {
  #storage;
  #key;
  #entries = new Map(); // id -> entry, oldest first
  #sent = new Set(); // ids that went out on the connection there is now
  #ownIds = new Set();

  constructor(storage, key = "rtchat.outbox") {
    this.#storage = storage;
    this.#key = key;
    /** False when the browser refuses to store: a reload would lose what waits. */
    this.isKept = storage !== null;
    for (const entry of this.#load()) {
      this.#entries.set(entry.id, entry);
      this.#ownIds.add(entry.id);
    }
  }

  get entries() {
    return [...this.#entries.values()];
  }

  add({ destination, nick, text, at }) {
    const entry = { id: newId(), destination, nick, text, at, refused: null };
    this.#entries.set(entry.id, entry);
    this.#ownIds.add(entry.id);
    this.#save();
    return entry;
  }

  /** True for the id of any message that this page made, also after it has left the outbox. */
  isOwn(id) {
    return this.#ownIds.has(id);
  }

  /** Hands every entry that is due to `send(entry)`, oldest first. Stops when send throws: the rest stays. */
  flush(send) {
    for (const entry of this.#entries.values()) {
      if (entry.refused !== null || this.#sent.has(entry.id)) continue;
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

  #save() {
    try {
      this.#storage.setItem(this.#key, JSON.stringify(this.entries));
      this.isKept = true;
    } catch {
      this.isKept = false;
    }
  }
}
