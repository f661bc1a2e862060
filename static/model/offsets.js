/** The vertical positions of the rows of a long list. */

export class Offsets {
  #tops = new Float64Array(1); // tops[i] is the top of row i in pixels; tops[count] is the end

  constructor() {
    this.count = 0;
  }

  /** Compute the positions of `count` rows; `heightOf(i)` returns the height of row i in pixels. */
  build(count, heightOf) {
    if (this.#tops.length < count + 1) this.#tops = new Float64Array(Math.max(64, 2 * (count + 1)));
    this.count = count;
    let top = 0;
    for (let i = 0; i < count; i++) {
      this.#tops[i] = top;
      top += heightOf(i);
    }
    this.#tops[count] = top;
  }

  get total() {
    return this.#tops[this.count];
  }

  top(index) {
    return this.#tops[index];
  }

  /** Return the row at `y`: the last one that starts at or above it. -1 without rows. */
  indexAt(y) {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return high;
  }
}
