/** Mentions: where a text names a person, by the same rule by which the server compares nicknames. */

import { foldNick, foldText } from "./nicknames.js";

/** Of one message; more of them add nothing. */
export const MAX_MENTIONS = 200;
/** A letter with its accents and what is not seen between them, or the parts of one Korean syllable. */
const LETTERS = /[\u1100-\u115f][\u1160-\u11ff]{1,2}|[^][\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}]{0,16}/uy;
const SPACE = /^[\s\p{Cc}]/u;
const ASCII_END = 0x80;
const IN_WORD = /^[\p{L}\p{N}_]/u;

/** Return whether the character that begins at `index` is a letter, a digit or "_". */
function isInWord(text, index) {
  return index < text.length && IN_WORD.test(text.slice(index, index + 2));
}

/** Return the index of the character before `index`. */
function before(text, index) {
  const isPair = index > 1 && /[\udc00-\udfff]/.test(text[index - 1]) && /[\ud800-\udbff]/.test(text[index - 2]);
  return index - (isPair ? 2 : 1);
}

/** Return the letter at `index`, with its accents. */
function letterAt(text, index) {
  // Most are followed by one of the same kind, so nothing belongs to them.
  if (text.charCodeAt(index) < ASCII_END && !(text.charCodeAt(index + 1) >= ASCII_END)) return text[index];
  LETTERS.lastIndex = index;
  return LETTERS.exec(text)[0];
}

/** What letters have become before: most texts have few different ones. */
const known = new Map();
const MAX_KNOWN = 2000;

function folding(letter) {
  let form = known.get(letter);
  if (form === undefined) {
    form = SPACE.test(letter) ? " " : foldText(letter);
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(letter, form);
  }
  return form;
}

/**
 * Return {folded, places}: a text in the form in which nicknames are compared, and for each place in it the place in
 * the text, -1 in the middle of what one letter has become.
 */
function foldWithPlaces(text) {
  const folded = [];
  const places = [];
  let isAfterSpace = false;
  for (let index = 0, next; index < text.length; index = next) {
    const letter = letterAt(text, index);
    next = index + letter.length;
    const form = folding(letter);
    const isSpace = form === " ";
    if (form === "" || (isSpace && isAfterSpace)) continue;
    isAfterSpace = isSpace;
    folded.push(form);
    places.push(index);
    for (let more = 1; more < form.length; more++) places.push(-1);
  }
  places.push(text.length);
  return { folded: folded.join(""), places };
}

/** Return where the mention at `begin` begins, "@" included; -1 if it stands in a word, or lacks an "@" that it needs. */
function beginOf(text, begin, needsAt) {
  let from = begin;
  if (from > 0 && text[from - 1] === "@") from -= 1;
  else if (needsAt) return -1;
  const last = from === 0 ? "" : text.slice(before(text, from), from);
  return last === "@" || IN_WORD.test(last) ? -1 : from;
}

/**
 * Return [[begin, end], …]: where a text has the nickname as a word, with or without "@" before it, `most` places at
 * the most; names of one letter need the "@".
 */
export function mentionsIn(text, nick, most = MAX_MENTIONS) {
  const found = [];
  const key = foldNick(nick);
  if (key === "" || text === "" || most === 0) return found;
  const needsAt = [...nick].length < 2;
  const { folded, places } = foldWithPlaces(text);
  for (let at = folded.indexOf(key); at >= 0 && found.length < most; at = folded.indexOf(key, at + 1)) {
    const end = places[at + key.length];
    if (places[at] < 0 || end < 0 || isInWord(text, end)) continue;
    const begin = beginOf(text, places[at], needsAt);
    if (begin < 0 || (found.length > 0 && begin < found.at(-1)[1])) continue;
    found.push([begin, end]);
  }
  return found;
}

/** Return whether a text mentions the nickname. */
export function mentions(text, nick) {
  return mentionsIn(text, nick).length > 0;
}
