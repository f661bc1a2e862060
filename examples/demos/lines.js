/** Bytes in any chunks to lines of text. */

const LF = 10;
const CR = 13;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const western = new TextDecoder("windows-1252");

/** Return the text of a line: UTF-8 if it is valid, else windows-1252, which older programs send. */
export function decodeLine(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    return western.decode(bytes);
  }
}

/** Splits a stream of bytes at LF or CR LF. It works on bytes because a chunk may end within a character. */
export class LineSplitter {
  #rest = new Uint8Array(0);
  #maxBytes;

  /** A line longer than `maxBytes` is returned in pieces, so that a server without line ends cannot fill the memory. */
  constructor(maxBytes = 65536) {
    this.#maxBytes = maxBytes;
  }

  /** Take a chunk. Return the lines that are complete now as Uint8Arrays without their line ends. */
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
