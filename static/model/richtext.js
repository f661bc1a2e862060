/** A message's text as parts: plain text, links, and the reader's own name. No DOM and no HTML in here. */

/** http and https only: nothing else may ever become the address of a link. */
const LINK = /\bhttps?:\/\/[^\s<>"'`\p{Cc}]+/giu;
const MAX_LINK_CHARS = 2000;
/** What is a sentence's rather than an address's last character. */
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

/** The address of a link if it may be one, else null. */
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

/** What finds a nickname as a word of its own, with or without "@". Names of one letter need the "@". */
export function mentionPattern(nick) {
  if (nick === "") return null;
  const at = [...nick].length < 2 ? "@" : "@?";
  return new RegExp(`(?<![\\p{L}\\p{N}_@])${at}${escaped(nick)}(?![\\p{L}\\p{N}_])`, "giu");
}

/** Whether a text names somebody. */
export function mentions(text, nick) {
  const pattern = mentionPattern(nick);
  return pattern !== null && pattern.test(text);
}

/** `[{text, url?, isMention?}]`; the texts, joined, are the text as it was. */
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

/** Cuts a text where `pattern` (global) matches; the matches get `flag`. */
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

/** What finds the words of a search, in any case of letters; null if there is nothing to look for. */
export function searchPattern(query) {
  const words = query.trim();
  return words === "" ? null : new RegExp(escaped(words), "giu");
}
