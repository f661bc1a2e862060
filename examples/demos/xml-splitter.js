/**
 * Splits the text of an XMPP stream into its header and stanzas, in any chunking. It finds only the ends of elements;
 * whether they are well-formed is the parser's task. What RFC 6120, 11.1 forbids (comments, processing instructions,
 * document types and therefore custom entities) is refused here, before any parser sees it.
 */

const MAX_STANZA_CHARS = 1024 * 1024;
const MAX_DEPTH = 128;
const CDATA_BEGIN = "<![CDATA[";
const CDATA_END = "]]>";

export class XmlError extends Error {}

export class XmlSplitter {
  #buffer = "";
  #at = 0; // everything before it has been read
  #depth = 0; // open elements; 1 between stanzas
  #stanza = 0; // where the current stanza starts
  #isFirst = true; // nothing but white space has arrived

  /**
   * Take text. Return what is complete now: {type: "open", text} for the stream's start tag, {type: "element", text}
   * for a stanza, {type: "close"} for the end of the stream. Throws an XmlError; the stream cannot be read any further
   * then.
   */
  feed(text) {
    this.#buffer += text;
    const events = [];
    for (;;) {
      const begin = this.#buffer.indexOf("<", this.#at);
      this.#checkText(begin === -1 ? this.#buffer.length : begin);
      if (begin === -1) {
        this.#at = this.#buffer.length;
        break;
      }
      const end = this.#markupEnd(begin);
      if (end === -1) {
        this.#at = begin;
        break;
      }
      this.#markup(begin, end, events);
    }
    this.#forget();
    if (this.#buffer.length > MAX_STANZA_CHARS) throw new XmlError("a stanza is larger than a million characters");
    return events;
  }

  #checkText(end) {
    if (this.#depth <= 1 && /[^ \t\r\n]/.test(this.#buffer.slice(this.#at, end))) {
      throw new XmlError("there is text between the stanzas");
    }
  }

  /** Return the end of the markup that starts here (behind its ">"), or -1 if it has not arrived. */
  #markupEnd(begin) {
    const buffer = this.#buffer;
    const next = buffer[begin + 1];
    if (next === "!") {
      const start = buffer.slice(begin, begin + CDATA_BEGIN.length);
      if (!CDATA_BEGIN.startsWith(start) || this.#depth < 2) {
        throw new XmlError("comments and document types have no place in XMPP");
      }
      const end = buffer.indexOf(CDATA_END, begin + CDATA_BEGIN.length);
      return end === -1 ? -1 : end + CDATA_END.length;
    }
    if (next === "?") {
      if (!this.#isFirst) throw new XmlError("processing instructions have no place in XMPP");
      const end = buffer.indexOf("?>", begin);
      return end === -1 ? -1 : end + 2;
    }
    // An attribute's value may contain ">".
    const inTag = /[<>"']/g;
    inTag.lastIndex = begin + 1;
    for (let found = inTag.exec(buffer); found !== null; found = inTag.exec(buffer)) {
      if (found[0] === ">") return found.index + 1;
      if (found[0] === "<") throw new XmlError("a tag begins inside a tag");
      const close = buffer.indexOf(found[0], found.index + 1);
      if (close === -1) return -1;
      inTag.lastIndex = close + 1;
    }
    return -1;
  }

  #markup(begin, end, events) {
    const buffer = this.#buffer;
    this.#at = end;
    if (buffer[begin + 1] === "!") return;
    if (buffer[begin + 1] === "?") {
      if (!/^<\?xml\s/.test(buffer.slice(begin, begin + 6))) throw new XmlError("processing instructions have no place in XMPP");
      this.#isFirst = false;
      return;
    }
    this.#isFirst = false;
    if (buffer[begin + 1] === "/") {
      this.#depth -= 1;
      if (this.#depth === 1) events.push({ type: "element", text: buffer.slice(this.#stanza, end) });
      else if (this.#depth === 0) events.push({ type: "close" });
      else if (this.#depth < 0) throw new XmlError("an element ends that has not begun");
      return;
    }
    const isEmpty = buffer[end - 2] === "/";
    if (this.#depth === 0) {
      if (isEmpty) throw new XmlError("the stream ends where it begins");
      events.push({ type: "open", text: buffer.slice(begin, end) });
    } else if (this.#depth === 1) {
      this.#stanza = begin;
      if (isEmpty) events.push({ type: "element", text: buffer.slice(begin, end) });
    }
    if (!isEmpty) this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new XmlError("elements are nested too deeply");
  }

  /** Drop from the buffer what has been read. */
  #forget() {
    const from = this.#depth > 1 ? this.#stanza : this.#at;
    this.#buffer = this.#buffer.slice(from);
    this.#at -= from;
    this.#stanza -= from;
  }
}
