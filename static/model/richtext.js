/**
 * The text of a message in parts: plain text, links and mentions of the reader.
 *
 * Texts come from strangers, so the time that each function takes grows with the length of the text and no faster, and
 * a text has a bounded number of parts. tests/js/effort.test.mjs holds that.
 */

import { MAX_MENTIONS, mentionsIn } from "./mentions.js";

/** http and https only: no other address may ever become a link. */
const LINK = /\bhttps?:\/\/[^\s<>"'`\p{Cc}]+/giu;
const MAX_LINK_CHARS = 2000;
/** Of a message; the rest of it is plain text. */
const MAX_LINKS = 200;
/** Parts that split() marks in one text. */
const MAX_MARKS = 500;
/** Characters at the end of an address that belong to the sentence around it. */
const TAIL = ".,;:!?…*_~";
const BRACKETS = ["()", "[]", "{}"];

/** Return an address without the end that belongs to the sentence: points, and brackets that were opened outside. */
function trimmed(url) {
  const surplus = {}; // closing bracket -> how many more are closed than opened
  for (const [open, close] of BRACKETS) surplus[close] = url.split(close).length - url.split(open).length;
  let end = url.length;
  for (; end > 0; end--) {
    const last = url[end - 1];
    if (TAIL.includes(last)) continue;
    if (!(surplus[last] > 0)) break;
    surplus[last] -= 1;
  }
  return url.slice(0, end);
}

/** Return the address if it may become a link, else null. */
export function safeUrl(text) {
  if (text.length > MAX_LINK_CHARS) return null;
  try {
    const url = new URL(text);
    return (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "" ? url.href : null;
  } catch {
    return null;
  }
}

function escaped(text) {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/** Return `[{text, url?, isMention?}]`. The parts, joined, are the original text. */
export function partsOf(text, nick = "") {
  const parts = [];
  let from = 0;
  let links = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trimmed(match[0]);
    const url = safeUrl(link);
    if (url === null) continue;
    if (match.index > from) parts.push({ text: text.slice(from, match.index) });
    parts.push({ text: link, url });
    from = match.index + link.length;
    links += 1;
    if (links === MAX_LINKS) break;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  let left = MAX_MENTIONS;
  return parts.flatMap((part) => {
    if (part.url) return [part];
    const places = mentionsIn(part.text, nick, left);
    left -= places.length;
    return splitAt(part.text, places, "isMention");
  });
}

/** Split a text at the matches of `pattern` (global). The parts that match get the property `flag`. */
export function split(text, pattern, flag) {
  const places = [];
  for (const match of text.matchAll(pattern)) {
    if (match[0] === "") continue;
    places.push([match.index, match.index + match[0].length]);
    if (places.length === MAX_MARKS) break;
  }
  return splitAt(text, places, flag);
}

/** Split a text at `places`, which are [begin, end] in order. The parts between them get the property `flag`. */
function splitAt(text, places, flag) {
  const parts = [];
  let from = 0;
  for (const [begin, end] of places) {
    if (begin > from) parts.push({ text: text.slice(from, begin) });
    parts.push({ text: text.slice(begin, end), [flag]: true });
    from = end;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** Return a pattern that finds the query in any letter case; null if the query is empty. */
export function searchPattern(query) {
  const words = query.trim();
  return words === "" ? null : new RegExp(escaped(words), "giu");
}
