/** The elements of a conversation: messages, notices, days and the "New since you left" mark. */

import { hueOf } from "../model/nicknames.js";
import { mentions } from "../model/mentions.js";
import { partsOf, split } from "../model/richtext.js";
import { MAX_SHOWN_CHARS, cut } from "../model/text.js";
import { STRINGS } from "../strings.js";
import { $, make } from "./dom.js";
import { fold, isLong } from "./folding.js";

/** A message that is drawn this soon after it arrived is animated; one that is scrolled to is not. */
const ARRIVING_MS = 1000;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const fullDate = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "medium" });
const dayDate = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** Return the text of a message as it is displayed. */
export function shownText(row) {
  if (row.bytes !== null && row.bytes !== undefined) return STRINGS.binary(row.bytes);
  return row.text.length > MAX_SHOWN_CHARS ? cut(row.text, MAX_SHOWN_CHARS) + STRINGS.cutOff : row.text;
}

export function shownTime(at) {
  return at === null ? "" : clock.format(at);
}

/** Return why a message was refused: in the page's own words if it has some, else in the server's. */
export function reasonWords(reason) {
  for (const [pattern, words] of STRINGS.reasons) {
    const match = pattern.exec(reason);
    if (match !== null) return words(...match.slice(1));
  }
  return STRINGS.notSent(reason);
}

export class Rows {
  #seen = new WeakSet();

  constructor() {
    this.nick = ""; // the reader's, whose mentions are highlighted
    this.pattern = null; // finds the words of the search
    this.found = null; // the row of the current match
    this.partner = ""; // the other person in a private conversation
    this.isOnline = true; // messages that wait are being sent
    this.widthPx = () => $("rows").clientWidth; // of the list
    this.onheight = () => {}; // (focused) a row has another height; an element in it is to be seen, or null
    this.onretry = () => {}; // (row)
    this.ontakeback = () => {}; // (row)
    this.onnick = () => {}; // (nick) a nickname was pressed
  }

  build(row) {
    const isNew = !this.#seen.has(row);
    this.#seen.add(row);
    switch (row.kind) {
      case "day":
        return make("li", "day", dayDate.format(row.at));
      case "mark":
        return make("li", "mark-new", STRINGS.newSince);
      case "notice":
        return this.#notice(row.text);
      default:
        return this.#message(row, isNew);
    }
  }

  #notice(text) {
    const li = make("li", "notice");
    li.append(make("span", "", text));
    return li;
  }

  #message(row, isNew) {
    const { nick, isOwn, isAction, at, state } = row;
    const li = make("li", "message");
    li.classList.toggle("own", isOwn);
    li.classList.toggle("plain", nick === null);
    li.classList.toggle("action", isAction);
    li.classList.toggle("continued", row.isContinued);
    li.classList.toggle("waiting", state === "waiting");
    li.classList.toggle("refused", state === "refused" || state === "undelivered");
    li.classList.toggle("found", row === this.found);
    li.classList.toggle("names-me", !isOwn && mentions(shownText(row), this.nick));
    li.classList.toggle("arriving", isNew && row.live && Date.now() - row.arrivedAt < ARRIVING_MS);

    const avatar = make("span", "avatar", nick === null ? "#" : [...nick][0].toUpperCase());
    avatar.setAttribute("aria-hidden", "true");
    if (nick !== null) li.dataset.hue = String(hueOf(nick));

    const bubble = make("div", "bubble");
    const content = this.#text(row);
    bubble.append(this.#head(row), content);
    if (isLong(shownText(row), this.widthPx())) bubble.append(this.#fold(row, content));
    const note = this.#note(row);
    if (note !== null) bubble.append(note);
    li.append(avatar, bubble);
    return li;
  }

  #head({ nick, isOwn, at, isContinued }) {
    const head = make("div", "message-head");
    if (nick === null) head.append(make("span", "unseen", STRINGS.noNick));
    // Under the first of several messages the name is for screen readers only: a button would hide the focus.
    else if (isOwn || isContinued) head.append(make("bdi", "message-nick", nick));
    else head.append(this.#nickButton(nick));
    if (isOwn) head.append(make("span", "unseen", STRINGS.you));
    if (at !== null) {
      const time = make("time", "message-time", clock.format(at));
      time.dateTime = new Date(at).toISOString();
      time.title = fullDate.format(at);
      head.append(time);
    }
    return head;
  }

  #nickButton(nick) {
    const button = make("button", "message-nick");
    button.type = "button";
    button.title = STRINGS.talkTo(nick);
    button.append(make("bdi", "", nick));
    button.addEventListener("click", () => this.onnick(nick));
    return button;
  }

  #text(row) {
    const content = make("div", "message-text");
    content.dir = "auto";
    const text = shownText(row);
    for (const part of row.nick === null ? [{ text }] : partsOf(text, row.isOwn ? "" : this.nick)) {
      const parent = this.#partElement(part, content);
      if (this.pattern === null) parent.append(part.text);
      else {
        for (const piece of split(part.text, this.pattern, "isMatch")) {
          parent.append(piece.isMatch ? make("mark", "", piece.text) : piece.text);
        }
      }
    }
    return content;
  }

  #fold(row, content) {
    // What the search has found is shown.
    return fold(content, row.isUnfolded !== true && row !== this.found, (isFolded, focused) => {
      row.isUnfolded = !isFolded;
      this.onheight(focused);
    });
  }

  #partElement(part, content) {
    if (part.url === undefined && !part.isMention) return content;
    const element = make(part.url === undefined ? "strong" : "a", part.isMention ? "mention" : "");
    if (part.url !== undefined) {
      element.href = part.url;
      element.target = "_blank";
      element.rel = "noopener noreferrer";
    }
    content.append(element);
    return element;
  }

  #waitingNote() {
    if (this.isOnline) return make("div", "message-note", STRINGS.waiting);
    return make("div", "message-note offline", STRINGS.waitingOffline);
  }

  #note(row) {
    if (row.state === "waiting") return this.#waitingNote();
    if (row.state !== "refused" && row.state !== "undelivered") return null;
    const note = make("div", "message-note");
    const isRefused = row.state === "refused";
    note.append(make("span", "", isRefused ? reasonWords(row.reason) : STRINGS.undelivered(this.partner)));
    for (const [label, act] of [[STRINGS.tryAgain, this.onretry], [STRINGS.takeBack, this.ontakeback]]) {
      const button = make("button", "quiet", label);
      button.type = "button";
      button.addEventListener("click", () => act(row));
      note.append(button);
    }
    return note;
  }
}
