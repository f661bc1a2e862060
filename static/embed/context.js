/** Where the chat is shown: on its own page, or in a frame of another page, which may have several. */

import { forgetAll, storageOf as browserStorageOf } from "../model/storage.js";

/** What all frames share that belong to one person; see model/identity.js. */
const SHARED_KEYS = ["rtchat.token", "rtchat.nick", "rtchat.ids", "rtchat.user", "rtchat.given"];
/** The property of a frame's window that holds transient storages for all frames of the page. */
const TRANSIENT_STORAGES = Symbol.for("rtchat.passing");

/**
 * Return the context that a frame's address describes, null for the chat's own page: `host`, the origin of the page
 * around it; `room`; `window`, the number of the frame in that page; `nick`, the nickname that the page suggests.
 */
export function readContext({ pathname, search }) {
  if (pathname !== "/embed") return null;
  const query = new URLSearchParams(search);
  const of = (name) => query.get(name) ?? "";
  return { host: of("host"), room: of("room"), window: /^\d{1,6}$/.exec(of("window"))?.[0] ?? "", nick: of("nick") };
}

/** A storage in which every frame has keys of its own, except for those of the person. */
export class ScopedStorage {
  #storage;
  #context;

  constructor(storage, context) {
    this.#storage = storage;
    this.#context = context;
  }

  getItem(key) {
    return this.#storage.getItem(this.#scoped(key));
  }

  setItem(key, value) {
    this.#storage.setItem(this.#scoped(key), value);
  }

  removeItem(key) {
    this.#storage.removeItem(this.#scoped(key));
  }

  #scoped(key) {
    const { host, room, window, nick } = this.#context;
    if (!SHARED_KEYS.includes(key)) return `rtchat.in ${host} ${window} ${room} ${key}`;
    // A nickname that a page suggests holds for that page: who is called so there is a person of its own.
    return nick === "" ? key : `rtchat.as ${host} ${nick} ${key}`;
  }
}

/** The context of this frame, null on the chat's own page. */
export const embedContext = readContext(globalThis.location ?? {});

/** Return a browser storage, "localStorage" or "sessionStorage"; null where the browser denies it. */
export function storageOf(name) {
  const storage = browserStorageOf(name);
  return storage === null || embedContext === null ? storage : new ScopedStorage(storage, embedContext);
}

/**
 * Return a storage for values that the frames of a page share. A browser may deny storage to a frame in a page of
 * another site; then the frames of that page share one in memory, which ends with the page.
 */
export function sharedStorageOf(name) {
  if (embedContext === null) return storageOf(name);
  return storageOf(name) ?? new ScopedStorage(transientStorage(name), embedContext);
}

/**
 * Forget everything that belongs to the person, in these storages of the browser or, without them, in the frames of this
 * page.
 */
export function forgetPerson(names) {
  for (const name of names) {
    const storage = browserStorageOf(name);
    if (storage !== null) forgetAll(storage);
    else if (embedContext !== null) forgetAll(transientStorage(name));
  }
}

/**
 * Return whether the browser keeps a log-in here. A frame in a page of another site has neither the cookies that are
 * only for pages of their own site, nor can it get some; what the browser says of one that scripts see holds for those
 * that they do not see.
 */
export function canLogIn() {
  if (embedContext === null) return true;
  const probe = "rtchat_probe=1";
  try {
    document.cookie = `${probe}; SameSite=Lax`;
    const isKept = document.cookie.includes(probe);
    document.cookie = `${probe}; SameSite=Lax; Max-Age=0`;
    return isKept;
  } catch {
    return false; // in a sandbox
  }
}

/** Return the storage in memory that a frame of this page has made, or a new one. */
function transientStorage(name) {
  for (let index = 0; index < parent.length; index++) {
    try {
      const storages = parent[index][TRANSIENT_STORAGES];
      if (storages !== undefined) return storages[name];
    } catch {
      // A frame of another origin.
    }
  }
  const storages = { localStorage: new TransientStorage(), sessionStorage: new TransientStorage() };
  globalThis[TRANSIENT_STORAGES] = storages;
  return storages[name];
}

/** A storage in memory. */
class TransientStorage {
  #values = new Map();

  getItem(key) {
    return this.#values.get(key) ?? null;
  }

  setItem(key, value) {
    this.#values.set(key, value);
  }

  removeItem(key) {
    this.#values.delete(key);
  }

  get length() {
    return this.#values.size;
  }

  key(index) {
    return [...this.#values.keys()][index] ?? null;
  }
}
