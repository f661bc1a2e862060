/**
 * The chat in a frame of another page: takes the elements of the chat page over and starts it. A page that is loading
 * must lose neither its focus nor its scroll position to a chat further down, so nothing here takes the focus before
 * the visitor has used the frame.
 */

import { embedContext, sharedStorageOf } from "./embed/context.js";
import { roomNamed } from "./model/addresses.js";
import { chosenNick } from "./model/nicknames.js";
import { Store } from "./model/storage.js";
import { STRINGS } from "./strings.js";

const store = new Store(sharedStorageOf("localStorage"));
const cover = document.getElementById("cover");
const button = document.getElementById("cover-button");

/** Send a message to the page around this frame, and to no page that may have taken its place. */
function tellHost(what) {
  try {
    parent.postMessage({ rtchat: what }, embedContext.host === "" ? "/" : embedContext.host);
  } catch {
    // Not an origin, so no page is waiting.
  }
}

/** Cover everything with one button. Return a promise that is resolved when it is pressed. */
function waitFor(words, label) {
  document.getElementById("cover-text").textContent = words;
  button.textContent = label;
  cover.hidden = false;
  return new Promise((pressed) => {
    button.addEventListener("click", pressed, { once: true });
  });
}

/** Keep the frame from taking the focus of the page around it, and scrolling that page, before it is used. */
function keepFocusOutside() {
  const { focus } = HTMLElement.prototype;
  const { showModal } = HTMLDialogElement.prototype;
  const isActivated = () => navigator.userActivation.hasBeenActive;
  HTMLElement.prototype.focus = function (options) {
    if (isActivated()) focus.call(this, options);
  };
  // A dialog asks for another nickname when the known one is taken, or for a log-in.
  HTMLDialogElement.prototype.showModal = function () {
    if (isActivated()) {
      showModal.call(this);
      return;
    }
    const words = this.id === "login-dialog" ? [STRINGS.needLogIn, STRINGS.logIn] : [STRINGS.needNick, STRINGS.changeNick];
    waitFor(...words).then(() => {
      cover.hidden = true;
      showModal.call(this);
    });
  };
}

/** Load the styles of the chat page. Return the elements of its body. */
async function readChatPage() {
  const answer = await fetch("/");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.head.append(...page.head.querySelectorAll('meta[name="rtchat-log-in"]'));
  const styles = [...page.head.querySelectorAll('link[rel="stylesheet"]')];
  const loaded = styles.map((link) => new Promise((done) => {
    link.addEventListener("load", done);
    link.addEventListener("error", done);
  }));
  document.head.prepend(...styles);
  await Promise.all(loaded);
  return [...page.body.children].filter((element) => !element.matches("noscript"));
}

async function start() {
  const nick = chosenNick(embedContext.nick);
  // A user is called as the server says.
  if (nick !== "" && store.get("user") === "") store.set("nick", nick);
  // A visitor without a nickname is asked for one only after pressing the button.
  const { name } = roomNamed(embedContext.room);
  const roomName = name === null ? STRINGS.lobby : `#${name}`;
  if (store.get("nick") === "") await waitFor(roomName, STRINGS.joinHere);
  let elements = null;
  while (elements === null) {
    try {
      elements = await readChatPage();
    } catch {
      await waitFor(STRINGS.noAnswer, STRINGS.retryNow);
    }
  }
  cover.hidden = true;
  document.body.append(...elements);
  document.body.classList.add("chat");
  await import("./chat.js");
}

tellHost("ready");
keepFocusOutside();
start();
