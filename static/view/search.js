/** The search over all messages of the conversation on display; the browser's own finds only those that are drawn. */

import { searchPattern } from "../model/richtext.js";
import { STRINGS } from "../strings.js";
import { $ } from "./dom.js";
import { shownText } from "./rows.js";

export class Search {
  #rows;
  #list;
  #conversation;
  #loadOlder;
  #matches = [];
  #index = -1;
  #isLoading = false;
  #searched = null; // the conversation of the matches

  /**
   * `rows` and `list` show the matches. `conversation()` returns the one on display, `loadOlder(conversation)` a
   * promise of whether there were older messages.
   */
  constructor({ rows, list, conversation, loadOlder }) {
    this.#rows = rows;
    this.#list = list;
    this.#conversation = conversation;
    this.#loadOlder = loadOlder;
    $("search-open").addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    $("search-close").addEventListener("click", () => this.close());
    $("query").addEventListener("input", () => this.#search(true));
    $("older").addEventListener("click", () => this.#step(-1));
    $("newer").addEventListener("click", () => this.#step(1));
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#step(-1);
    });
    $("search").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
      else if (event.key === "Enter" && event.shiftKey && event.target === $("query")) this.#step(1);
      else if (event.key === "ArrowUp" && event.target === $("query")) this.#step(-1);
      else if (event.key === "ArrowDown" && event.target === $("query")) this.#step(1);
      else return;
      event.preventDefault();
    });
    document.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey || event.key.toLowerCase() !== "f") return;
      // In the field, or in a dialog, the keys open the browser's own search.
      if (document.activeElement === $("query") || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      this.open();
    });
  }

  get isOpen() {
    return !$("search").hidden;
  }

  open() {
    $("search").hidden = false;
    $("search-open").setAttribute("aria-expanded", "true");
    $("query").focus();
    $("query").select();
    this.#search(true);
  }

  close() {
    if (!this.isOpen) return;
    $("search").hidden = true;
    $("search-open").setAttribute("aria-expanded", "false");
    this.#show(null, null);
    $("text").focus();
  }

  /** Messages were added, or another conversation is on display. */
  changed() {
    if (this.isOpen) this.#search(this.#conversation() !== this.#searched);
  }

  #search(isNew) {
    const pattern = searchPattern($("query").value);
    const at = this.#matches[this.#index];
    this.#matches = [];
    this.#searched = this.#conversation();
    if (pattern !== null) {
      this.#matches = this.#searched.messages.filter((row) => {
        pattern.lastIndex = 0;
        return pattern.test(shownText(row)) || (row.nick !== null && row.nick.search(pattern) >= 0);
      });
      if (isNew) this.#searchOlder();
    }
    const index = isNew ? this.#matches.length - 1 : this.#matches.indexOf(at);
    this.#index = index < 0 ? this.#matches.length - 1 : index;
    const isFirst = at === undefined && this.#matches.length > 0;
    if (isNew || isFirst) this.#show(pattern, this.#matches[this.#index] ?? null);
    this.#tell();
  }

  /** Search the whole history, block by block. */
  async #searchOlder() {
    if (this.#isLoading) return;
    this.#isLoading = true;
    while (this.isOpen && (await this.#loadOlder(this.#conversation()))) this.#search(false);
    this.#isLoading = false;
    this.#tell();
  }

  #step(by) {
    const count = this.#matches.length;
    if (count === 0) return;
    this.#index = (this.#index + by + count) % count;
    this.#show(searchPattern($("query").value), this.#matches[this.#index]);
    this.#tell();
  }

  #show(pattern, row) {
    this.#rows.pattern = pattern;
    this.#rows.found = row;
    this.#list.rebuild();
    if (row !== null) this.#list.reveal(row);
  }

  #tell() {
    const count = this.#matches.length;
    const words = searchPattern($("query").value) === null ? "" : STRINGS.found(this.#index + 1, count);
    $("found").textContent = this.#isLoading && count === 0 && words !== "" ? STRINGS.searchBusy : words;
    for (const id of ["older", "newer"]) $(id).disabled = count < 2;
  }
}
