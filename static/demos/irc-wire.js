/** IRC on the wire (RFC 1459, RFC 2812): lines apart and together, names compared. No DOM in here. */

/** A line of IRC has 512 bytes with its end; a server puts our full name before what we say, and cuts what is over. */
const MAX_LINE_BYTES = 512;
const PREFIX_RESERVE_BYTES = 110; // ":nick!user@host " with a long host name
const DEFAULT_MAX_NICK = 9; // RFC 1459, 1.2; the server tells more once we are in

/** `{nick, command, params}` of a line; `nick` is who it comes from, a server's name too, or null. Null of no line. */
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
 * A line to send, with its end. The last parameter may hold spaces; nothing may hold a line end or NUL, or it would be
 * a second command. Throws a TypeError when another parameter has a space, is empty or begins with a colon.
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

/** Cuts text into lines, and each into pieces that fit into a message to `target`, at spaces where there are any. */
export function splitText(text, target) {
  const encoder = new TextEncoder();
  const room = MAX_LINE_BYTES - PREFIX_RESERVE_BYTES - encoder.encode(`PRIVMSG ${target} :\x01ACTION \x01\r\n`).length;
  const pieces = [];
  for (const line of text.split(/[\r\n]+/)) {
    let piece = "";
    let bytes = 0;
    for (const character of line) {
      const size = encoder.encode(character).length;
      if (bytes + size > room) {
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

/** What CTCP means by "/me": the text, or null if this is no action. */
export function actionText(text) {
  const parts = /^\x01ACTION ?(.*?)\x01?$/s.exec(text);
  return parts === null ? null : parts[1];
}

/** Text without the codes for colour, bold and the like, and without other control characters. */
export function plainText(text) {
  return text.replace(/\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9A-Fa-f]{6})?/g, "").replace(/[\0-\x1f\x7f]/g, "");
}

/** A name as it is compared: servers call {}|~ the small letters of []\^ unless they say "ascii". */
export function foldName(name, mapping = "rfc1459") {
  const small = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  if (mapping === "ascii") return small;
  const folded = small.replace(/\[/g, "{").replace(/\]/g, "}").replace(/\\/g, "|");
  return mapping === "strict-rfc1459" ? folded : folded.replace(/\^/g, "~");
}

/** Whether a nickname may be asked for: it is one word and does not look like a channel or a rank. */
export function isNick(nick) {
  return /^[^\s\0:,!@#&+~%*?.$0-9-][^\s\0:,!@*?]*$/.test(nick);
}

/** Another nickname, when the wanted one is taken: Ada → Ada_ → Ada__ → Ada2 …; short enough for every server. */
export function otherNick(wanted, attempt) {
  const tail = attempt < 3 ? "_".repeat(attempt) : String(attempt - 1);
  return wanted.slice(0, DEFAULT_MAX_NICK - tail.length) + tail;
}
