/** Who the reader is at the server: logging in and out. Loaded where the server knows users, and nowhere else. */

import { canLogIn, embedContext, forgetPerson } from "./embed/context.js";
import { roomHash, roomNamed } from "./model/addresses.js";
import { askWho, logIn, logOut } from "./protocol/login.js";
import { STRINGS } from "./strings.js";
import { $, placeOfLogIn } from "./view/dom.js";
import { LoginDialog } from "./view/login-dialog.js";
import { toast } from "./view/toast.js";

/** After wrong passwords the server takes its time; it never takes so long. */
const MOST_WAITING_MS = 90000;

export class Access {
  #session;
  #person;
  #status;
  #stores;
  #dialog = new LoginDialog();
  #isRefused = false; // there is no connection, because the server wants a log-in
  #hasRetried = false;
  #isLoggingOut = false;
  #isEnding = false; // the page is about to be loaded anew
  #followed = null; // the user that another window has logged in, and as whom this one is connecting

  /** `stores` are the Stores that know the person; `onclosed()` is called when the dialog was closed. */
  constructor({ session, person, status, stores, onclosed }) {
    this.#session = session;
    this.#person = person;
    this.#status = status;
    this.#stores = stores;
    this.#dialog.onsubmit = (credentials, signal) => this.#logIn(credentials, signal);
    this.#dialog.onclosed = onclosed;
    $("log-in").addEventListener("click", () => this.#dialog.ask(STRINGS.logInWanted, ""));
    $("log-out").addEventListener("click", () => this.#logOut());
    document.addEventListener("visibilitychange", () => {
      // The reader may have logged in elsewhere.
      if (!document.hidden && this.#isRefused && !this.#dialog.isOpen) this.#session.connect();
    });
  }

  /** The server has let the reader in, as this user, "" for an anonymous person. */
  show(user) {
    if (this.#isRefused) this.#dialog.dismiss();
    this.#isRefused = this.#hasRetried = false;
    this.#followed = null;
    this.#showAccount(user);
  }

  #showAccount(user) {
    const hasForm = placeOfLogIn() === "form" && canLogIn();
    $("account-user").textContent = user;
    $("account-shown").hidden = user === "";
    $("log-in").hidden = !hasForm || user !== "";
    $("log-out").hidden = !hasForm || user === "";
    $("account").hidden = !hasForm && user === "";
  }

  /** The server has refused the connection. Ask for a log-in, or say where there is one. */
  async refused() {
    if (this.#isLoggingOut || this.#isEnding) return;
    this.#isRefused = true;
    const { user, form } = await askWho().catch(() => ({ user: "", form: null }));
    if (!this.#isRefused || form === null) return; // the status says what there is to say
    if (user !== "" && !this.#hasRetried) {
      this.#hasRetried = true;
      this.#session.connect();
    } else if (user !== "") {
      this.#status.explain(STRINGS.noEntry(user));
      this.#showAccount(user);
    } else if (form === "") {
      this.#status.explain(STRINGS.siteLogIn);
    } else if (!canLogIn()) {
      this.#status.explain(STRINGS.frameLogIn, { link: location.hash });
    } else {
      this.#status.explain(STRINGS.needLogIn, { button: STRINGS.logIn });
      this.#dialog.ask(this.#person.user === "" ? STRINGS.logInFirst : STRINGS.logInAgain, this.#person.user);
    }
  }

  /** Another window of this browser has logged in, or out. It tells so several times. */
  follow() {
    if (this.#session.user !== "") this.beginAnew(["sessionStorage"]);
    else if (this.#followed !== this.#person.user) {
      this.#followed = this.#person.user;
      this.#connect();
    }
  }

  /**
   * This browser is not the user's any more: forget everything that was theirs, and load the page anew. What all
   * windows share is forgotten once, by the window that knows it first: it may be the next user's already.
   */
  beginAnew(storages = ["localStorage", "sessionStorage"]) {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#session.connection.sleep();
    for (const store of this.#stores) store.close();
    forgetPerson(storages);
    const hash = embedContext === null ? "" : roomHash(roomNamed(embedContext.room).name);
    history.replaceState(null, "", `${location.pathname}${location.search}${hash}`);
    location.reload();
  }

  async #logIn(credentials, signal) {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), MOST_WAITING_MS);
    signal.addEventListener("abort", () => limit.abort());
    const { user, problem } = await logIn(credentials, { signal: limit.signal });
    clearTimeout(timer);
    if (problem !== "") return STRINGS.logInProblems[problem];
    if (this.#person.user !== "" && this.#person.user !== user) this.beginAnew();
    else this.#connect();
    return "";
  }

  #connect() {
    this.#dialog.dismiss();
    this.#hasRetried = true; // as this user, and at once
    if (this.#session.user === "") this.#session.forgetNick();
    this.#session.connection.reconnect();
  }

  async #logOut() {
    this.#isLoggingOut = true;
    try {
      if ((await logOut()) === "") {
        this.beginAnew();
        return;
      }
      toast(STRINGS.siteKeepsLogIn);
    } catch {
      toast(STRINGS.notLoggedOut);
    }
    this.#isLoggingOut = false;
    this.#session.connect();
  }
}
