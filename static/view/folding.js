/** Long messages: only their first lines are shown until "Show more" is pressed. */

import { STRINGS } from "../strings.js";
import { make } from "./dom.js";

/** Longer texts are folded; the style sheet shows twelve lines of them, so that folding is worth it. */
const MOST_LINES = 18;
const CHARACTER_PX = 8.5;
const WIDEST_CHARS = 72;

/** Return whether a text takes more lines than are shown of it in a list of this width. */
export function isLong(text, widthPx) {
  const perLine = Math.max(20, Math.min(WIDEST_CHARS, widthPx / CHARACTER_PX));
  let lines = 0;
  for (const line of text.split("\n")) {
    lines += Math.max(1, Math.ceil(line.length / perLine));
    if (lines > MOST_LINES) return true;
  }
  return false;
}

/**
 * Fold the element with a message's text. Return the button that unfolds it, and folds it again.
 * `onfold(isFolded, focused)` is called after each change of its height; `focused` is the element that has just got the
 * focus and is to be seen, or null.
 */
export function fold(content, isFolded, onfold) {
  const button = make("button", "unfold");
  button.type = "button";
  const set = (isNow) => {
    content.classList.toggle("folded", isNow);
    button.textContent = isNow ? STRINGS.showMore : STRINGS.showLess;
    button.setAttribute("aria-expanded", String(!isNow));
  };
  const change = (isNow, focused = null) => {
    set(isNow);
    onfold(isNow, focused);
  };
  set(isFolded);
  button.addEventListener("click", () => change(!content.classList.contains("folded")));
  // A link in the part that is not shown must not hide the focus.
  content.addEventListener("focusin", ({ target }) => {
    if (content.classList.contains("folded")) change(false, target);
  });
  return button;
}
