/** Copying messages. Only the rows near the view are elements, so the text comes from the conversation itself. */

import { STRINGS } from "../strings.js";
import { shownText, shownTime } from "./rows.js";

function line(row, text) {
  const words = row.isAction ? STRINGS.copiedAction : STRINGS.copiedLine;
  return words(shownTime(row.at), row.nick, text);
}

/** Return messages as text, one a line. */
export function logText(messages) {
  return messages.map((row) => line(row, shownText(row))).join("\n");
}

/** Return the part of a message's text inside the range; all of it if the range starts and ends elsewhere. */
function selectedPart(node, range) {
  const content = node?.querySelector(".message-text");
  if (!content || !range.intersectsNode(content)) return null;
  const inside = document.createRange();
  inside.selectNodeContents(content);
  if (content.contains(range.startContainer)) inside.setStart(range.startContainer, range.startOffset);
  if (content.contains(range.endContainer)) inside.setEnd(range.endContainer, range.endOffset);
  return inside.toString();
}

export class Copy {
  #list;
  #element;
  #display;
  #isWhole = false;

  /** `element` is the ol of `list`; `display()` returns all rows. */
  constructor(list, element, display) {
    this.#list = list;
    this.#element = element;
    this.#display = display;
    list.pinned = () => this.#ends().filter((row) => row !== null);
    element.parentElement.addEventListener("copy", (event) => this.#copy(event));
    element.parentElement.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "a") return;
      event.preventDefault();
      getSelection().selectAllChildren(element);
      this.#isWhole = true;
    });
    document.addEventListener("pointerdown", () => {
      this.#isWhole = false;
    });
  }

  /** Return the rows in which the selection starts and ends, in list order; null where it lies outside. */
  #ends() {
    const selection = getSelection();
    if (selection.isCollapsed || selection.rangeCount === 0) return [null, null];
    const range = selection.getRangeAt(0);
    if (!this.#element.contains(range.startContainer) && !this.#element.contains(range.endContainer)) return [null, null];
    return [this.#list.rowOf(range.startContainer), this.#list.rowOf(range.endContainer)];
  }

  #copy(event) {
    const rows = this.#display();
    if (this.#isWhole) {
      this.#put(event, logText(rows.filter(({ kind }) => kind === "message")));
      return;
    }
    const [first, last] = this.#ends();
    if (first === last) return; // inside one message, or outside of all: left to the browser
    const range = getSelection().getRangeAt(0);
    const from = first === null ? 0 : rows.indexOf(first);
    const to = last === null ? rows.length - 1 : rows.indexOf(last);
    const lines = [];
    for (const row of rows.slice(from, to + 1)) {
      if (row.kind !== "message") continue;
      const isEnd = row === first || row === last;
      const text = isEnd ? selectedPart(this.#nodeOf(row, range), range) : shownText(row);
      if (text !== null && (text !== "" || !isEnd)) lines.push(line(row, text));
    }
    this.#put(event, lines.join("\n"));
  }

  #nodeOf(row, range) {
    for (const end of [range.startContainer, range.endContainer]) {
      if (this.#list.rowOf(end) === row) return (end instanceof Element ? end : end.parentElement).closest("li");
    }
    return null;
  }

  #put(event, text) {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  }
}

/** Copy a text to the clipboard. Return whether the browser allowed it. */
export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain http, or not permitted: try the older method.
  }
  const field = document.createElement("textarea");
  field.className = "unseen";
  field.value = text;
  document.body.append(field);
  field.select();
  const isDone = document.execCommand("copy");
  field.remove();
  return isDone;
}
