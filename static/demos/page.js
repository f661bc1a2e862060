/** What the demo pages share: the state of the connection, the choice of a target, the field one writes in. */

import "../tcpsocket.js";
import { askTargets, parseTarget, targetsFor } from "./targets.js";
import { WORDS, closeWords } from "./words.js";

export const { TCPSocket } = globalThis;
export { WORDS, closeWords };

const NEVER_LISTED = 50; // more choices than this help nobody

export const $ = (id) => document.getElementById(id);

/** An element with a class and, as text and nothing else, its content. */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Shows "offline", "connecting" or "online"; `words` instead of the usual ones, if there are any. */
export function showState(state, words = WORDS[state]) {
  document.body.dataset.state = state;
  $("state").textContent = words;
}

/** Says what went wrong, to the eye and the ear; "" takes it away. */
export function showProblem(words) {
  $("problem").textContent = words;
  $("problem").hidden = words === "";
}

/** Screen readers say this when they are done with what they are saying. */
export function announce(words) {
  $("announcement").textContent = words;
}

/** Offers the targets that this page may reach in the field #target, and fills in the likeliest for the demo. */
export async function offerTargets(demo, defaultPort) {
  const field = $("target");
  try {
    const targets = targetsFor(demo, (await askTargets()).targets);
    for (const { text } of targets.slice(0, NEVER_LISTED)) {
      const option = document.createElement("option");
      option.value = text;
      $("targets").append(option);
    }
    if (field.value === "" && targets.length > 0) field.value = targets[0].text;
    if (targets.length === 0) showProblem(WORDS.noTargets(defaultPort));
  } catch {
    showProblem(WORDS.noAnswer);
  }
}

/** The target in the field #target, or null after saying what is wrong with it. */
export function readTarget(defaultPort = null) {
  const target = parseTarget($("target").value, defaultPort);
  if (target === null) {
    showProblem(WORDS.badTarget);
    $("target").focus();
  }
  return target;
}

/**
 * Makes the form #composer work: Enter sends, Shift+Enter begins a new line, ArrowUp in an empty field brings back
 * what was sent before. `onsend` gets the text; if it gives false, the text stays where it is.
 */
export function startComposer(onsend) {
  const field = $("text");
  const sent = [];
  let shown = 0; // which of them stands in the field; the length: none

  const set = (value) => {
    field.value = value;
    // The style sheet makes the field as tall as this copy of its text.
    field.parentElement.dataset.text = value;
  };
  const submit = () => {
    const value = field.value;
    if (onsend(value) === false) return;
    if (value !== "" && value !== sent.at(-1)) sent.push(value);
    if (sent.length > 200) sent.shift();
    shown = sent.length;
    set("");
  };
  field.addEventListener("input", () => set(field.value));
  field.addEventListener("keydown", (event) => {
    // While an input method is composing, the keys belong to it.
    if (event.isComposing || event.keyCode === 229) return;
    const isRecalled = shown < sent.length && field.value === sent[shown];
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    } else if (step !== undefined && (field.value === "" || isRecalled)) {
      event.preventDefault();
      shown = Math.min(sent.length, Math.max(0, shown + step));
      set(sent[shown] ?? "");
    }
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    field.focus();
  });
}

/** What this browser remembers of a demo's form, never a password; it forgets where the user has turned that off. */
export const memory = {
  recall(key) {
    try {
      return localStorage.getItem(`rtchat.demos.${key}`) ?? "";
    } catch {
      return "";
    }
  },
  remember(key, value) {
    try {
      localStorage.setItem(`rtchat.demos.${key}`, value);
    } catch {
      // Turned off or full: the page works, it forgets.
    }
  },
};
