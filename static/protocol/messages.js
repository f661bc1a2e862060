/** What a chat message looks like on the wire, and the room an address names. No DOM in here. */

export const MAX_NICK_CHARS = 32;
export const MAX_TEXT_CHARS = 4000;
/** Other STOMP clients may send more than the page lets people type; this much of it is shown. */
export const MAX_SHOWN_CHARS = 16000;

const LOBBY = "/topic/chat";
const MAX_ROOM_CHARS = 64;
const MAX_ID_CHARS = 200;

/** The first `max` characters, never half of a surrogate pair. */
export function cut(text, max) {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max);
}

/**
 * A nickname on one line, "" if nothing is left: no control characters, and no unseen signs that change how their
 * neighbours look (but the two that join letters and emoji).
 */
export function cleanNick(nick) {
  const seen = nick.replace(/[\s\p{Cc}]+/gu, " ").replace(/(?![\u200c\u200d])[\p{Cf}\p{Cs}]/gu, "");
  return cut(seen.trim(), MAX_NICK_CHARS).trim();
}

/** The body of a SEND. `id` is what receivers know a message by that comes a second time; `isAction` is what /me makes. */
export function writeBody({ nick, text, id, isAction = false }) {
  return JSON.stringify({ nick, text, id, ...(isAction ? { kind: "action" } : {}) });
}

/**
 * `{nick, text, bytes, id, isAction}` of a MESSAGE frame. `nick` is null unless the body is {"nick": "…", "text": "…"};
 * any other text is the message itself. `bytes` is the length of a body that is no text, else null; `id` may be null.
 */
export function readBody(frame) {
  const plain = { nick: null, text: "", bytes: null, id: null, isAction: false };
  if (typeof frame.body !== "string") return { ...plain, bytes: frame.bytes.length };
  let value = null;
  try {
    value = JSON.parse(frame.body);
  } catch {
    // plain text, from any STOMP client
  }
  if (value === null || typeof value.nick !== "string" || typeof value.text !== "string") {
    return { ...plain, text: frame.body };
  }
  const id = typeof value.id === "string" && value.id !== "" && value.id.length <= MAX_ID_CHARS ? value.id : null;
  return { nick: cleanNick(value.nick) || null, text: value.text, bytes: null, id, isAction: value.kind === "action" };
}

/** When a message was sent, as its `timestamp` header says (ms since 1970), null if it does not; never in the future. */
export function sentAt(headers, now) {
  const at = /^\d{1,15}$/.test(headers.timestamp ?? "") ? Number(headers.timestamp) : 0;
  return at > 0 ? Math.min(at, now) : null;
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

/** What an address's "#…" leads to: {nick} of a private conversation for "#@NICK", else what roomOf() gives. */
export function placeOf(hash) {
  if (!/^#(@|%40)/.test(hash)) return roomOf(hash);
  let raw = hash.slice(1);
  try {
    raw = decodeURIComponent(raw);
  } catch {
    // a stray % in the address: take it as it is
  }
  const nick = cleanNick(raw.slice(1));
  return nick === "" ? roomOf("") : { nick };
}

/** The address that leads to a room. */
export function roomHash(name) {
  return name === null ? "#" : `#${encodeURIComponent(name)}`;
}

/** The address that leads to a private conversation. */
export function privateHash(nick) {
  return `#@${encodeURIComponent(nick)}`;
}

/** `{destination, name}` of a destination, or null if it is no room. */
export function roomAt(destination) {
  if (destination === LOBBY) return { destination, name: null };
  if (!destination.startsWith(`${LOBBY}.`)) return null;
  const name = destination.slice(LOBBY.length + 1);
  return roomOf(`#${encodeURIComponent(name)}`).name === name ? { destination, name } : null;
}

/** The characters of a text as people, and the server, count them. */
export function countChars(text) {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** A number from 0 to 7 that is always the same for a nickname; the style sheet has a colour for each. */
export function hueOf(nick) {
  let hash = 0;
  for (const character of nick.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return (hash ^ (hash >>> 9)) & 7;
}
