/** The side bar: rooms, private conversations, people. On a small screen a button opens it. */

import { privateHash, roomAt, roomHash } from "../model/addresses.js";
import { lookalikes, mixesAlphabets } from "../model/lookalikes.js";
import { sameNick } from "../model/nicknames.js";
import { STRINGS } from "../strings.js";
import { $, make, oncePerFrame, syncChildren } from "./dom.js";

const MOST_PEOPLE = 200;
/** Of the rooms that the reader has not joined, so many with people are shown; the rest unfolds. */
const FEW_ROOMS = 5;
const MOST_ROOMS = 100;
const CROSS = "m4.5 4.5 7 7m0-7-7 7";

export const roomName = (name) => name ?? STRINGS.lobby;

/** Return the title of a conversation. */
export function titleOf(conversation) {
  if (conversation.isPrivate) return conversation.nick;
  return conversation.name === null ? STRINGS.lobby : `#${conversation.name}`;
}

/** Return the address of a conversation. */
export function hashOf(conversation) {
  return conversation.isPrivate ? privateHash(conversation.nick) : roomHash(conversation.name);
}

function cross() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", CROSS);
  svg.append(path);
  return svg;
}

/** Show at the name of a room that it may not be what it looks like; "" if there is no doubt. */
function drawDoubt(li, doubt) {
  const sign = li.querySelector(".doubt");
  sign.hidden = doubt === "";
  sign.title = doubt;
  sign.setAttribute("aria-label", doubt);
}

function makeDoubt() {
  const sign = make("span", "doubt");
  sign.setAttribute("role", "img");
  sign.textContent = "⚠";
  return sign;
}

export class Sidebar {
  #session;
  #wide = matchMedia("(min-width: 56rem)");
  #plan = oncePerFrame(() => this.#draw());
  #isUnfolded = false;
  #alike = new Set(); // names of rooms in the lists that look like another one

  constructor(session) {
    this.#session = session;
    this.onleave = () => {}; // (conversation)
    this.onjoin = () => {}; // (text) returns false if no room can be called so
    this.ontalk = () => {}; // (nick)
    $("side-open").addEventListener("click", () => this.#setOpen(true));
    $("side-close").addEventListener("click", () => this.#setOpen(false));
    $("side-cover").addEventListener("click", () => this.#setOpen(false));
    $("side").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#isOpen) this.#setOpen(false);
    });
    $("side").addEventListener("click", (event) => {
      if (event.target.closest("a") && this.#isOpen) this.#setOpen(false, false);
    });
    $("join-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = $("join-room").value.trim().replace(/^#/, "");
      if (name === "") return;
      if (this.#isOpen) this.#setOpen(false, false);
      if (this.onjoin(name) !== false) $("join-room").value = "";
    });
    $("rooms-fold").addEventListener("click", () => {
      this.#isUnfolded = !this.#isUnfolded;
      this.#draw();
    });
    this.#wide.addEventListener("change", () => this.#setOpen(false, false));
    this.#setOpen(false, false);
  }

  changed() {
    this.#plan();
  }

  /** Link the demo pages, each {href, text}. */
  showDemos(links) {
    for (const { href, text } of links) {
      const link = make("a", "", text);
      link.href = href;
      $("demos").append(link);
    }
    $("demos").hidden = links.length === 0;
  }

  // ---- a small screen ----

  get #isOpen() {
    return !this.#wide.matches && document.body.classList.contains("side-is-open");
  }

  #setOpen(isOpen, movesFocus = true) {
    document.body.classList.toggle("side-is-open", isOpen);
    $("side-open").setAttribute("aria-expanded", String(isOpen));
    $("side-cover").hidden = !isOpen;
    // Neither the closed side bar nor the room behind an open one can be reached with the keyboard.
    $("side").inert = !isOpen && !this.#wide.matches;
    $("room-part").inert = isOpen;
    if (movesFocus) (isOpen ? $("side-close") : $("side-open")).focus();
  }

  // ---- the lists ----

  #draw() {
    const { conversations } = this.#session;
    const rooms = conversations.filter(({ isPrivate }) => !isPrivate);
    const talks = conversations.filter(({ isPrivate }) => isPrivate);
    const others = this.#otherRooms(rooms);
    this.#alike = lookalikes([...rooms, ...others].map(({ name }) => roomName(name)));
    this.#drawTalks($("rooms"), rooms);
    this.#drawTalks($("private"), talks);
    $("private-part").hidden = talks.length === 0;
    this.#drawMoreRooms(others);
    this.#drawPeople();
    const unread = conversations.reduce((sum, talk) => sum + (talk === this.#session.current ? 0 : talk.unread), 0);
    $("side-unread").textContent = unread > 99 ? "99+" : String(unread);
    $("side-unread").hidden = unread === 0;
    $("side-open").setAttribute("aria-label", STRINGS.menuUnread($("side-unread").textContent, unread > 0));
  }

  #drawTalks(list, talks) {
    const build = (talk) => {
      const li = make("li");
      const link = make("a", "talk");
      link.append(make("bdi", "talk-name"), makeDoubt(), make("span", "talk-people"), make("span", "badge"));
      const leave = make("button", "icon leave");
      leave.type = "button";
      leave.append(cross());
      leave.addEventListener("click", () => this.onleave(talk));
      li.append(link, leave);
      return li;
    };
    syncChildren(list, talks, ({ destination }) => destination, build, (li, talk) => {
      const link = li.querySelector("a");
      link.href = hashOf(talk);
      if (talk === this.#session.current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      li.querySelector(".talk-name").textContent = titleOf(talk);
      drawDoubt(li, talk.isPrivate ? "" : this.#doubtOf(talk.name));
      const count = talk.isPrivate ? 0 : this.#session.rooms.peopleIn(talk.destination);
      li.querySelector(".talk-people").textContent = count === 0 ? "" : String(count);
      li.querySelector(".talk-people").title = STRINGS.people(count);
      const badge = li.querySelector(".badge");
      badge.hidden = talk.unread === 0;
      badge.textContent = talk.unread > 99 ? "99+" : String(talk.unread);
      badge.title = STRINGS.unreadHere(talk.unread);
      badge.classList.toggle("loud", talk.mentions > 0 || talk.isPrivate);
      const leave = li.querySelector(".leave");
      leave.hidden = talks.length === 1 && !talk.isPrivate && talk.name === null;
      leave.setAttribute("aria-label", talk.isPrivate ? STRINGS.closePrivate(talk.nick) : STRINGS.leaveRoom(titleOf(talk)));
    });
  }

  /** Return what is doubtful about the name of a room, or "". */
  #doubtOf(name) {
    if (name !== null && mixesAlphabets(name)) return STRINGS.mixedName;
    return this.#alike.has(roomName(name)) ? STRINGS.lookalikeName : "";
  }

  /** Return the rooms that the reader has not joined, those with most people first. */
  #otherRooms(joined) {
    const known = new Set(joined.map(({ destination }) => destination));
    return this.#session.rooms.destinations
      .filter((destination) => !known.has(destination))
      .map((destination) => roomAt(destination))
      .filter((room) => room !== null)
      .map((room) => ({ ...room, count: this.#session.rooms.peopleIn(room.destination) }))
      .sort((a, b) => b.count - a.count || roomName(a.name).localeCompare(roomName(b.name)))
      .slice(0, MOST_ROOMS);
  }

  #drawMoreRooms(others) {
    const few = others.filter(({ count }) => count > 0).slice(0, FEW_ROOMS);
    const folded = others.length - few.length;
    const shown = this.#isUnfolded ? others : few;
    $("more-rooms-part").hidden = others.length === 0;
    $("rooms-fold").hidden = folded === 0;
    $("rooms-fold").textContent = this.#isUnfolded ? STRINGS.fewerRooms : STRINGS.foldedRooms(folded);
    $("rooms-fold").setAttribute("aria-expanded", String(this.#isUnfolded));
    const build = () => {
      const li = make("li");
      const link = make("a", "talk");
      link.append(make("bdi", "talk-name"), makeDoubt(), make("span", "talk-people"));
      li.append(link);
      return li;
    };
    syncChildren($("more-rooms"), shown, ({ destination }) => destination, build, (li, room) => {
      li.querySelector("a").href = roomHash(room.name);
      li.querySelector(".talk-name").textContent = room.name === null ? STRINGS.lobby : `#${room.name}`;
      drawDoubt(li, this.#doubtOf(room.name));
      li.querySelector(".talk-people").textContent = room.count === 0 ? "" : String(room.count);
      li.querySelector(".talk-people").title = STRINGS.people(room.count);
    });
  }

  #drawPeople() {
    const { current, nick, id } = this.#session;
    const room = current === null ? null : this.#session.room(current.destination);
    const isKnown = room !== null && room.people.isKnown;
    $("people-part").hidden = !isKnown;
    if (!isKnown) return;
    const { list } = room.people;
    $("people-title").textContent = `${STRINGS.peopleHere} (${list.length})`;
    const shown = list.slice(0, MOST_PEOPLE);
    if (list.length > MOST_PEOPLE) shown.push({ id: "more", more: list.length - MOST_PEOPLE });
    const build = (one) => {
      const li = make("li");
      if (one.more !== undefined || one.id === id) {
        li.append(make("span", "person"));
      } else {
        const button = make("button", "person");
        button.type = "button";
        button.addEventListener("click", () => {
          if (this.#isOpen) this.#setOpen(false, false);
          this.ontalk(li.querySelector(".person-name").textContent);
        });
        li.append(button);
      }
      li.firstElementChild.append(make("bdi", "person-name"), make("span", "person-note"));
      return li;
    };
    syncChildren($("people"), shown, (one) => `${one.id === id ? "me" : "other"} ${one.id}`, build, (li, one) => {
      const isMe = one.id === id || (id === null && sameNick(one.nick ?? "", nick));
      li.querySelector(".person-name").textContent = one.more === undefined ? one.nick : STRINGS.morePeople(one.more);
      li.querySelector(".person-note").textContent = isMe ? STRINGS.youInList : "";
      const button = li.querySelector("button");
      if (button !== null) button.title = STRINGS.talkTo(one.nick);
    });
  }
}
