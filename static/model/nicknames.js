/** Nicknames: how they are cleaned, compared and coloured. */

import { cut, small } from "./text.js";

export const MAX_NICK_CHARS = 32;

/**
 * Return a nickname on one line, "" if nothing is left of it. Control characters go, and so do invisible format
 * characters, which change how their neighbours look; U+200C and U+200D stay, because scripts and emoji need them.
 */
export function cleanNick(nick) {
  const visible = nick.replace(/[\s\p{Cc}]+/gu, " ").replace(/(?![\u200c\u200d])[\p{Cf}\p{Cs}]/gu, "");
  return cut(visible.trim(), MAX_NICK_CHARS).trim();
}

/** Return the form in which nicknames are compared; two that the server takes for one have the same. */
export function foldNick(nick) {
  // Invisible characters go first: between a letter and its accent they would keep the two from becoming one.
  const seen = nick.replace(/[\p{Cf}\ufe00-\ufe0f]/gu, "");
  return small(seen.normalize("NFKC")).normalize("NFKC").replaceAll("ς", "σ").replace(/\s+/gu, " ").trim();
}

/** Return whether two nicknames are the same: case, compatibility forms, spaces and invisible characters aside. */
export function sameNick(one, other) {
  return foldNick(one) === foldNick(other);
}

/** Return a number from 0 to 7 that depends on the nickname alone; the style sheet has a colour for each. */
export function hueOf(nick) {
  let hash = 0;
  for (const character of nick.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return (hash ^ (hash >>> 9)) & 7;
}
