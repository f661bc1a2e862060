/** What the console has sent and received, and its display as text or as hexadecimal. */

const MAX_KEPT_BYTES = 4 * 1024 * 1024;
const MAX_LINE_CHARS = 4000;
const BYTES_A_ROW = 16;

export const LINE_ENDS = { lf: "\n", crlf: "\r\n", none: "" };

/** Return the bytes of a typed text with the line end ("lf", "crlf" or "none"). */
export function textToBytes(text, lineEnd) {
  return new TextEncoder().encode(text.replace(/\r?\n/g, LINE_ENDS[lineEnd] || "\n") + LINE_ENDS[lineEnd]);
}

/** Return the bytes of hexadecimal digits in pairs, such as "48 65 0a"; null of anything else. */
export function hexToBytes(text) {
  const digits = text.replace(/0x|[\s,:]+/gi, "");
  if (digits.length % 2 === 1 || /[^0-9a-f]/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** Replace control characters by their Unicode pictures; a tab stays a tab. */
export function visible(text) {
  return text.replace(/[\0-\x08\x0b-\x1f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0))).replace(/\x7f/g, "\u2421");
}

/** Return `{offset, hex, ascii}` for every 16 bytes; `offset` is that of the first byte. */
export function hexRows(bytes, offset = 0) {
  const rows = [];
  for (let start = 0; start < bytes.length; start += BYTES_A_ROW) {
    const row = Array.from(bytes.subarray(start, start + BYTES_A_ROW));
    rows.push({
      offset: (offset + start).toString(16).padStart(8, "0"),
      hex: row.map((byte) => byte.toString(16).padStart(2, "0")).join(" "),
      ascii: row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join(""),
    });
  }
  return rows;
}

/**
 * Displays entries as text. feed() returns the lines that are new or have changed as {key, direction, text, at}. A line
 * without an end, such as a prompt, is returned at once, and again under the same key when it grows.
 */
export class TextView {
  #key = 0;
  #open = null; // the line whose end has not arrived
  #decoders = new Map(); // direction -> decoder, because a chunk may end within a character

  feed({ direction, bytes, note, at }) {
    if (direction === "note") {
      this.#open = null;
      return [{ key: this.#key++, direction, text: note, at }];
    }
    if (!this.#decoders.has(direction)) this.#decoders.set(direction, new TextDecoder());
    const pieces = this.#decoders.get(direction).decode(bytes, { stream: true }).split("\n");
    if (this.#open !== null && this.#open.direction !== direction) this.#open = null;
    const changed = [];
    pieces.forEach((piece, index) => {
      const isLast = index === pieces.length - 1;
      if (isLast && piece === "") return;
      let rest = piece;
      do {
        if (this.#open === null) this.#open = { key: this.#key++, direction, raw: "", at };
        const free = MAX_LINE_CHARS - this.#open.raw.length;
        this.#open.raw += rest.slice(0, free);
        rest = rest.slice(free);
        changed.push(this.#open);
        if (rest !== "") this.#open = null;
      } while (rest !== "");
      if (!isLast) this.#open = null;
    });
    return changed.map(({ key, raw, at: begun }) => ({ key, direction, text: visible(raw.replace(/\r$/, "")), at: begun }));
  }
}

/** Displays entries in hexadecimal. Each direction has offsets of its own, which run through the connection. */
export class HexView {
  #key = 0;
  #offsets = { in: 0, out: 0 };

  feed({ direction, bytes, note, at }) {
    if (direction === "note") return [{ key: this.#key++, direction, text: note, at }];
    const rows = hexRows(bytes, this.#offsets[direction]);
    this.#offsets[direction] += bytes.length;
    return rows.map(({ offset, hex, ascii }) => ({
      key: this.#key++,
      direction,
      text: `${offset}  ${hex.padEnd(BYTES_A_ROW * 3 - 1)}  ${ascii}`,
      at,
    }));
  }
}

/** Keeps the latest 4 MiB of what was sent and received. */
export class Transcript {
  entries = [];
  #bytes = 0;

  /** Add bytes that came "in" or went "out", or a "note" of the page itself. Return the entry. */
  add(direction, data, at = Date.now()) {
    const entry = direction === "note" ? { direction, note: data, at } : { direction, bytes: data, at };
    this.entries.push(entry);
    this.#bytes += entry.bytes?.length ?? 0;
    while (this.#bytes > MAX_KEPT_BYTES && this.entries.length > 1) {
      this.#bytes -= this.entries.shift().bytes?.length ?? 0;
    }
    return entry;
  }

  clear() {
    this.entries = [];
    this.#bytes = 0;
  }

  /** Return everything as text for a file, in the format of `view` (a TextView or HexView). */
  toText(view) {
    const lines = new Map();
    for (const entry of this.entries) for (const line of view.feed(entry)) lines.set(line.key, line);
    const sign = { in: "<", out: ">", note: "#" };
    return [...lines.values()]
      .map(({ direction, text, at }) => `${new Date(at).toISOString()} ${sign[direction]} ${text}\n`)
      .join("");
  }
}
