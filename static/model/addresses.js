/** The page's addresses ("#tea", "#@Ada") and the destinations that they stand for. */

import { cleanNick } from "./nicknames.js";
import { cut } from "./text.js";

const LOBBY = "/topic/chat";
const MAX_ROOM_CHARS = 64;

/** Return the text after "#" without percent escapes, or unchanged where it is not validly escaped. */
function decoded(hash) {
  const raw = hash.replace(/^#/, "");
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}

/** Return `{destination, name}` of the room that "#NAME" addresses; `name` is null in the lobby. */
export function roomOf(hash) {
  // Wildcards of SUBSCRIBE ("*", "#", ">") and whatever else cannot be part of a word become "-".
  const name = cut(decoded(hash).replace(/[^\p{L}\p{M}\p{N}._-]+/gu, "-"), MAX_ROOM_CHARS)
    .replace(/\.{2,}/g, ".")
    .replace(/^[.-]+|[.-]+$/g, "");
  return name === "" ? { destination: LOBBY, name: null } : { destination: `${LOBBY}.${name}`, name };
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
  return roomOf(`#${encodeURIComponent(name)}`).name === name ? { destination, name } : null;
}
