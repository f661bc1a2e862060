/** Short words about what has just happened, for eyes and for screen readers. */

import { $, announce } from "./dom.js";

const SHOWN_MS = 5000;

let timer = null;

/** Show these words for a moment, and let screen readers say them. */
export function toast(words) {
  announce(words);
  clearTimeout(timer);
  $("toast").textContent = words;
  $("toast").hidden = false;
  timer = setTimeout(() => {
    $("toast").hidden = true;
  }, SHOWN_MS);
}
