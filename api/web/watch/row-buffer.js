// The rows of a watched topic: kept up to a limit, filtered, held back while paused. Pure.

import { Moving, Sums } from "./totals.js";

export const KEPT = 20_000; // rows
const SLACK = 500; // more than that, before the oldest go together

/**
 * `all` and `shown` are ascending by seq. Rows that come while it is paused are held: they count in `moving`, and are
 * shown when it goes on. A row is {seq, sender, sentAt, cells}.
 */
export class RowBuffer {
  all = [];
  shown = [];
  held = [];
  received = 0;
  moving = new Moving();
  sums = new Sums(); // of what is shown
  #filter = /** @type {((row: any) => boolean) | null} */ (null);
  #isPaused = false;
  #kept;

  constructor(kept = KEPT) {
    this.#kept = kept;
  }

  get isPaused() {
    return this.#isPaused;
  }

  get isFull() {
    return this.all.length >= this.#kept;
  }

  /** New rows, ascending; `now` in seconds. */
  append(rows, now) {
    this.received += rows.length;
    for (const row of rows) this.#count(row, now);
    if (this.#isPaused) this.#hold(rows);
    else this.#show(rows);
  }

  /** Older rows, ascending, as far as there is room. */
  prepend(rows, now) {
    const fitting = rows.slice(Math.max(0, rows.length - (this.#kept - this.all.length)));
    for (const row of fitting) this.#count(row, now);
    const passing = fitting.filter((row) => this.#passes(row));
    for (const row of passing) this.sums.add(row);
    this.all = fitting.concat(this.all);
    this.shown = passing.concat(this.shown);
  }

  pause() {
    this.#isPaused = true;
  }

  /** Show what was held. */
  resume() {
    this.#isPaused = false;
    this.#show(this.held);
    this.held = [];
  }

  /** Show only what passes (null: all); `now` in seconds. */
  filter(test, now) {
    this.#filter = test;
    this.shown = this.all.filter((row) => this.#passes(row));
    this.sums = new Sums();
    for (const row of this.shown) this.sums.add(row);
    this.moving = new Moving();
    for (const row of this.all.concat(this.held)) this.#count(row, now);
  }

  #passes(row) {
    return this.#filter === null || this.#filter(row);
  }

  #count(row, now) {
    if (this.#passes(row)) this.moving.add(row, row.at, now);
  }

  // What is paused is bounded as well: of what is held, the oldest goes first.
  #hold(rows) {
    this.held.push(...rows);
    if (this.held.length > this.#kept + SLACK) this.held.splice(0, this.held.length - this.#kept);
  }

  #show(rows) {
    for (const row of rows) {
      this.all.push(row);
      if (!this.#passes(row)) continue;
      this.shown.push(row);
      this.sums.add(row);
    }
    if (this.all.length > this.#kept + SLACK) this.#forgetOldest();
  }

  #forgetOldest() {
    this.all.splice(0, this.all.length - this.#kept);
    const first = this.all[0].seq;
    const gone = this.shown.findIndex((row) => row.seq >= first);
    for (const row of this.shown.splice(0, gone < 0 ? this.shown.length : gone)) this.sums.add(row, -1);
  }
}
