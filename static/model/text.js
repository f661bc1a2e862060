/** Lengths of text, as people and the server count them. */

/** The server's default limit of a message's text. */
export const MAX_TEXT_CHARS = 4000;
/** STOMP programs may send longer texts than the page accepts; the page shows this much of them. */
export const MAX_SHOWN_CHARS = 16000;

/** Return the first `max` UTF-16 code units, without cutting a surrogate pair in half. */
export function cut(text, max) {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max);
}

/** Return a text in small letters; texts that differ in the case of letters give the same. */
export function small(text) {
  // "ß" is "SS" in capitals. The small letter "ı" has the capital of another one, so it is left alone.
  return text.split("ı").map((part) => part.toLowerCase().toUpperCase().toLowerCase()).join("ı");
}

/** Return the number of code points, which is what the server's limits count. */
export function countChars(text) {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
