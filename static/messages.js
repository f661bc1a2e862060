/** What a chat message looks like on the wire, and the room an address names. No DOM in here. */

export const MAX_NICK_CHARS = 32;
export const MAX_TEXT_CHARS = 4000;
/** Other STOMP clients may send more than the page lets people type; this much of it is shown. */
export const MAX_SHOWN_CHARS = 16000;

const LOBBY = "/topic/chat";
const MAX_ROOM_CHARS = 64;

/** The first `max` characters, never half of a surrogate pair. */
export function cut(text, max) {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max);
}

/** A nickname on one line without control characters, "" if nothing is left. */
export function cleanNick(nick) {
  return cut(nick.replace(/[\s\p{Cc}]+/gu, " ").trim(), MAX_NICK_CHARS).trim();
}

export function writeBody(nick, text) {
  return JSON.stringify({ nick, text });
}

/**
 * `{nick, text, bytes}` of a MESSAGE frame. `nick` is null unless the body is {"nick": "…", "text": "…"};
 * any other text is the message itself. `bytes` is the length of a body that is no text, else null.
 */
export function readBody(frame) {
  if (typeof frame.body !== "string") return { nick: null, text: "", bytes: frame.bytes.length };
  let value = null;
  try {
    value = JSON.parse(frame.body);
  } catch {
    // plain text, from any STOMP client
  }
  if (value !== null && typeof value.nick === "string" && typeof value.text === "string") {
    return { nick: cleanNick(value.nick) || null, text: value.text, bytes: null };
  }
  return { nick: null, text: frame.body, bytes: null };
}

/** `{destination, name}` for an address's "#NAME"; name is null in the lobby. */
export function roomOf(hash) {
  let raw = hash.replace(/^#/, "");
  try {
    raw = decodeURIComponent(raw);
  } catch {
    // a stray % in the address: take it as it is
  }
  // The characters that mean "any word" in a SUBSCRIBE, and all others that are not part of a word, become "-".
  const name = cut(raw.replace(/[^\p{L}\p{M}\p{N}._-]+/gu, "-"), MAX_ROOM_CHARS)
    .replace(/\.{2,}/g, ".")
    .replace(/^[.-]+|[.-]+$/g, "");
  return name === "" ? { destination: LOBBY, name: null } : { destination: `${LOBBY}.${name}`, name };
}

/** A number from 0 to 7 that is always the same for a nickname; the style sheet has a colour for each. */
export function hueOf(nick) {
  let hash = 0;
  for (const character of nick.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return (hash ^ (hash >>> 9)) & 7;
}
