/** The field one writes in: as tall as its text, a draft for each conversation, names completed, characters counted. */

import { countChars } from "../protocol/messages.js";
import { foldNick } from "../protocol/people.js";
import { STRINGS } from "../strings.js";
import { $, announce } from "./dom.js";

const COUNTER_FROM_CHARS_LEFT = 300;

export class Composer {
  #field = $("text");
  #memory;
  #drafts;
  #conversation = null; // the key of the one that is written to

  /** `memory` keeps the drafts over a reload. */
  constructor(memory) {
    this.#memory = memory;
    this.#drafts = memory.recallJson("drafts", {});
    this.maxChars = 4000;
    this.nicks = () => []; // whom Tab may complete
    this.onsubmit = () => {}; // (text) false leaves the text in the field
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

  /** Turns to another conversation; what was begun there comes back. */
  show(key) {
    // What a browser's own reload left in the field belongs to the first conversation.
    const left = this.#conversation === null ? this.#field.value : "";
    this.#conversation = key;
    this.set(this.#drafts[key] ?? left);
  }

  set(value) {
    this.#field.value = value;
    this.#changed();
  }

  /** Puts a text before what is there, as a message that was taken back. */
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
    if (this.onsubmit(text) !== false) this.set("");
  }

  #changed() {
    const { value } = this.#field;
    if (value === "") delete this.#drafts[this.#conversation];
    else this.#drafts[this.#conversation] = value;
    this.#memory.rememberJson("drafts", this.#drafts);
    // The style sheet makes the field as tall as this copy of its text.
    this.#field.parentElement.dataset.text = value;
    const left = this.maxChars - countChars(value.trim());
    $("counter").textContent =
      left < 0 ? STRINGS.tooLong(-left) : left <= COUNTER_FROM_CHARS_LEFT ? STRINGS.charactersLeft(left) : "";
    this.#field.setAttribute("aria-invalid", String(left < 0));
  }

  #pressed(event) {
    // While an input method is composing, the keys belong to it.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Tab" && !event.shiftKey && this.#complete()) {
      event.preventDefault();
    }
  }

  /** Completes "@ab" before the cursor; false if there is no such word or name, and Tab goes on to the next element. */
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
