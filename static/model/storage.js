/**
 * Values that this browser keeps for the page. Where the user has disabled storage, or it is full, the page works
 * and forgets them.
 */

/** Return a browser storage, "localStorage" or "sessionStorage"; null where the browser denies it. */
export function storageOf(name) {
  try {
    return globalThis[name] ?? null;
  } catch {
    return null;
  }
}

/** Remove everything that the page has stored in a browser storage, also that of its frames. */
export function forgetAll(storage) {
  try {
    const keys = Array.from({ length: storage.length }, (_, index) => storage.key(index));
    for (const key of keys) if (key.startsWith("rtchat.")) storage.removeItem(key);
  } catch {
    // Disabled, so nothing is stored.
  }
}

/** Text and JSON values in a Storage; `storage` may be null. */
export class Store {
  #storage;

  constructor(storage) {
    this.#storage = storage;
    /** False if the browser refuses to store values: a reload loses them. */
    this.isKept = storage !== null;
  }

  /** Return the text of a key, "" if there is none. */
  get(key) {
    try {
      return this.#storage.getItem(`rtchat.${key}`) ?? "";
    } catch {
      return "";
    }
  }

  set(key, value) {
    try {
      this.#storage.setItem(`rtchat.${key}`, value);
      this.isKept = true;
    } catch {
      this.isKept = false; // disabled or full
    }
  }

  /** Return the JSON value of a key; `fallback` if there is none, or none of the same type. */
  getJson(key, fallback) {
    try {
      const value = JSON.parse(this.get(key));
      return Array.isArray(value) === Array.isArray(fallback) && typeof value === typeof fallback && value !== null
        ? value
        : fallback;
    } catch {
      return fallback;
    }
  }

  /** Store nothing from now on, and return nothing. */
  close() {
    this.#storage = null;
  }

  setJson(key, value) {
    this.set(key, JSON.stringify(value));
  }
}

/** How far the reader has read each room, by destination. */
export class ReadPositions {
  #store;

  constructor(store) {
    this.#store = store;
  }

  /** Return {epoch, offset} of the last message that was read, or null. */
  of(destination) {
    const [epoch, offset] = this.#all()[destination] ?? [];
    return typeof epoch === "string" && Number.isInteger(offset) ? { epoch, offset } : null;
  }

  /** Record that everything up to `offset` was read. Within an epoch the position never goes back. */
  note(destination, epoch, offset) {
    const before = this.of(destination);
    if (before !== null && before.epoch === epoch && before.offset >= offset) return;
    this.#store.setJson("read", { ...this.#all(), [destination]: [epoch, offset] });
  }

  #all() {
    return this.#store.getJson("read", {});
  }
}
