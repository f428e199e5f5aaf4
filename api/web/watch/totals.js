// Sums and rates over what a reader sees. Pure: the caller says what time it is, in seconds.

export const MINUTE = 60;
export const SPAN = 300; // seconds that the plot covers

/** How many, and the sum of the numbers of each column. */
export class Sums {
  count = 0;
  #columns = new Map(); // column -> {sum, count}

  add(row, sign = 1) {
    this.count += sign;
    for (const [column, value] of row.cells) if (typeof value === "number") this.#put(column, sign * value, sign);
  }

  /** All that another one has. */
  merge(other) {
    this.count += other.count;
    for (const [column, { sum, count }] of other.#columns) this.#put(column, sum, count);
  }

  #put(column, sum, count) {
    const total = this.#columns.get(column) ?? { sum: 0, count: 0 };
    total.sum += sum;
    total.count += count;
    if (total.count) this.#columns.set(column, total);
    else this.#columns.delete(column); // with what rounding has left in it
  }

  /** {sum, mean} of a column, null where it has no number. */
  of(column) {
    const total = this.#columns.get(column);
    return total ? { sum: total.sum, mean: total.sum / total.count } : null;
  }
}

/** The last minutes, second by second: bounded, however much comes. */
export class Moving {
  #seconds = new Map(); // second -> Sums

  /** `at`: when the row came, `now`: what is too old is not kept. */
  add(row, at, now) {
    const second = Math.floor(Math.min(at, now));
    if (second <= now - SPAN - 1) return;
    if (!this.#seconds.has(second)) this.#seconds.set(second, new Sums());
    this.#seconds.get(second).add(row);
    if (this.#seconds.size > SPAN * 2) this.#forget(now);
  }

  #forget(now) {
    for (const second of this.#seconds.keys()) if (second <= now - SPAN - 1) this.#seconds.delete(second);
  }

  /** The sums of the last minute. */
  lastMinute(now) {
    const sums = new Sums();
    for (const [second, each] of this.#seconds) if (second > now - MINUTE && second <= now) sums.merge(each);
    return sums;
  }

  /** Messages of each second, the oldest first; the one that is not over is left out. */
  perSecond(now) {
    const end = Math.floor(now);
    return Array.from({ length: SPAN }, (_, place) => this.#seconds.get(end - SPAN + place)?.count ?? 0);
  }
}
