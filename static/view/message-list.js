/**
 * A long list, of which only the rows near the view are elements (a virtual list). Rows are positioned absolutely: a
 * new one at the end moves no other, and one that is higher than estimated moves nothing in view.
 *
 * While the reader is at the end, the list follows new rows; otherwise it keeps the reader's scroll position.
 */

import { Offsets } from "../model/offsets.js";
import { oncePerFrame } from "./dom.js";

const PADDING_PX = 12;
const ESTIMATED_ROW_PX = 56;
const NEAR_BOTTOM_PX = 60;
const NEAR_TOP_PX = 600;
const LEAST_OVERSCAN_PX = 300;
/** How long the list does not follow new rows after the reader has touched it. */
const HOLD_MS = 300;
const MAX_PASSES = 4;

export class MessageList {
  #scroller;
  #list;
  #build;
  #rows = [];
  #offsets = new Offsets();
  #heights = new Map(); // row -> px
  #drawn = new Map(); // row -> {node, version}
  #anchor = null; // {row, delta}: the row at the top of the view, and the pixels of it that are out of view
  #lastTop = 0;
  #lastWidth = 0;
  #heldUntil = 0;
  #plan;
  #source = () => [];

  /** `build(row)` returns a row's element; it is built again whenever `row.version` changes. */
  constructor(scroller, list, build) {
    this.#scroller = scroller;
    this.#list = list;
    this.#build = build;
    this.#plan = oncePerFrame(() => this.#draw());
    /** The reader is at the end, and the list follows new rows. */
    this.follows = true;
    /** Returns the rows that stay elements wherever the view is, as those of a selection. */
    this.pinned = () => [];
    this.onmove = () => {}; // the scroll position may have changed
    this.onneartop = () => {};
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      scroller.addEventListener(type, () => this.#hold(), { passive: true });
    }
    new ResizeObserver(() => this.#draw()).observe(scroller);
  }

  /** Show the rows that `source()` returns; it is called again after each changed(). */
  show(source) {
    this.#source = source;
    this.#anchor = null;
    this.follows = true;
    this.#heldUntil = 0;
    this.#heights = new Map();
    this.#forget();
    this.#draw();
  }

  changed() {
    this.#plan();
  }

  /** Build all elements again, because something other than the rows has changed. */
  rebuild() {
    this.#forget();
    this.#plan();
  }

  toBottom() {
    this.#heldUntil = 0;
    this.follows = true;
    this.#draw();
    this.onmove();
  }

  /** Scroll a row to a third below the top of the view. Return its element, null if there is no such row. */
  reveal(row) {
    this.#refresh();
    const index = this.#rows.indexOf(row);
    if (index < 0) return null;
    this.follows = false;
    this.#heldUntil = 0;
    this.#anchor = { row, delta: -Math.round(this.#scroller.clientHeight / 3) };
    this.#draw();
    this.follows = this.#isAtBottom();
    this.onmove();
    return this.#drawn.get(row)?.node ?? null;
  }

  /** Draw rows of another height at once, and scroll so that an element in one of them is seen. */
  keepInView(element) {
    this.follows = false;
    this.#heldUntil = 0;
    this.#setAnchor();
    this.#draw();
    element.scrollIntoView({ block: "nearest" });
    this.#lastTop = this.#scroller.scrollTop;
    this.follows = this.#isAtBottom();
    if (!this.follows) this.#setAnchor();
    this.onmove();
  }

  /** Return the row that a node belongs to, or null. */
  rowOf(node) {
    const element = node instanceof Element ? node : node?.parentElement;
    const li = element?.closest("li");
    for (const [row, drawn] of this.#drawn) if (drawn.node === li) return row;
    return null;
  }

  // ---- drawing ----

  #forget() {
    for (const { node } of this.#drawn.values()) node.remove();
    this.#drawn.clear();
  }

  #refresh() {
    this.#rows = this.#source();
    if (this.#heights.size > 2 * this.#rows.length + 1000) {
      const kept = new Set(this.#rows);
      for (const row of this.#heights.keys()) if (!kept.has(row)) this.#heights.delete(row);
    }
    this.#measureAll();
  }

  #measureAll() {
    this.#offsets.build(this.#rows.length, (i) => this.#heights.get(this.#rows[i]) ?? ESTIMATED_ROW_PX);
    this.#list.style.height = `${this.#offsets.total + 2 * PADDING_PX}px`;
  }

  #draw() {
    const width = this.#scroller.clientWidth;
    if (width === 0) return;
    if (width !== this.#lastWidth) this.#heights.clear();
    this.#lastWidth = width;
    this.#refresh();
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      this.#restorePosition();
      if (!this.#drawWindow()) break;
      this.#measureAll();
    }
    this.#restorePosition();
    if (this.follows) this.#anchor = null;
    else this.#setAnchor();
    if (this.#scroller.scrollTop < NEAR_TOP_PX && this.#rows.length > 0) this.onneartop();
  }

  /** Restore the reader's scroll position. */
  #restorePosition() {
    const scroller = this.#scroller;
    let top = scroller.scrollTop;
    if (this.follows) {
      if (performance.now() >= this.#heldUntil) top = scroller.scrollHeight - scroller.clientHeight;
    } else if (this.#anchor !== null) {
      const index = this.#rows.indexOf(this.#anchor.row);
      if (index >= 0) top = this.#offsets.top(index) + PADDING_PX + this.#anchor.delta;
    }
    if (Math.abs(top - scroller.scrollTop) >= 1) scroller.scrollTop = top;
    this.#lastTop = scroller.scrollTop;
  }

  /** Draw the rows near the view. Return whether one of them has another height than estimated. */
  #drawWindow() {
    const { scrollTop, clientHeight } = this.#scroller;
    const over = Math.max(LEAST_OVERSCAN_PX, clientHeight / 2);
    const first = this.#offsets.indexAt(scrollTop - PADDING_PX - over);
    const last = this.#offsets.indexAt(scrollTop - PADDING_PX + clientHeight + over);
    const wanted = new Set();
    for (let i = Math.max(0, first); i <= last; i++) wanted.add(i);
    // An element with the focus stays one: without it, the next Tab would start at the top of the page.
    for (const row of [...this.pinned(), this.rowOf(document.activeElement)]) {
      const index = this.#rows.indexOf(row);
      if (index >= 0) wanted.add(index);
    }
    const indices = [...wanted].sort((a, b) => a - b);
    const rows = new Set(indices.map((index) => this.#rows[index]));
    for (const [row, { node }] of this.#drawn) {
      if (rows.has(row)) continue;
      node.remove();
      this.#drawn.delete(row);
    }
    let next = this.#list.firstElementChild;
    for (const index of indices) {
      const row = this.#rows[index];
      const old = this.#drawn.get(row)?.node;
      const node = this.#node(row);
      if (old !== undefined && old !== node) {
        if (old === next) next = next.nextElementSibling;
        old.remove();
      }
      if (node === next) next = next.nextElementSibling;
      else this.#list.insertBefore(node, next);
      node.style.top = `${this.#offsets.top(index) + PADDING_PX}px`;
      node.setAttribute("aria-posinset", String(index + 1));
      node.setAttribute("aria-setsize", String(this.#rows.length));
    }
    let isWrong = false;
    for (const index of indices) {
      const row = this.#rows[index];
      const height = Math.ceil(this.#drawn.get(row).node.getBoundingClientRect().height);
      if (this.#heights.get(row) === height) continue;
      if ((this.#heights.get(row) ?? ESTIMATED_ROW_PX) !== height) isWrong = true;
      this.#heights.set(row, height);
    }
    return isWrong;
  }

  #node(row) {
    const drawn = this.#drawn.get(row);
    if (drawn !== undefined && drawn.version === row.version) return drawn.node;
    const node = this.#build(row);
    this.#drawn.set(row, { node, version: row.version });
    return node;
  }

  // ---- the scroll position ----

  #setAnchor() {
    const index = this.#offsets.indexAt(this.#scroller.scrollTop - PADDING_PX);
    const row = this.#rows[index];
    this.#anchor =
      row === undefined ? null : { row, delta: this.#scroller.scrollTop - this.#offsets.top(index) - PADDING_PX };
  }

  #isAtBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
  }

  /** Do not pull the list away under the reader's finger while messages pour in. */
  #hold() {
    this.#heldUntil = performance.now() + HOLD_MS;
    setTimeout(() => this.changed(), HOLD_MS + 20);
  }

  #scrolled() {
    const top = this.#scroller.scrollTop;
    const isUp = top < this.#lastTop;
    this.#lastTop = top;
    // Only the reader scrolls up. A list that is not at the end for another cause has just received messages.
    if (this.#isAtBottom()) this.follows = true;
    else if (isUp) this.follows = false;
    if (!this.follows) this.#setAnchor();
    this.#plan();
    this.onmove();
  }
}
