/** Where each row of a long list stands, from the heights of those that were measured and a guess for the rest. */

export class Offsets {
  #tops = new Float64Array(1); // tops[i] is where row i begins; tops[count] is the end

  constructor() {
    this.count = 0;
  }

  /** Takes the heights anew; `heightOf(i)` in pixels. */
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

  /** The row at `y`: the last one that begins at or above it. -1 if there are no rows. */
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
