/** Where the chat is shown: on its own page, or in a frame of another page, maybe one of several. No DOM in here. */

import { storageOf as wholeStorageOf } from "../model/memory.js";

/** All frames of one browser tab belong to one person. */
const OF_THE_PERSON = ["rtchat.token", "rtchat.nick"];
const PASSING = Symbol.for("rtchat.passing");

/**
 * What the address of a frame tells, null for the chat's own page: the origin of the page around it, the room, which of
 * that page's frames it is (a number), and the nickname that the page gives.
 */
export function readPlace({ pathname, search }) {
  if (pathname !== "/embed") return null;
  const query = new URLSearchParams(search);
  const of = (name) => query.get(name) ?? "";
  return { host: of("host"), room: of("room"), window: /^\d{1,6}$/.exec(of("window"))?.[0] ?? "", nick: of("nick") };
}

/** A storage in which each frame keeps to itself what is not the person's. */
export class Compartment {
  #storage;
  #place;

  constructor(storage, place) {
    this.#storage = storage;
    this.#place = place;
  }

  getItem(key) {
    return this.#storage.getItem(this.#inside(key));
  }

  setItem(key, value) {
    this.#storage.setItem(this.#inside(key), value);
  }

  removeItem(key) {
    this.#storage.removeItem(this.#inside(key));
  }

  #inside(key) {
    const { host, room, window, nick } = this.#place;
    // A nickname that a page gives is one for that page.
    const isShared = OF_THE_PERSON.includes(key) && !(key === "rtchat.nick" && nick !== "");
    return isShared ? key : `rtchat.in ${host} ${window} ${room} ${key}`;
  }
}

export const place = readPlace(globalThis.location ?? {});

/** A storage by its name, "localStorage" or "sessionStorage"; null where there is none. */
export function storageOf(name) {
  const storage = wholeStorageOf(name);
  return storage === null || place === null ? storage : new Compartment(storage, place);
}

/**
 * A storage for what the frames of one page have to know of each other. Where the browser gives a frame none, because
 * the page around it is of another site, the frames of that page share one that ends with the page.
 */
export function sharedStorageOf(name) {
  return place === null ? storageOf(name) : (storageOf(name) ?? new Compartment(passing(name), place));
}

/** The storage that some frame of this page began, or a new one. */
function passing(name) {
  for (let index = 0; index < parent.length; index++) {
    try {
      const storages = parent[index][PASSING];
      if (storages !== undefined) return storages[name];
    } catch {
      // Not one of ours.
    }
  }
  globalThis[PASSING] = { localStorage: new Passing(), sessionStorage: new Passing() };
  return globalThis[PASSING][name];
}

/** A storage that nothing keeps. */
class Passing {
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
}

/** The headers of CONNECT that tell one person's windows apart. */
export function windowHeaders() {
  return place === null || place.window === "" ? {} : { "x-presence-window": place.window };
}
