/** The text field: as tall as its text, with a draft for each conversation, name completion and a counter. */

import { foldNick } from "../model/nicknames.js";
import { MAX_TEXT_CHARS, countChars } from "../model/text.js";
import { STRINGS } from "../strings.js";
import { $, announce } from "./dom.js";

const COUNTER_FROM_CHARS_LEFT = 300;

export class Composer {
  #field = $("text");
  #store;
  #drafts;
  #conversation = null; // the key of the one on display

  /** `store` keeps the drafts across a reload. */
  constructor(store) {
    this.#store = store;
    this.#drafts = store.getJson("drafts", {});
    this.maxChars = MAX_TEXT_CHARS;
    this.nicks = () => []; // the nicknames that Tab completes
    this.onsubmit = () => {}; // (text) returns false to leave the text in the field
    this.ontype = () => {};
    const field = this.#field;
    field.addEventListener("input", () => {
      this.#changed();
      if (field.value.trim() !== "" && !field.value.startsWith("/")) this.ontype();
    });
    field.addEventListener("keydown", (event) => this.#pressed(event));
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
      field.focus();
    });
  }

  /** Turn to another conversation and its draft. */
  show(key) {
    // A text that the browser itself restored after a reload belongs to the first conversation.
    const left = this.#conversation === null ? this.#field.value : "";
    this.#conversation = key;
    this.set(this.#drafts[key] ?? left);
  }

  set(value) {
    this.#field.value = value;
    this.#changed();
  }

  /** Put a text, as of a message that was taken back, before the one in the field. */
  putBack(text) {
    this.set(this.#field.value === "" ? text : `${text}\n${this.#field.value}`);
    this.focus();
  }

  get value() {
    return this.#field.value;
  }

  focus() {
    this.#field.focus();
  }

  #submit() {
    const text = this.#field.value.trim();
    if (text === "") return;
    const over = countChars(text) - this.maxChars;
    if (over > 0) {
      announce(STRINGS.saidTooLong(over));
      return;
    }
    const key = this.#conversation;
    if (this.onsubmit(text) === false) return;
    if (key === this.#conversation) {
      this.set("");
      return;
    }
    // The text was a command that opened another conversation; the field has the draft of that one.
    delete this.#drafts[key];
    this.#store.setJson("drafts", this.#drafts);
  }

  #changed() {
    const { value } = this.#field;
    if (value === "") delete this.#drafts[this.#conversation];
    else this.#drafts[this.#conversation] = value;
    this.#store.setJson("drafts", this.#drafts);
    // The style sheet gives the field the height of this copy of its text.
    this.#field.parentElement.dataset.text = value;
    const left = this.maxChars - countChars(value.trim());
    $("counter").textContent =
      left < 0 ? STRINGS.tooLong(-left) : left <= COUNTER_FROM_CHARS_LEFT ? STRINGS.charactersLeft(left) : "";
    this.#field.setAttribute("aria-invalid", String(left < 0));
  }

  #pressed(event) {
    // While an input method is composing, it owns the keys.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Tab" && !event.shiftKey && this.#complete()) {
      event.preventDefault();
    }
  }

  /** Complete "@ab" before the cursor. Return false if there is nothing to complete; then Tab moves the focus. */
  #complete() {
    const { value, selectionStart } = this.#field;
    const match = /(^|\s)@(\S+)$/.exec(value.slice(0, selectionStart));
    if (match === null) return false;
    const nick = this.nicks().find((one) => foldNick(one).startsWith(foldNick(match[2])));
    if (nick === undefined || foldNick(nick) === foldNick(match[2])) return false;
    this.#field.setRangeText(`${nick} `, selectionStart - match[2].length, selectionStart, "end");
    this.#changed();
    return true;
  }
}
