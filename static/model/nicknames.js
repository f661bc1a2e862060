/** Nicknames: how they are cleaned, compared and coloured. */

import { cut, small } from "./text.js";

/** Of a nickname that is chosen here, in UTF-16 code units; the server's own limit is not known. */
export const MAX_NICK_CHARS = 32;
/**
 * No server has a longer nickname. It is not cut to fewer: two that differ in what is cut off would look the same.
 */
const MOST_NICK_CHARS = 2000;

/** Characters that are not drawn, or are drawn empty. The server refuses a nickname with one of them. */
const UNSEEN = "\\p{Cf}\\p{Cs}\\p{Default_Ignorable_Code_Point}\\u2800\\u{13441}\\u{13442}\\u{16fe4}\\u{1d159}";
/** All but those that scripts and emoji need; they make no difference when nicknames are compared. */
const DROPPED = new RegExp(`(?![\\u200c\\u200d\\p{Variation_Selector}])[${UNSEEN}]`, "gu");
const NOT_COMPARED = new RegExp(`[${UNSEEN}]`, "gu");
const SPACES = /[\s\p{Cc}]+/gu;

/**
 * Return a nickname on one line, "" if nothing is left of it. Control characters go, and so do those that are not
 * seen: they would make another name that looks the same.
 */
export function cleanNick(nick) {
  return cut(nick, MOST_NICK_CHARS).replace(SPACES, " ").replace(DROPPED, "").trim();
}

/** Return the nickname that a person has typed: cleaned, and not too long for the server. */
export function chosenNick(text) {
  return cut(cleanNick(text), MAX_NICK_CHARS).trim();
}

/** Return the form in which nicknames are compared; two that the server takes for one have the same. */
export function foldNick(nick) {
  return foldText(cut(nick, MOST_NICK_CHARS)).replace(SPACES, " ").trim();
}

/** Return a text in that form, with its spaces as they are. */
export function foldText(text) {
  // Invisible characters go first: between a letter and its accent they would keep the two from becoming one.
  const seen = text.replace(NOT_COMPARED, "");
  return small(seen.normalize("NFKC")).normalize("NFKC").replaceAll("ς", "σ");
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
