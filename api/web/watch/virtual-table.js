// A table of very many rows, of which only those in sight are in the document. The newest is on top.

import { isTime, textOf } from "../shared/columns.js";
import { el } from "../shared/dom.js";

const AROUND = 8; // rows above and below those in sight
const USUAL = 32; // pixels of a row, until one was measured

/** Which of `count` rows to draw: those in sight, and some around them. Pure. */
export function windowOf(count, scrolled, height, row) {
  const first = Math.max(0, Math.floor(scrolled / row) - AROUND);
  return { first: Math.min(first, count), end: Math.min(count, Math.ceil((scrolled + height) / row) + AROUND) };
}

export class VirtualTable {
  #scroller;
  #head;
  #body;
  #table;
  #top = el("tr", { className: "spacer", "aria-hidden": "true" }, el("td"));
  #bottom = el("tr", { className: "spacer", "aria-hidden": "true" }, el("td"));
  #drawn = new Map(); // row -> its element
  #columns = [];
  #count = 0; // rows at the last drawing
  #newest = /** @type {any} */ (null); // the newest row at the last drawing
  #height = USUAL;
  #options;

  /**
   * @param {HTMLElement} scroller Holds the table and is scrolled.
   * @param {{label: (column) => string, isNumeric: (column) => boolean, onopen: (row) => void, time: (text: string) => string}} options
   */
  constructor(scroller, options) {
    this.#scroller = scroller;
    this.#table = scroller.querySelector("table");
    this.#head = this.#table.tHead.rows[0];
    this.#body = this.#table.tBodies[0];
    this.#options = options;
  }

  get isAtTop() {
    return this.#scroller.scrollTop < this.#height;
  }

  /** Whether the reader has come near to the last row. */
  get isNearEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    return scrollTop + clientHeight > scrollHeight - 10 * this.#height;
  }

  toTop() {
    this.#scroller.scrollTop = 0;
  }

  /** Show these columns from the next drawing on. */
  show(columns) {
    const { label, isNumeric } = this.#options;
    this.#columns = columns;
    this.#drawn.clear();
    const cells = columns.map((column) => el("th", { scope: "col", className: isNumeric(column) ? "number" : "" }, label(column)));
    this.#head.replaceChildren(...cells);
  }

  /** Draw what is in sight of these rows, which are ascending. Whoever reads further down stays where they are. */
  draw(rows) {
    this.#keepPlace(rows);
    const { first, end } = windowOf(rows.length, this.#scroller.scrollTop, this.#scroller.clientHeight, this.#height);
    const sight = [];
    this.#count = rows.length;
    for (let place = first; place < end; place++) sight.push(this.#element(rows[rows.length - 1 - place], place));
    this.#space(this.#top, first);
    this.#space(this.#bottom, rows.length - end);
    this.#body.replaceChildren(this.#top, ...sight, this.#bottom);
    this.#table.setAttribute("aria-rowcount", rows.length + 1);
    this.#forget(sight);
    this.#measure(sight[0]);
  }

  #keepPlace(rows) {
    const newest = rows.at(-1) ?? null;
    if (!this.isAtTop && this.#newest && newest && newest.seq > this.#newest.seq) {
      this.#scroller.scrollTop += this.#height * (rows.length - placeAfter(rows, this.#newest.seq));
    }
    this.#newest = newest;
  }

  #element(row, place) {
    const made = this.#drawn.get(row) ?? this.#make(row);
    made.setAttribute("aria-rowindex", place + 2);
    made.classList.toggle("odd", (this.#count - place) % 2 === 1); // counted from the oldest: it stays when others come
    this.#drawn.set(row, made);
    return made;
  }

  #make(row) {
    const [first, ...rest] = this.#columns;
    const open = el("button", { type: "button", className: "open", onclick: () => this.#options.onopen(row) }, this.#text(row, first));
    const made = el("tr", {}, el("td", {}, open), ...rest.map((column) => this.#cell(row, column)));
    made.dataset.seq = row.seq;
    return made;
  }

  #cell(row, column) {
    const text = this.#text(row, column);
    const whole = textOf(row.cells.get(column.slice(1)));
    return el("td", { className: this.#options.isNumeric(column) ? "number" : "", title: whole.length > 20 ? whole : "" }, text);
  }

  #text(row, column) {
    if (column === "sent") return this.#options.time(row.sentAt);
    if (column === "from") return row.sender;
    const value = row.cells.get(column.slice(1));
    return isTime(value) ? this.#options.time(value) : textOf(value);
  }

  #space(spacer, rows) {
    spacer.hidden = rows === 0;
    spacer.firstChild.colSpan = Math.max(1, this.#columns.length);
    spacer.firstChild.style.height = `${rows * this.#height}px`;
  }

  #forget(sight) {
    const kept = new Set(sight);
    for (const [row, made] of this.#drawn) if (!kept.has(made)) this.#drawn.delete(row);
  }

  #measure(made) {
    const height = made?.getBoundingClientRect().height;
    if (height) this.#height = height;
  }
}

/** Where the first row beyond this seq stands, in rows that are ascending by it. */
export function placeAfter(rows, seq) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].seq <= seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
