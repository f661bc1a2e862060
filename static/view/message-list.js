/**
 * A long list of rows of which only those near the view are elements. Rows are placed absolutely, so a new one at the
 * end moves no other, and one that turns out higher than guessed moves nothing that is in view.
 *
 * It follows the end as long as the reader is there, and keeps the reader's place otherwise.
 */

import { Offsets } from "../model/offsets.js";
import { oncePerFrame } from "./dom.js";

const PADDING_PX = 12;
const GUESS_PX = 56;
const NEAR_BOTTOM_PX = 60;
const NEAR_TOP_PX = 600;
const LEAST_OVERSCAN_PX = 300;
/** How long the list stands still for the reader's own scrolling to show. */
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
  #anchor = null; // {row, delta}: where the reader is
  #lastTop = 0;
  #lastWidth = 0;
  #heldUntil = 0;
  #plan;
  #source = () => [];

  /** `build(row)` makes a row's element; a row is built anew when its `version` changes. */
  constructor(scroller, list, build) {
    this.#scroller = scroller;
    this.#list = list;
    this.#build = build;
    this.#plan = oncePerFrame(() => this.#draw());
    /** The reader is at the end, and stays there. */
    this.follows = true;
    /** Rows that stay elements wherever the view is, as those of a selection. */
    this.pinned = () => [];
    this.onplace = () => {}; // the reader is somewhere else now
    this.onneartop = () => {};
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      scroller.addEventListener(type, () => this.#hold(), { passive: true });
    }
    new ResizeObserver(() => this.#draw()).observe(scroller);
  }

  /** Shows the rows that `source()` gives, and asks it again after each changed(). */
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

  /** Builds all elements anew, because something else than the rows has changed. */
  rebuild() {
    this.#forget();
    this.#plan();
  }

  toBottom() {
    this.#heldUntil = 0;
    this.follows = true;
    this.#draw();
    this.onplace();
  }

  /** Brings a row into view, a third from the top, and gives its element. */
  reveal(row) {
    this.#refresh();
    const index = this.#rows.indexOf(row);
    if (index < 0) return null;
    this.follows = false;
    this.#heldUntil = 0;
    this.#anchor = { row, delta: -Math.round(this.#scroller.clientHeight / 3) };
    this.#draw();
    this.follows = this.#isAtBottom();
    this.onplace();
    return this.#drawn.get(row)?.node ?? null;
  }

  /** The row that an element belongs to, or null. */
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
    this.#offsets.build(this.#rows.length, (i) => this.#heights.get(this.#rows[i]) ?? GUESS_PX);
    this.#list.style.height = `${this.#offsets.total + 2 * PADDING_PX}px`;
  }

  #draw() {
    const width = this.#scroller.clientWidth;
    if (width === 0) return;
    if (width !== this.#lastWidth) this.#heights.clear();
    this.#lastWidth = width;
    this.#refresh();
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      this.#place();
      if (!this.#drawWindow()) break;
      this.#measureAll();
    }
    this.#place();
    if (this.follows) this.#anchor = null;
    else this.#setAnchor();
    if (this.#scroller.scrollTop < NEAR_TOP_PX && this.#rows.length > 0) this.onneartop();
  }

  /** Scrolls to where the reader belongs, and the rows to where they are. */
  #place() {
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

  /** Makes elements of what is near the view; true if one of them is not as high as was thought. */
  #drawWindow() {
    const { scrollTop, clientHeight } = this.#scroller;
    const over = Math.max(LEAST_OVERSCAN_PX, clientHeight / 2);
    const first = this.#offsets.indexAt(scrollTop - PADDING_PX - over);
    const last = this.#offsets.indexAt(scrollTop - PADDING_PX + clientHeight + over);
    const wanted = new Set();
    for (let i = Math.max(0, first); i <= last; i++) wanted.add(i);
    for (const row of this.pinned()) {
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
    let isDifferent = false;
    for (const index of indices) {
      const row = this.#rows[index];
      const height = Math.ceil(this.#drawn.get(row).node.getBoundingClientRect().height);
      if (this.#heights.get(row) === height) continue;
      if ((this.#heights.get(row) ?? GUESS_PX) !== height) isDifferent = true;
      this.#heights.set(row, height);
    }
    return isDifferent;
  }

  #node(row) {
    const drawn = this.#drawn.get(row);
    if (drawn !== undefined && drawn.version === row.version) return drawn.node;
    const node = this.#build(row);
    this.#drawn.set(row, { node, version: row.version });
    return node;
  }

  // ---- the reader's place ----

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

  /** Messages that pour in must not pull the list away under the reader's finger. */
  #hold() {
    this.#heldUntil = performance.now() + HOLD_MS;
    setTimeout(() => this.changed(), HOLD_MS + 20);
  }

  #scrolled() {
    const top = this.#scroller.scrollTop;
    const isUp = top < this.#lastTop;
    this.#lastTop = top;
    // Only the reader scrolls up. Being far from the end otherwise means that messages came in just now.
    if (this.#isAtBottom()) this.follows = true;
    else if (isUp) this.follows = false;
    if (!this.follows) this.#setAnchor();
    this.#plan();
    this.onplace();
  }
}
