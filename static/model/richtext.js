/** The text of a message in parts: plain text, links and mentions of the reader. */

/** http and https only: no other address may ever become a link. */
const LINK = /\bhttps?:\/\/[^\s<>"'`\p{Cc}]+/giu;
const MAX_LINK_CHARS = 2000;
/** Characters at the end of an address that belong to the sentence around it. */
const TAIL = /[.,;:!?…*_~]+$/u;

function trimmed(url) {
  let link = url.replace(TAIL, "");
  for (const [open, close] of ["()", "[]", "{}"]) {
    while (link.endsWith(close) && link.split(open).length < link.split(close).length) {
      link = link.slice(0, -1).replace(TAIL, "");
    }
  }
  return link;
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

/** Return a pattern that finds a nickname as a word, with or without "@"; one-letter names need the "@". */
export function mentionPattern(nick) {
  if (nick === "") return null;
  const at = [...nick].length < 2 ? "@" : "@?";
  return new RegExp(`(?<![\\p{L}\\p{N}_@])${at}${escaped(nick)}(?![\\p{L}\\p{N}_])`, "giu");
}

/** Return whether a text mentions the nickname. */
export function mentions(text, nick) {
  const pattern = mentionPattern(nick);
  return pattern !== null && pattern.test(text);
}

/** Return `[{text, url?, isMention?}]`. The parts, joined, are the original text. */
export function partsOf(text, nick = "") {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trimmed(match[0]);
    const url = safeUrl(link);
    if (url === null) continue;
    if (match.index > from) parts.push({ text: text.slice(from, match.index) });
    parts.push({ text: link, url });
    from = match.index + link.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  const pattern = mentionPattern(nick);
  return pattern === null ? parts : parts.flatMap((part) => (part.url ? [part] : split(part.text, pattern, "isMention")));
}

/** Split a text at the matches of `pattern` (global). The parts that match get the property `flag`. */
export function split(text, pattern, flag) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (match[0] === "") continue;
    if (match.index > from) parts.push({ text: text.slice(from, match.index) });
    parts.push({ text: match[0], [flag]: true });
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** Return a pattern that finds the query in any letter case; null if the query is empty. */
export function searchPattern(query) {
  const words = query.trim();
  return words === "" ? null : new RegExp(escaped(words), "giu");
}
