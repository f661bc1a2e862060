/** Helpers for elements. Text from users becomes text nodes, never HTML. */

import { STRINGS } from "../strings.js";

export const $ = (id) => document.getElementById(id);

/** Return a new element with a class and a text. */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Fill in the texts of strings.js where index.html names them. */
export function fillIn() {
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = STRINGS[element.dataset.text];
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", STRINGS[element.dataset.label]);
    if (element.matches("button")) element.title = STRINGS[element.dataset.label];
  }
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = STRINGS[element.dataset.hint];
}

/** Return where people log in, as the server says: "form", on this page; "site", at another one; "", nowhere. */
export function placeOfLogIn() {
  return document.querySelector('meta[name="rtchat-log-in"]')?.content ?? "";
}

/** Let screen readers say this, after what they are saying. */
export function announce(words) {
  $("announcement").textContent = words;
}

/** A page without a frame for so long is hidden, or as good as hidden. */
const NO_FRAME_MS = 1000;

/**
 * Return a function that runs `act` once in the next animation frame, however often it is called. A hidden page has no
 * frames, not even the one that it asked for just before; there a timer takes their place.
 */
export function oncePerFrame(act) {
  let frame = null;
  let timer = null;
  const run = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    frame = timer = null;
    act();
  };
  return () => {
    if (timer !== null) return;
    frame = requestAnimationFrame(run);
    timer = setTimeout(run, document.hidden ? 0 : NO_FRAME_MS);
  };
}

/**
 * Make the children of `list` match `items`, in order. An item with a known key keeps its element, and so the focus.
 * `build(item)` returns a new element, `update(element, item)` updates one.
 */
export function syncChildren(list, items, key, build, update) {
  const before = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let next = list.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = before.get(name);
    before.delete(name);
    if (element === undefined) {
      element = build(item);
      element.dataset.key = name;
    }
    update(element, item);
    if (element === next) next = next.nextElementSibling;
    else list.insertBefore(element, next);
  }
  for (const element of before.values()) element.remove();
}
