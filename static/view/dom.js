/** Small helpers for elements. What people wrote becomes text nodes, never HTML. */

import { STRINGS } from "../strings.js";

export const $ = (id) => document.getElementById(id);

/** An element with a class and, as text and nothing else, its content. */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Puts the words of strings.js where index.html names them. */
export function fillIn() {
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = STRINGS[element.dataset.text];
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", STRINGS[element.dataset.label]);
    if (element.matches("button")) element.title = STRINGS[element.dataset.label];
  }
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = STRINGS[element.dataset.hint];
}

/** Screen readers say this when they are done with what they are saying. */
export function announce(words) {
  $("announcement").textContent = words;
}

/** Runs `act` once in the next frame, however often it is asked for; also in a hidden page, where no frames come. */
export function oncePerFrame(act) {
  let isPlanned = false;
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    const run = () => {
      isPlanned = false;
      act();
    };
    if (document.hidden) setTimeout(run, 0);
    else requestAnimationFrame(run);
  };
}

/**
 * Makes the children of `list` those of `items`, in order; an item whose key was there keeps its element, and with it
 * the focus. `build(item)` makes one, `update(element, item)` brings it up to date.
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
