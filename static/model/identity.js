/**
 * The person in front of this browser. All windows of a browser profile share one: the same secret, and so the same
 * name and the same public id at the server.
 */

import { newId } from "./ids.js";
import { chosenNick } from "./nicknames.js";

/** The server gives a person another public id each time that it starts. */
const MAX_PUBLIC_IDS = 200;

export class Identity {
  #store;
  #token = newId(); // unless the browser keeps one
  #publicIds;

  /**
   * `store` is shared by all windows of this browser, as localStorage is. `hasLogIn`: the server knows users, and
   * their nicknames.
   */
  constructor(store, { hasLogIn = false } = {}) {
    this.#store = store;
    this.hasLogIn = hasLogIn || this.user !== "";
    this.#publicIds = new Set(this.#stored());
  }

  /** The secret by which the server recognises the person. */
  get token() {
    // It is read each time, because another window may have been the first to store one.
    const stored = this.#store.get("token");
    if (stored !== "") this.#token = stored;
    else this.#store.set("token", this.#token);
    return this.#token;
  }

  /** The nickname that the person had last, in any window; "" before the first one. */
  get nick() {
    return chosenNick(this.#store.get("nick"));
  }

  set nick(nick) {
    this.#store.set("nick", nick);
  }

  /** The name under which the person was logged in last, in any window; "" for an anonymous person. */
  get user() {
    return this.#store.get("user");
  }

  set user(name) {
    this.#store.set("user", name);
    if (name !== "") this.hasLogIn = true;
  }

  /** The nickname that the server has given to that user, "" for none. */
  get givenNick() {
    return this.#store.get("given");
  }

  set givenNick(nick) {
    this.#store.set("given", nick);
  }

  /** Return whether this nickname, or "", need not be asked for: the server knows how the user is called. */
  isGiven(nick) {
    return nick === "" || (this.user !== "" && nick === this.givenNick);
  }

  /** Return the headers of CONNECT that identify the person in one window. */
  connectHeaders(nick, windowId) {
    if (nick === "" && !this.hasLogIn) return {};
    const person = { "x-presence-token": this.token, "x-presence-window": windowId };
    return this.isGiven(nick) ? person : { nick, ...person };
  }

  /** Take the public id that the server has given to this person. */
  learn(publicId) {
    this.#publicIds.add(publicId);
    const all = new Set(this.#stored()).add(publicId);
    this.#store.setJson("ids", [...all].slice(-MAX_PUBLIC_IDS));
  }

  /**
   * Return whether this person has, or had, that public id. The server derives it from the secret and signs messages
   * with it, so no other person can have it.
   */
  owns(publicId) {
    return this.#publicIds.has(publicId);
  }

  #stored() {
    return this.#store.getJson("ids", []).filter((id) => typeof id === "string");
  }
}
