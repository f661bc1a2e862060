/** The dialog that asks for a nickname. */

import { MAX_NICK_CHARS, cleanNick } from "../model/nicknames.js";
import { cut } from "../model/text.js";
import { STRINGS } from "../strings.js";
import { $ } from "./dom.js";

/** Return the nickname to suggest when one is taken: Ada, Ada2, Ada3 … */
export function otherNick(nick) {
  const [, stem, digits] = /^(.*?)(\d*)$/u.exec(nick);
  const next = digits === "" ? "2" : String(Number(digits) + 1);
  return `${cut(stem, MAX_NICK_CHARS - next.length)}${next}`;
}

export class NickDialog {
  #dialog = $("nick-dialog");
  #input = $("nick");
  #isNeeded = false;

  constructor() {
    this.onchosen = () => {}; // (nick)
    this.onclosed = () => {};
    this.#input.maxLength = MAX_NICK_CHARS;
    $("nick-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const nick = cleanNick(this.#input.value);
      if (nick === "") {
        $("nick-problem").textContent = STRINGS.noNickGiven;
        return;
      }
      this.#isNeeded = false;
      this.#dialog.close();
      this.onchosen(nick);
      this.onclosed(); // now rather than at the later close event: the user may already be typing
    });
    $("nick-cancel").addEventListener("click", () => this.#dialog.close());
    $("nick-change").addEventListener("click", () => this.ask($("nick-shown").textContent));
    this.#dialog.addEventListener("cancel", (event) => {
      if (this.#isNeeded) event.preventDefault();
    });
    this.#dialog.addEventListener("close", () => {
      // Browsers close a dialog on a second Escape, even if the page has prevented it.
      if (this.#isNeeded) this.#open();
      else this.onclosed();
    });
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /** Whether the page waits for a nickname. */
  get isNeeded() {
    return this.#isNeeded;
  }

  /** Close the dialog: the question is answered. */
  dismiss() {
    this.#isNeeded = false;
    this.#dialog.close();
  }

  /** Open the dialog. `isNeeded`: it cannot be cancelled. `problem` says why the last nickname was refused. */
  ask(nick, { isNeeded = false, problem = "" } = {}) {
    this.#isNeeded = isNeeded;
    this.#input.value = nick;
    const isFirst = isNeeded && problem === "";
    $("nick-cancel").hidden = isNeeded;
    $("nick-title").textContent = isFirst ? STRINGS.welcomeTitle : STRINGS.changeNick;
    $("nick-save").textContent = isFirst ? STRINGS.enterRoom : STRINGS.saveNick;
    $("nick-problem").textContent = problem;
    this.#open();
  }

  #open() {
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#input.focus();
    this.#input.select();
  }
}
