/**
 * The chat in a frame of another page: takes what is on the chat page into this one, and starts it. A page that loads
 * must not lose its focus, nor its place, to a chat further down: nothing here takes the focus before somebody comes.
 */

import { Memory } from "../model/memory.js";
import { cleanNick } from "../protocol/messages.js";
import { STRINGS } from "../strings.js";
import { place, sharedStorageOf } from "./place.js";

const memory = new Memory(sharedStorageOf("localStorage"));
const cover = document.getElementById("cover");
const button = document.getElementById("cover-button");

/** Tells the page around this frame what has come about, and no other page, should that one have been left. */
function tellHost(what) {
  try {
    parent.postMessage({ rtchat: what }, place.host === "" ? "/" : place.host);
  } catch {
    // Not an origin: nobody waits.
  }
}

/** Covers all else with one button, and gives a promise of its being pressed. */
function waitFor(words, label) {
  document.getElementById("cover-text").textContent = words;
  button.textContent = label;
  cover.hidden = false;
  return new Promise((pressed) => {
    button.addEventListener("click", pressed, { once: true });
  });
}

/** Browsers let a frame take the focus of the page around it, and scroll that page to it. */
function keepFocusOutside() {
  const { focus } = HTMLElement.prototype;
  const { showModal } = HTMLDialogElement.prototype;
  const isSomebodyHere = () => navigator.userActivation.hasBeenActive;
  HTMLElement.prototype.focus = function (options) {
    if (isSomebodyHere()) focus.call(this, options);
  };
  // There is one dialog: it asks for another nickname when somebody else has the one that is known here.
  HTMLDialogElement.prototype.showModal = function () {
    if (isSomebodyHere()) {
      showModal.call(this);
      return;
    }
    waitFor(STRINGS.needNick, STRINGS.changeNick).then(() => {
      cover.hidden = true;
      showModal.call(this);
    });
  };
}

/** The styles and the body of the chat page, which is read rather than repeated. */
async function readChatPage() {
  const answer = await fetch("/");
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
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
  const nick = cleanNick(place.nick);
  if (nick !== "") memory.remember("nick", nick);
  // Somebody who is not known here is asked for a name when he wants to come in, and not before.
  if (memory.recall("nick") === "") await waitFor(place.room === "" ? STRINGS.lobby : `#${place.room}`, STRINGS.joinHere);
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
  await import("../chat.js");
}

tellHost("ready");
keepFocusOutside();
start();
