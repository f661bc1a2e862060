/** The dialog that asks for a nickname. */

import { MAX_NICK_CHARS, chosenNick } from "../model/nicknames.js";
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
    this.onchosen = () => {}; // (nick) returns whether the dialog has to wait for done() or refuse()
    /** The server has been asked for the name. */
    this.isWaiting = false;
    this.onclosed = () => {};
    this.#input.maxLength = MAX_NICK_CHARS;
    $("nick-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const nick = chosenNick(this.#input.value);
      if (nick === "") {
        $("nick-problem").textContent = STRINGS.noNickGiven;
        return;
      }
      this.#isNeeded = false;
      if (this.isWaiting) return;
      this.isWaiting = true; // done() may be called at once
      if (!this.onchosen(nick)) this.done();
      else if (this.isWaiting) this.#showWaiting();
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
      this.#endWaiting(); // cancelled: the answer comes as a notice
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

  /** The name was accepted, or nothing is known of it yet: close the dialog if it waits. */
  done() {
    if (!this.isWaiting) return;
    this.#endWaiting();
    this.#dialog.close();
    this.onclosed(); // now rather than at the later close event: the user may already be typing
  }

  /** The server has refused the name: stay open, propose another one and say why. */
  refuse(other, problem) {
    this.#endWaiting();
    this.ask(other, { problem });
  }

  #showWaiting() {
    $("nick-problem").textContent = "";
    $("nick-save").textContent = STRINGS.askingNick;
    $("nick-save").disabled = true;
  }

  #endWaiting() {
    this.isWaiting = false;
    $("nick-save").disabled = false;
  }

  #open() {
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#input.focus();
    this.#input.select();
  }
}
