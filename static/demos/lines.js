/** Bytes in any chunks → lines of text. No DOM in here. */

const LF = 10;
const CR = 13;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const western = new TextDecoder("windows-1252");

/** The text of a line: UTF-8, or, where it is not, the Western encoding that older programs send. */
export function decodeLine(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    return western.decode(bytes);
  }
}

/** Cuts a stream of bytes at LF or CR LF. Bytes are cut, not text: a character may be split between two chunks. */
export class LineSplitter {
  #rest = new Uint8Array(0);
  #maxBytes;

  /** A line longer than `maxBytes` is handed out in pieces, so that a server without line ends fills no memory. */
  constructor(maxBytes = 65536) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that are whole now, without their ends, as Uint8Arrays. */
  feed(chunk) {
    let data = chunk;
    if (this.#rest.length > 0) {
      data = new Uint8Array(this.#rest.length + chunk.length);
      data.set(this.#rest);
      data.set(chunk, this.#rest.length);
    }
    const lines = [];
    let start = 0;
    for (let end = data.indexOf(LF); end !== -1; end = data.indexOf(LF, start)) {
      lines.push(data.subarray(start, end > start && data[end - 1] === CR ? end - 1 : end));
      start = end + 1;
    }
    while (data.length - start > this.#maxBytes) {
      lines.push(data.subarray(start, start + this.#maxBytes));
      start += this.#maxBytes;
    }
    this.#rest = data.slice(start);
    return lines;
  }
}
