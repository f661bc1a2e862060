/** What this browser remembers of the chat; where the user has turned that off, the page works and forgets. */

/** A storage by its name, "localStorage" or "sessionStorage"; null where there is none. */
export function storageOf(name) {
  try {
    return globalThis[name] ?? null;
  } catch {
    return null;
  }
}

export class Memory {
  #storage;

  constructor(storage) {
    this.#storage = storage;
  }

  /** The text, "" if there is none. */
  recall(key) {
    try {
      return this.#storage.getItem(`rtchat.${key}`) ?? "";
    } catch {
      return "";
    }
  }

  remember(key, value) {
    try {
      this.#storage.setItem(`rtchat.${key}`, value);
    } catch {
      // Turned off or full.
    }
  }

  /** What was remembered as JSON; `otherwise` if that is not there or of another kind. */
  recallJson(key, otherwise) {
    try {
      const value = JSON.parse(this.recall(key));
      return Array.isArray(value) === Array.isArray(otherwise) && typeof value === typeof otherwise && value !== null
        ? value
        : otherwise;
    } catch {
      return otherwise;
    }
  }

  rememberJson(key, value) {
    this.remember(key, JSON.stringify(value));
  }
}

/** How far each room was read, by destination. */
export class Reading {
  #memory;

  constructor(memory) {
    this.#memory = memory;
  }

  /** {epoch, offset} or null. */
  of(destination) {
    const [epoch, offset] = this.#all()[destination] ?? [];
    return typeof epoch === "string" && Number.isInteger(offset) ? { epoch, offset } : null;
  }

  /** Notes that everything up to `offset` was read; never goes back within an epoch. */
  note(destination, epoch, offset) {
    const before = this.of(destination);
    if (before !== null && before.epoch === epoch && before.offset >= offset) return;
    this.#memory.rememberJson("read", { ...this.#all(), [destination]: [epoch, offset] });
  }

  #all() {
    return this.#memory.recallJson("read", {});
  }
}
