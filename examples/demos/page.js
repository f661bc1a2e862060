/** What the demo pages share: the state of the connection, the choice of a target, the text field. */

import "/static/tcpsocket.js";
import { askTargets, parseTarget, targetsFor } from "./targets.js";
import { WORDS, closeWords } from "./words.js";

export const { TCPSocket } = globalThis;
export { WORDS, closeWords };

const MAX_OFFERED_TARGETS = 50;

export const $ = (id) => document.getElementById(id);

/** Return a new element with a class and a text. Text from users becomes text nodes, never HTML. */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Show "offline", "connecting" or "online"; `words` replaces the usual text. */
export function showState(state, words = WORDS[state]) {
  document.body.dataset.state = state;
  $("state").textContent = words;
}

/** Show what went wrong; "" hides it. Screen readers say it, too. */
export function showProblem(words) {
  $("problem").textContent = words;
  $("problem").hidden = words === "";
}

/** Let screen readers say this, after what they are saying. */
export function announce(words) {
  $("announcement").textContent = words;
}

/** Offer the targets that this page may reach in the field #target, and fill in the likeliest for the demo. */
export async function offerTargets(demo, defaultPort) {
  const field = $("target");
  try {
    const targets = targetsFor(demo, (await askTargets()).targets);
    for (const { text } of targets.slice(0, MAX_OFFERED_TARGETS)) {
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

/** Return the target in the field #target, or null after showing what is wrong with it. */
export function readTarget(defaultPort = null) {
  const target = parseTarget($("target").value, defaultPort);
  if (target === null) {
    showProblem(WORDS.badTarget);
    $("target").focus();
  }
  return target;
}

/**
 * Run the form #composer: Enter sends, Shift+Enter starts a new line, ArrowUp in an empty field brings back what was
 * sent before. `onsend(text)` returns false to leave the text in the field.
 */
export function startComposer(onsend) {
  const field = $("text");
  const sent = [];
  let shown = 0; // the index of the one in the field; sent.length if it is none of them

  const set = (value) => {
    field.value = value;
    // The style sheet gives the field the height of this copy of its text.
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
    // While an input method is composing, it owns the keys.
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

/** What this browser keeps of a demo's form, never a password. Where the user has disabled storage, it is forgotten. */
export const store = {
  get(key) {
    try {
      return localStorage.getItem(`rtchat.demos.${key}`) ?? "";
    } catch {
      return "";
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`rtchat.demos.${key}`, value);
    } catch {
      // Disabled or full.
    }
  },
};
