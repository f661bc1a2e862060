/** The list of messages: adds lines, keeps the newest in view, keeps the list short. */

import { MAX_SHOWN_CHARS, cut, hueOf } from "../protocol/messages.js";
import { STRINGS } from "./log-words.js";

const MAX_LINES = 2000;
/** Cut so many at once: every cut moves all lines, and that is a lot to draw while messages pour in. */
const CUT_LINES = 100;
/** How long the list stands still for the reader's own scrolling to show. */
const HOLD_MS = 300;
const NEAR_BOTTOM_PX = 60;
/** A line that comes this soon after another appears without a movement: many at once would be costly and restless. */
const CALM_MS = 200;
/** Messages of one person within this time stand together under one name. */
const SAME_BREATH_MS = 5 * 60 * 1000;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const fullDate = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "medium" });

/** An element with a class and, as text and nothing else, its content. */
function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export class Log {
  #list;
  #jump;
  #lines = new Map(); // id -> li of own messages that may still change
  #last = null; // {who, at} of the line above
  #follows = true; // the reader is at the bottom
  #lastTop = 0; // where the list stood at the last scroll
  #unread = 0;
  #scrollPlanned = false;
  #heldUntil = 0;
  #lastArrival = 0;

  /** `list` is the ol, `jump` the button that leads back to the newest message. */
  constructor(list, jump) {
    this.#list = list;
    this.#jump = jump;
    list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      list.addEventListener(type, () => this.#hold(), { passive: true });
    }
    jump.addEventListener("click", () => {
      this.toBottom();
      list.focus({ preventScroll: true });
    });
    this.#follow(true);
    // The phone's keyboard comes and goes, the text field grows: the newest message stays in view.
    new ResizeObserver(() => {
      if (this.#follows) this.#planScroll();
    }).observe(list);
  }

  /**
   * Adds a message: nick or null, text, at (ms since 1970), bytes (of a body that is no text) or null,
   * isOwn, and for an own message that is under way its id.
   */
  addMessage({ nick, text, at, bytes = null, isOwn = false, id = null }) {
    const li = make("li", "message");
    const who = isOwn ? "own" : nick;
    if (this.#last !== null && this.#last.who === who && at - this.#last.at < SAME_BREATH_MS && who !== null) {
      li.classList.add("continued");
    }
    this.#last = { who, at };
    li.classList.toggle("own", isOwn);
    li.classList.toggle("plain", nick === null);

    const avatar = make("span", "avatar", nick === null ? "#" : [...nick][0].toUpperCase());
    avatar.setAttribute("aria-hidden", "true");
    if (nick !== null) li.dataset.hue = String(hueOf(nick));

    const head = make("div", "message-head");
    if (nick === null) head.append(make("span", "unseen", STRINGS.noNick));
    else head.append(make("bdi", "message-nick", nick));
    if (isOwn) head.append(make("span", "unseen", STRINGS.you));
    const time = make("time", "message-time", clock.format(at));
    time.dateTime = new Date(at).toISOString();
    time.title = fullDate.format(at);
    head.append(time);

    const shown = text.length > MAX_SHOWN_CHARS ? cut(text, MAX_SHOWN_CHARS) + STRINGS.cutOff : text;
    const content = make("div", "message-text", bytes === null ? shown : STRINGS.binary(bytes));
    content.dir = "auto";

    const bubble = make("div", "bubble");
    bubble.append(head, content);
    li.append(avatar, bubble);
    if (id !== null) {
      this.#lines.set(id, li);
      this.#wait(li);
    }
    this.#append(li, isOwn);
  }

  /** Adds a line from the page itself. */
  addNotice(text) {
    this.#last = null;
    this.#append(make("li", "notice", text), false);
  }

  /** The own message has arrived. */
  confirm(id) {
    const li = this.#lines.get(id);
    if (li === undefined) return;
    this.#lines.delete(id);
    li.classList.remove("waiting", "refused");
    this.#removeNote(li);
  }

  /** The own message goes out again. */
  wait(id) {
    const li = this.#lines.get(id);
    if (li !== undefined) this.#wait(li);
  }

  /** The own message was not taken: says why, with a button for each of `actions` ({label, act}). */
  refuse(id, reason, actions) {
    const li = this.#lines.get(id);
    if (li === undefined) return;
    li.classList.remove("waiting");
    li.classList.add("refused");
    const note = make("div", "message-note");
    note.append(make("span", "", STRINGS.notSent(reason)));
    for (const { label, act } of actions) {
      const button = make("button", "quiet", label);
      button.type = "button";
      button.addEventListener("click", act);
      note.append(button);
    }
    this.#removeNote(li);
    li.querySelector(".bubble").append(note);
    if (this.#follows) this.#planScroll();
  }

  remove(id) {
    const li = this.#lines.get(id);
    if (li === undefined) return;
    this.#lines.delete(id);
    li.remove();
    this.#last = null;
  }

  clear() {
    this.#list.replaceChildren();
    this.#lines.clear();
    this.#last = null;
    this.toBottom();
  }

  toBottom() {
    this.#heldUntil = 0;
    this.#follow(true);
    this.#setUnread(0);
    this.#planScroll();
  }

  #wait(li) {
    li.classList.remove("refused");
    li.classList.add("waiting");
    this.#removeNote(li);
    li.querySelector(".bubble").append(make("div", "message-note", STRINGS.waiting));
  }

  #removeNote(li) {
    const note = li.querySelector(".message-note");
    if (note !== null) note.remove();
  }

  #append(li, isOwn) {
    // A log is no list to assistive technology: its lines are read one after the other.
    li.setAttribute("role", "none");
    const now = Date.now();
    li.classList.toggle("arriving", now - this.#lastArrival > CALM_MS);
    this.#lastArrival = now;
    this.#list.append(li);
    if (this.#list.childElementCount > MAX_LINES) {
      for (let count = 0; count < CUT_LINES; count++) this.#list.firstElementChild.remove();
    }
    if (isOwn) this.toBottom();
    else if (this.#follows) this.#planScroll();
    else this.#setUnread(this.#unread + 1);
  }

  #planScroll() {
    if (this.#scrollPlanned) return;
    this.#scrollPlanned = true;
    requestAnimationFrame(() => {
      this.#scrollPlanned = false;
      if (!this.#follows || performance.now() < this.#heldUntil) return;
      this.#list.scrollTop = this.#list.scrollHeight;
      this.#lastTop = this.#list.scrollTop;
    });
  }

  /** Messages that pour in must not pull the list away under the reader's finger. */
  #hold() {
    this.#heldUntil = performance.now() + HOLD_MS;
    setTimeout(() => {
      if (this.#follows) this.#planScroll();
    }, HOLD_MS + 20);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const isUp = scrollTop < this.#lastTop;
    this.#lastTop = scrollTop;
    if (scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX) {
      this.#follow(true);
      this.#setUnread(0);
    } else if (isUp) {
      // Only the reader scrolls up. Being far from the bottom otherwise means that messages came in just now.
      this.#follow(false);
    }
  }

  #follow(follows) {
    this.#follows = follows;
    this.#list.classList.toggle("follows", follows);
  }

  #setUnread(count) {
    this.#unread = count;
    this.#jump.hidden = count === 0;
    this.#jump.textContent = STRINGS.newMessages(count);
  }
}
