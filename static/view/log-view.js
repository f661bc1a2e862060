/** The messages of the conversation on display: the scroll position, what was read, what a screen reader hears. */

import { cut } from "../model/text.js";
import { STRINGS } from "../strings.js";
import { Copy, logText, toClipboard } from "./copy.js";
import { $, make, oncePerFrame } from "./dom.js";
import { MessageList } from "./message-list.js";
import { Rows, shownText } from "./rows.js";
import { toast } from "./toast.js";

/** If more messages than this arrive at once, screen readers hear only their number. */
const MOST_HEARD = 5;
const MOST_HEARD_LINES = 20;
/** Of a longer message screen readers hear the beginning. */
const MOST_HEARD_CHARS = 500;

function heardLine(row) {
  const text = shownText(row);
  const part = text.length > MOST_HEARD_CHARS ? `${cut(text, MOST_HEARD_CHARS)} …` : text;
  return (row.isAction ? STRINGS.heardAction : STRINGS.heard)(row.nick, part);
}

export class LogView {
  #heard = [];
  #hear = oncePerFrame(() => this.#announceHeard());
  #showState = oncePerFrame(() => this.#drawState());

  constructor() {
    this.conversation = null;
    this.rows = new Rows();
    this.list = new MessageList($("log"), $("rows"), (row) => this.rows.build(row));
    this.copy = new Copy(this.list, $("rows"), () => this.conversation.display());
    this.rows.onheight = (focused) => (focused === null ? this.list.changed() : this.list.keepInView(focused));
    this.onread = () => {}; // (conversation) the reader has seen its newest message
    this.onneartop = () => {}; // (conversation) older messages are wanted
    this.list.onmove = () => this.#moved();
    this.list.onneartop = () => this.onneartop(this.conversation);
    $("jump").addEventListener("click", () => {
      this.list.toBottom();
      $("log").focus({ preventScroll: true });
    });
    $("copy-all").addEventListener("click", () => this.#copyAll());
    document.addEventListener("visibilitychange", () => {
      if (this.conversation === null) return;
      if (document.hidden) this.conversation.leave();
      else this.goToMark();
    });
  }

  /** Return whether the reader would see a message that arrives now. */
  isSeen(conversation) {
    return conversation === this.conversation && !document.hidden && this.list.follows;
  }

  show(conversation) {
    if (this.conversation !== null) {
      this.conversation.leave();
      this.conversation.onchange = () => {};
    }
    this.conversation = conversation;
    this.rows.partner = conversation.nick ?? "";
    this.#heard = [];
    $("heard").replaceChildren();
    conversation.onchange = () => {
      this.list.changed();
      this.#showState();
    };
    this.list.show(() => conversation.display());
    $("empty-text").textContent = conversation.isPrivate ? STRINGS.emptyPrivate(conversation.nick) : STRINGS.emptyText;
    this.goToMark();
  }

  /** The other person in the private conversation on display is called otherwise now. */
  showPartner() {
    this.rows.partner = this.conversation.nick;
    $("empty-text").textContent = STRINGS.emptyPrivate(this.conversation.nick);
    this.list.rebuild();
  }

  /** Scroll to the "New since you left" mark, if there are unread messages. */
  goToMark() {
    const mark = this.conversation.display().find(({ kind }) => kind === "mark");
    if (mark !== undefined && this.conversation.unread > 0) this.list.reveal(mark);
    this.#moved();
  }

  /** The reader's nickname has changed. */
  setNick(nick) {
    this.rows.nick = nick;
    this.list.rebuild();
  }

  /** Say of the messages that wait whether there is a connection that they could go out on. */
  setOnline(isOnline) {
    if (this.rows.isOnline === isOnline) return;
    this.rows.isOnline = isOnline;
    this.conversation?.redrawWaiting();
  }

  /** Let screen readers say a new message, or a notice, of this conversation. */
  hear(row) {
    this.#heard.push(row);
    this.#hear();
  }

  #announceHeard() {
    const rows = this.#heard;
    this.#heard = [];
    const lines =
      rows.length > MOST_HEARD
        ? [STRINGS.heardMany(rows.length)]
        : rows.map(heardLine);
    $("heard").append(...lines.map((line) => make("p", "", line)));
    while ($("heard").childElementCount > MOST_HEARD_LINES) $("heard").firstElementChild.remove();
  }

  #moved() {
    const { conversation } = this;
    if (conversation === null) return;
    if (!document.hidden && this.list.follows) {
      conversation.read();
      this.onread(conversation);
    }
    this.#showState();
  }

  #drawState() {
    const { conversation } = this;
    $("empty").hidden = !conversation.isEmpty;
    $("jump").hidden = this.list.follows;
    $("jump").classList.toggle("loud", conversation.unread > 0);
    $("jump").textContent = conversation.unread > 0 ? STRINGS.newMessages(conversation.unread) : STRINGS.toNewest;
  }

  async #copyAll() {
    const { messages } = this.conversation;
    toast((await toClipboard(logText(messages))) ? STRINGS.copied(messages.length) : STRINGS.notCopied);
  }
}
