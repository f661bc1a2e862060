/** Nicknames: how they are cleaned, compared and coloured. */

import { cut } from "./text.js";

export const MAX_NICK_CHARS = 32;

/**
 * Return a nickname on one line, "" if nothing is left of it. Control characters go, and so do invisible format
 * characters, which change how their neighbours look; U+200C and U+200D stay, because scripts and emoji need them.
 */
export function cleanNick(nick) {
  const visible = nick.replace(/[\s\p{Cc}]+/gu, " ").replace(/(?![\u200c\u200d])[\p{Cf}\p{Cs}]/gu, "");
  return cut(visible.trim(), MAX_NICK_CHARS).trim();
}

/** Return the form in which nicknames are compared. */
export function foldNick(nick) {
  return nick.normalize("NFKC").toLowerCase();
}

/** Return whether two nicknames are the same, letter case and compatibility forms aside. */
export function sameNick(one, other) {
  return foldNick(one) === foldNick(other);
}

/** Return a number from 0 to 7 that depends on the nickname alone; the style sheet has a colour for each. */
export function hueOf(nick) {
  let hash = 0;
  for (const character of nick.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return (hash ^ (hash >>> 9)) & 7;
}
