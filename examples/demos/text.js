/** Lengths and colours of what users write. */

const SURROGATE_HIGH = /[\ud800-\udbff]$/;

/** Return the first `max` UTF-16 code units, without cutting a surrogate pair in half. */
export function cut(text, max) {
  return text.length <= max ? text : text.slice(0, max).replace(SURROGATE_HIGH, "");
}

/** Return a number from 0 to 7 that depends on the nickname alone; messages.css has a colour for each. */
export function hueOf(nick) {
  let hash = 0;
  for (const character of nick.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return (hash ^ (hash >>> 9)) & 7;
}
