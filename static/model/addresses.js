/** The page's addresses ("#tea", "#@Ada") and the destinations that they stand for. */

import { cleanNick } from "./nicknames.js";
import { cut, small } from "./text.js";

const LOBBY = "/topic/chat";
/** The lobby has this name, too: a room of the same name would be taken for it. */
const LOBBY_NAME = "lobby";
const MAX_ROOM_CHARS = 64;
/** More of a text is not looked at: normalising takes more time than it is worth. */
const MAX_RAW_CHARS = 16 * MAX_ROOM_CHARS;
/** Invisible and empty characters make no difference that people could see, except joiners: they make one emoji of two. */
const UNSEEN =
  /(?!\u200d)[\p{Cf}\p{Default_Ignorable_Code_Point}\u2800\u{13441}\u{13442}\u{16fe4}\u{1d159}]/gu;
const JOINERS = /(?<!\p{Extended_Pictographic}\p{Emoji_Modifier}?)\u200d|\u200d(?!\p{Extended_Pictographic})/gu;
/** Wildcards of SUBSCRIBE ("*", "#", ">") and whatever else cannot be part of a name. */
const NOT_IN_NAMES = /(?:[^\p{L}\p{M}\p{N}\p{S}\u200d._-]|[<>^`|])+/gu;

/** Return the text after "#" without percent escapes, or unchanged where it is not validly escaped. */
function decoded(hash) {
  const raw = hash.replace(/^#/, "");
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}

/** Return the name of a room as everybody sees it, whatever the case and the Unicode form in which it is written. */
function canonical(text) {
  // Invisible characters go first: between a letter and its accent they would keep the two from becoming one.
  const seen = cut(text, MAX_RAW_CHARS).replace(UNSEEN, "").replace(JOINERS, "");
  return cut(small(seen.normalize("NFKC")).normalize("NFKC").replace(NOT_IN_NAMES, "-"), MAX_ROOM_CHARS)
    .replace(/\.{2,}/g, ".")
    .replace(/^[.\p{M}\u200d-]+|[.\u200d-]+$/gu, "");
}

/**
 * Return `{destination, name}` of the room that is called so; `name` is null in the lobby. If the text has nothing that
 * can be part of a name, the result is the lobby with `isRefused`.
 */
export function roomNamed(text) {
  const name = canonical(text);
  if (name !== "" && name !== LOBBY_NAME) return { destination: `${LOBBY}.${name}`, name };
  const lobby = { destination: LOBBY, name: null };
  return name === "" && text.trim() !== "" ? { ...lobby, isRefused: true } : lobby;
}

/** Return what roomNamed() returns for "#NAME". */
export function roomOf(hash) {
  return roomNamed(decoded(hash));
}

/** Return `{nick}` for "#@NICK", a private conversation; for any other address what roomOf() returns. */
export function addressOf(hash) {
  if (!/^#(@|%40)/.test(hash)) return roomOf(hash);
  const nick = cleanNick(decoded(hash).slice(1));
  return nick === "" ? roomOf("") : { nick };
}

/** Return the address of a room; `name` is null for the lobby. */
export function roomHash(name) {
  return name === null ? "#" : `#${encodeURIComponent(name)}`;
}

/** Return the address of a private conversation. */
export function privateHash(nick) {
  return `#@${encodeURIComponent(nick)}`;
}

/** Return `{destination, name}` of a destination, null if no address of the page leads there. */
export function roomAt(destination) {
  if (destination === LOBBY) return { destination, name: null };
  if (!destination.startsWith(`${LOBBY}.`)) return null;
  const name = destination.slice(LOBBY.length + 1);
  return name.length <= MAX_ROOM_CHARS && roomNamed(name).name === name ? { destination, name } : null;
}
