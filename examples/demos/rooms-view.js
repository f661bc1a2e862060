/** Several conversations in one page: a button for each with its unread count, and the log of the one on display. */

import { Log } from "./log.js";
import { $, make } from "./page.js";

const MAX_KEPT_LINES = 1000;
/** Screen readers stay silent for so long while the log is filled with the lines of another room. */
const QUIET_MS = 300;

export class RoomsView {
  #log = new Log($("log"), $("jump"));
  #rooms = new Map(); // key -> {key, button, name, count, lines, unread}
  #quietTimer = null;

  constructor() {
    this.current = null; // a key
    this.onopen = () => {}; // (key) another room is on display
  }

  has(key) {
    return this.#rooms.has(key);
  }

  /** Add a room, or rename it. */
  put(key, name) {
    let room = this.#rooms.get(key);
    if (room === undefined) {
      const button = make("button", "room");
      button.type = "button";
      button.addEventListener("click", () => {
        this.open(key);
        $("text").focus();
      });
      room = { key, button, name: make("bdi", "room-name"), count: make("span", "room-count"), lines: [], unread: 0 };
      button.append(room.name, room.count);
      this.#rooms.set(key, room);
      $("rooms").append(button);
    }
    room.name.textContent = name;
    if (this.current === null) this.open(key);
  }

  remove(key) {
    const room = this.#rooms.get(key);
    if (room === undefined) return;
    room.button.remove();
    this.#rooms.delete(key);
    if (this.current !== key) return;
    this.current = null;
    const [first] = this.#rooms.keys();
    if (first === undefined) this.#log.clear();
    else this.open(first);
  }

  clear() {
    for (const { button } of this.#rooms.values()) button.remove();
    this.#rooms.clear();
    this.#log.clear();
    this.current = null;
  }

  open(key) {
    const room = this.#rooms.get(key);
    if (room === undefined || key === this.current) return;
    this.current = key;
    for (const { button } of this.#rooms.values()) button.removeAttribute("aria-current");
    room.button.setAttribute("aria-current", "true");
    room.button.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.#setUnread(room, 0);
    this.#quietly(() => {
      this.#log.clear();
      for (const line of room.lines) this.#show(line);
      this.#log.toBottom();
    });
    this.onopen(key);
  }

  /** Add a line: {nick, text, at, isOwn}, or {notice} of the page. With `isNews` it counts as unread elsewhere. */
  add(key, line, isNews = true) {
    const room = this.#rooms.get(key);
    if (room === undefined) return;
    const dated = { at: Date.now(), ...line };
    room.lines.push(dated);
    if (room.lines.length > MAX_KEPT_LINES) room.lines.shift();
    if (key === this.current) this.#show(dated);
    else if (isNews) this.#setUnread(room, room.unread + 1);
  }

  #show(line) {
    if (line.notice !== undefined) this.#log.addNotice(line.notice);
    else this.#log.addMessage(line);
  }

  #setUnread(room, count) {
    room.unread = count;
    room.count.textContent = count === 0 ? "" : String(count);
    room.count.hidden = count === 0;
    room.button.title = count === 0 ? "" : `${count} new`;
  }

  #quietly(change) {
    $("log").setAttribute("aria-live", "off");
    change();
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => $("log").removeAttribute("aria-live"), QUIET_MS);
  }
}

/**
 * Run the list beside the log: #aside-toggle opens and closes it. Return {closeIfNarrow}, which closes it on a screen
 * so narrow that it covers the log.
 */
export function startAside() {
  const toggle = $("aside-toggle");
  const show = (isOpen) => {
    $("aside").hidden = !isOpen;
    toggle.setAttribute("aria-expanded", String(isOpen));
  };
  toggle.addEventListener("click", () => show($("aside").hidden));
  const wide = window.matchMedia("(min-width: 44rem)");
  show(wide.matches);
  wide.addEventListener("change", () => show(wide.matches));
  return { closeIfNarrow: () => show(wide.matches) };
}
