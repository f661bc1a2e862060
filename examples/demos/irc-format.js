/** The format of IRC (RFC 1459, RFC 2812): lines are parsed and built, names compared. */

/** RFC 1459, 2.3: a line has at most 512 bytes with its end. A server adds our full name and cuts off the excess. */
const MAX_LINE_BYTES = 512;
const PREFIX_RESERVE_BYTES = 110; // ":nick!user@host " with a long host name
const DEFAULT_MAX_NICK = 9; // RFC 1459, 1.2; many servers allow more

/**
 * Return `{nick, command, params}` of a line, null of anything else. `nick` is the sender, which may be a server, or
 * null.
 */
export function parseLine(line) {
  const parts = /^(?:@\S* +)?(?::([^\s!@]+)\S* +)?([A-Za-z]+|[0-9]{3})(?: +|$)(.*)$/s.exec(line);
  if (parts === null) return null;
  const params = [];
  let rest = parts[3];
  while (rest !== "") {
    if (rest.startsWith(":")) {
      params.push(rest.slice(1));
      break;
    }
    const [word] = /^[^ ]+/.exec(rest);
    params.push(word);
    rest = rest.slice(word.length).replace(/^ +/, "");
  }
  return { nick: parts[1] ?? null, command: parts[2].toUpperCase(), params };
}

/**
 * Return a line to send, with its end. Line ends and NULs in parameters become spaces, as they would start a second
 * command. Throws a TypeError if a parameter other than the last has a space, is empty or starts with a colon.
 */
export function formatLine(command, ...params) {
  const clean = params.map((param) => String(param).replace(/[\r\n\0]+/g, " "));
  const last = clean.pop();
  for (const param of clean) {
    if (/^$|^:| /.test(param)) throw new TypeError(`${JSON.stringify(param)} cannot stand in the middle of an IRC line`);
  }
  const words = [command, ...clean];
  if (last !== undefined) words.push(/^$|^:| /.test(last) ? `:${last}` : last);
  return `${words.join(" ")}\r\n`;
}

/** Split a text into lines, and each line into pieces that fit into a message to `target`, at spaces if possible. */
export function splitText(text, target) {
  const encoder = new TextEncoder();
  const frame = encoder.encode(`PRIVMSG ${target} :\x01ACTION \x01\r\n`);
  const maxBytes = MAX_LINE_BYTES - PREFIX_RESERVE_BYTES - frame.length;
  const pieces = [];
  for (const line of text.split(/[\r\n]+/)) {
    let piece = "";
    let bytes = 0;
    for (const character of line) {
      const size = encoder.encode(character).length;
      if (bytes + size > maxBytes) {
        const space = piece.lastIndexOf(" ");
        const end = space > piece.length / 2 ? space + 1 : piece.length;
        pieces.push(piece.slice(0, end).trimEnd());
        piece = piece.slice(end);
        bytes = encoder.encode(piece).length;
      }
      piece += character;
      bytes += size;
    }
    if (piece.trim() !== "") pieces.push(piece);
  }
  return pieces;
}

/** Return the text of a CTCP ACTION ("/me"), null if the message is none. */
export function actionText(text) {
  const parts = /^\x01ACTION ?(.*?)\x01?$/s.exec(text);
  return parts === null ? null : parts[1];
}

/** Return a text without formatting codes (colour, bold, …) and other control characters. */
export function plainText(text) {
  return text.replace(/\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9A-Fa-f]{6})?/g, "").replace(/[\0-\x1f\x7f]/g, "");
}

/** Return the form in which names are compared: {}|~ are the lower case of []\^ unless the server says "ascii". */
export function foldName(name, mapping = "rfc1459") {
  const small = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  if (mapping === "ascii") return small;
  const folded = small.replace(/\[/g, "{").replace(/\]/g, "}").replace(/\\/g, "|");
  return mapping === "strict-rfc1459" ? folded : folded.replace(/\^/g, "~");
}

/** Return whether a nickname can be valid: one word that does not look like a channel or a rank. */
export function isNick(nick) {
  return /^[^\s\0:,!@#&+~%*?.$0-9-][^\s\0:,!@*?]*$/.test(nick);
}

/** Return the next nickname to try when `wanted` is taken: Ada_, Ada__, Ada2 …; short enough for every server. */
export function otherNick(wanted, attempt) {
  const tail = attempt < 3 ? "_".repeat(attempt) : String(attempt - 1);
  return wanted.slice(0, DEFAULT_MAX_NICK - tail.length) + tail;
}
