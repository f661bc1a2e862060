/** The dialog that asks for name and password. */

import { STRINGS } from "../strings.js";
import { $ } from "./dom.js";

export class LoginDialog {
  #dialog = $("login-dialog");
  #name = $("login-name");
  #password = $("login-password");
  #asking = null; // the AbortController of the question to the server

  constructor() {
    this.onsubmit = async () => ""; // ({name, password}, signal) returns a promise of the problem, "" if there is none
    this.onclosed = () => {};
    $("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#asking === null) this.#submit();
    });
    $("login-cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      this.#end();
      this.onclosed();
    });
    for (const field of [this.#name, this.#password]) {
      field.addEventListener("input", () => field.removeAttribute("aria-invalid"));
    }
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /** Open the dialog. `about` says why, `name` is who logged in here last, or "". */
  ask(about, name) {
    $("login-about").textContent = about;
    $("login-problem").textContent = "";
    if (this.#asking === null) this.#showWaiting(false);
    if (this.#name.value === "") this.#name.value = name;
    if (!this.#dialog.open) this.#dialog.showModal();
    (this.#name.value === "" ? this.#name : this.#password).focus();
  }

  /** Close the dialog: the question is answered. */
  dismiss() {
    this.#name.value = "";
    if (this.#dialog.open) this.#dialog.close();
  }

  async #submit() {
    const asking = new AbortController();
    this.#asking = asking;
    this.#showWaiting(true);
    $("login-problem").textContent = "";
    const problem = await this.onsubmit({ name: this.#name.value, password: this.#password.value }, asking.signal);
    if (this.#asking !== asking) return; // closed meanwhile
    this.#end();
    if (problem === "") {
      this.dismiss();
      return;
    }
    $("login-problem").textContent = problem;
    for (const field of [this.#name, this.#password]) field.setAttribute("aria-invalid", "true");
    this.#password.focus();
  }

  /** There is an answer, or none is wanted any more: nothing keeps the password. */
  #end() {
    this.#asking?.abort();
    this.#asking = null;
    this.#password.value = "";
    this.#showWaiting(false);
    for (const field of [this.#name, this.#password]) field.removeAttribute("aria-invalid");
  }

  #showWaiting(isWaiting) {
    // Not disabled: the focus would be lost.
    this.#name.readOnly = this.#password.readOnly = isWaiting;
    $("login-save").setAttribute("aria-disabled", String(isWaiting));
    $("login-save").textContent = isWaiting ? STRINGS.askingNick : STRINGS.logIn;
  }
}
