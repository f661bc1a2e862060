/** The list of messages: adds lines, keeps the newest in view and the list short. */

import { make } from "./page.js";
import { cut, hueOf } from "./text.js";
import { WORDS } from "./words.js";

/** Other programs may send more than people type; this much of a text is shown. */
const MAX_SHOWN_CHARS = 16000;
const MAX_LINES = 2000;
/** How many lines go at once: every cut moves the whole list, which is costly while messages pour in. */
const CUT_LINES = 100;
/** How long the list does not follow new lines after the reader has touched it. */
const HOLD_MS = 300;
const NEAR_BOTTOM_PX = 60;
/** A line that follows another within this time is not animated: many at once would be costly and restless. */
const CALM_MS = 200;
/** Messages of one person within this time stand together under one name. */
const GROUP_MS = 5 * 60 * 1000;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const fullDate = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "medium" });

export class Log {
  #list;
  #jump;
  #last = null; // {who, at} of the line above
  #follows = true; // the reader is at the bottom
  #lastTop = 0; // the scroll position after the last scroll
  #unread = 0;
  #isScrollPlanned = false;
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
    // A phone's keyboard opens, the text field grows: the newest message stays in view.
    new ResizeObserver(() => {
      if (this.#follows) this.#planScroll();
    }).observe(list);
  }

  /** Add a message; `nick` may be null, `at` is in ms since 1970. */
  addMessage({ nick, text, at, isOwn = false }) {
    const li = make("li", "message");
    const who = isOwn ? "own" : nick;
    const isContinued = who !== null && this.#last?.who === who && at - this.#last.at < GROUP_MS;
    this.#last = { who, at };
    li.classList.toggle("continued", isContinued);
    li.classList.toggle("own", isOwn);
    li.classList.toggle("plain", nick === null);

    const avatar = make("span", "avatar", nick === null ? "#" : [...nick][0].toUpperCase());
    avatar.setAttribute("aria-hidden", "true");
    if (nick !== null) li.dataset.hue = String(hueOf(nick));

    const head = make("div", "message-head");
    if (nick === null) head.append(make("span", "unseen", WORDS.noNick));
    else head.append(make("bdi", "message-nick", nick));
    if (isOwn) head.append(make("span", "unseen", WORDS.you));
    const time = make("time", "message-time", clock.format(at));
    time.dateTime = new Date(at).toISOString();
    time.title = fullDate.format(at);
    head.append(time);

    const shown = text.length > MAX_SHOWN_CHARS ? cut(text, MAX_SHOWN_CHARS) + WORDS.cutOff : text;
    const content = make("div", "message-text", shown);
    content.dir = "auto";

    const bubble = make("div", "bubble");
    bubble.append(head, content);
    li.append(avatar, bubble);
    this.#append(li, isOwn);
  }

  /** Add a notice of the page itself. */
  addNotice(text) {
    this.#last = null;
    this.#append(make("li", "notice", text), false);
  }

  clear() {
    this.#list.replaceChildren();
    this.#last = null;
    this.toBottom();
  }

  toBottom() {
    this.#heldUntil = 0;
    this.#follow(true);
    this.#setUnread(0);
    this.#planScroll();
  }

  #append(li, isOwn) {
    // To assistive technology a log is no list: its lines are read one after the other.
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
    if (this.#isScrollPlanned) return;
    this.#isScrollPlanned = true;
    requestAnimationFrame(() => {
      this.#isScrollPlanned = false;
      if (!this.#follows || performance.now() < this.#heldUntil) return;
      this.#list.scrollTop = this.#list.scrollHeight;
      this.#lastTop = this.#list.scrollTop;
    });
  }

  /** Do not pull the list away under the reader's finger while messages pour in. */
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
      // Only the reader scrolls up. A list that is not at the end for another cause has just received messages.
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
    this.#jump.textContent = WORDS.newMessages(count);
  }
}
