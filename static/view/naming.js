/** The reader's nickname: asked for, changed, and taken by others. */

import { sameNick } from "../model/nicknames.js";
import { STRINGS } from "../strings.js";
import { $ } from "./dom.js";
import { NickDialog, otherNick } from "./nick-dialog.js";

export class Naming {
  #session;
  #status;
  #notice;
  #dialog = new NickDialog();
  #wasIn = false; // has logged in at least once
  #wished = null; // a new nickname that the server has not confirmed

  /** `notice(name, ...details)` adds one to the conversation on display. */
  constructor(session, status, notice) {
    this.#session = session;
    this.#status = status;
    this.#notice = notice;
    this.onset = () => {}; // (nick) the reader is called so
    this.onclosed = () => {}; // the dialog was closed
    this.#dialog.onchosen = (nick) => this.#change(nick);
    this.#dialog.onclosed = () => this.onclosed();
    session.onnick = (what, nick, reason) => {
      if (what === "set") this.#set(nick);
      else this.#refused(what, nick, reason);
    };
  }

  /** Ask for a nickname, because there is none. */
  askFirst() {
    this.#dialog.ask("", { isNeeded: true });
  }

  show(nick) {
    $("nick-shown").textContent = nick;
    $("nick-change").title = STRINGS.changeNick;
    $("nick-change").hidden = nick === "";
  }

  /** Carry out /nick. Return false if nothing is left of the name. */
  command(nick) {
    if (nick === "") this.#notice("noNickGiven");
    else if (nick === this.#session.nick) this.#notice("nickSet", nick);
    else this.#change(nick);
    return nick !== "";
  }

  /** There is no connection: the server is asked for the nickname with the next one. */
  postpone() {
    this.#dialog.done();
  }

  /** The person is called otherwise now, because of what was done in another window. */
  follow(nick) {
    if (nick === "" || nick === this.#session.nick) return;
    if (!this.#dialog.isNeeded) {
      this.#session.follow();
      return;
    }
    this.#dialog.dismiss();
    this.#change(nick);
  }

  /** Ask the server for another nickname. Return whether its answer is still to come. */
  #change(nick) {
    const isNew = this.#wasIn && nick !== this.#session.nick;
    if (isNew) this.#wished = nick;
    this.#session.setNick(nick);
    return isNew && this.#wished === nick;
  }

  #set(nick) {
    this.#wasIn = true;
    this.show(nick);
    this.onset(nick);
    if (nick === "") this.askFirst();
    if (this.#wished === nick) {
      this.#notice("nickSet", nick);
      this.#dialog.done();
    }
    this.#wished = null;
  }

  #refused(what, nick, reason) {
    const isTaken = what !== "refused";
    const proposal = isTaken ? otherNick(nick) : nick;
    if (nick === "") {
      this.#dialog.ask("", { isNeeded: true, problem: STRINGS.ownNickRefused(reason) });
      this.#status.expectEnd(STRINGS.needNick);
    } else if (what === "needed" || (!isTaken && this.#wished === null)) {
      const problem = isTaken ? STRINGS.nickTaken(nick, proposal) : STRINGS.nickRefused(nick, reason);
      this.#dialog.ask(proposal, { isNeeded: true, problem });
      this.#status.expectEnd(STRINGS.needNick);
    } else if (this.#dialog.isWaiting) {
      const isOwnName = sameNick(proposal, this.#session.nick);
      const other = isOwnName ? otherNick(proposal) : proposal; // "Ada" is taken, and the reader is "Ada2" already
      this.#dialog.refuse(other, isTaken ? STRINGS.nickTaken(nick, other) : STRINGS.nickRefused(nick, reason));
    } else {
      this.#notice(isTaken ? "nickTaken" : "nickRefused", nick, reason);
    }
    this.#wished = null;
  }
}
