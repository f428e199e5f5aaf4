// A list of any length of which only what is seen is in the page. Rows have whatever height they turn out to have.

import { el } from "../shared/dom.js";

const GUESS = 64; // pixels, for a row that was never measured
const AROUND = 600; // pixels above and below that are there, too
const NEAR = 400; // pixels from the top at which earlier rows are asked for
const AT_END = 4; // pixels
const BELOW = 14; // pixels that are left below the last row
const ABOVE = 48; // pixels that are left above a row that is brought to the top
const ROUNDS = 6; // of laying out until measured heights are those that were assumed

export class VirtualList {
  #rows = [];
  #heights = new Map(); // by key
  #tops = new Float64Array(1); // of each row, and the end of the last
  #shown = new Map(); // key -> element
  #given;
  #space = el("div", { className: "space", role: "presentation" });
  #width = 0;
  #follows = true; // the end
  #frame = 0;
  #sizes;

  /**
   * @param {HTMLElement} port What scrolls.
   * @param {{draw: (row) => HTMLElement, onseen: (first: number, last: number) => void, ontop: () => void, hold: () => number}} given
   *   `onseen`: these rows are in view. `hold`: the first row past which the list does not follow the end by itself, or -1.
   */
  constructor(port, given) {
    this.port = port;
    this.#given = given;
    port.append(this.#space);
    port.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#sizes = new ResizeObserver(() => this.#resized());
    this.#sizes.observe(port);
  }

  get follows() {
    return this.#follows;
  }

  get rows() {
    return this.#rows;
  }

  /** Other rows of the same conversation: what is in view stays where it is, or the end is followed. */
  set(rows) {
    const anchor = this.#anchor();
    this.#rows = rows;
    this.#layOut(anchor);
  }

  /** Another conversation: shown from row `at` on, or from its end. */
  open(rows, at = -1) {
    this.#clear();
    this.#rows = rows;
    this.#follows = at < 0;
    this.#layOut(at < 0 ? null : { key: rows[at]?.key, offset: -this.port.clientHeight / 5 });
  }

  /** Bring a row into the middle. */
  reveal(at) {
    this.#follows = false;
    const offset = -(this.port.clientHeight - (this.#heights.get(this.#rows[at].key) ?? GUESS)) / 2;
    this.#layOut({ key: this.#rows[at].key, offset });
  }

  toEnd() {
    this.#follows = false;
    this.#layOut({ key: this.#rows.at(-1).key, offset: 0 });
  }

  /** Draw a row anew, as something in it has changed. */
  redraw(key) {
    this.#drop(key);
    this.#layOut(this.#anchor());
  }

  /** Say again what is in view. */
  tell() {
    if (this.#rows.length === 0 || this.port.clientHeight === 0) return;
    const { scrollTop, clientHeight } = this.port;
    const [first, last] = [this.#rowAt(scrollTop + 1), this.#rowAt(scrollTop + clientHeight - 2)];
    this.#given.onseen(first, last);
  }

  // Where things are

  #measure() {
    const tops = new Float64Array(this.#rows.length + 1);
    for (let at = 0; at < this.#rows.length; at += 1) tops[at + 1] = tops[at] + (this.#heights.get(this.#rows[at].key) ?? GUESS);
    tops[this.#rows.length] += BELOW;
    this.#tops = tops;
  }

  #rowAt(y) {
    let [low, high] = [0, this.#rows.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // The first row in view, and how far the view's top is below its own.
  #anchor() {
    if (this.#follows || this.#rows.length === 0) return null;
    const at = this.#rowAt(this.port.scrollTop);
    return { key: this.#rows[at].key, offset: this.port.scrollTop - this.#tops[at] };
  }

  #placeOf(anchor) {
    const at = this.#rows.findIndex((row) => row.key === anchor.key);
    return at < 0 ? this.port.scrollTop : this.#tops[at] + anchor.offset;
  }

  // The end; but not past what has not been in view.
  #end() {
    const held = this.#given.hold();
    return held < 0 ? this.#bottom : Math.min(this.#bottom, this.#tops[held] - ABOVE);
  }

  get #bottom() {
    return this.#tops[this.#rows.length] - this.port.clientHeight;
  }

  get #isAtEnd() {
    return this.port.scrollTop >= this.#bottom - AT_END;
  }

  // Laying out

  #layOut(anchor) {
    this.#measure();
    for (let round = 0; round < ROUNDS; round += 1) {
      this.#space.style.height = `${this.#tops[this.#rows.length]}px`;
      const top = Math.max(0, anchor === null ? (this.#follows ? this.#end() : this.port.scrollTop) : this.#placeOf(anchor));
      if (Math.abs(this.port.scrollTop - top) >= 1) this.port.scrollTop = top;
      this.#fill();
      if (!this.#remeasure()) break;
    }
    if (this.#follows) this.#follows = this.#isAtEnd; // held back: the reader goes on from here
    this.#soon(() => this.#settled());
  }

  #fill() {
    const { scrollTop, clientHeight } = this.port;
    const first = this.#rowAt(scrollTop - AROUND);
    const last = this.#rows.length === 0 ? -1 : this.#rowAt(scrollTop + clientHeight + AROUND);
    const wanted = this.#rows.slice(first, last + 1);
    const keys = new Set(wanted.map((row) => row.key));
    for (const key of [...this.#shown.keys()]) if (!keys.has(key)) this.#drop(key);
    let before = /** @type {HTMLElement | null} */ (null);
    wanted.forEach((row, place) => {
      const element = this.#shown.get(row.key) ?? this.#draw(row);
      if (before === null ? this.#space.firstChild !== element : before.nextSibling !== element) {
        this.#space.insertBefore(element, before === null ? this.#space.firstChild : before.nextSibling);
      }
      element.style.transform = `translateY(${this.#tops[first + place]}px)`;
      before = element;
    });
  }

  #draw(row) {
    const element = this.#given.draw(row);
    element.classList.add("row");
    element.dataset.key = row.key;
    this.#shown.set(row.key, element);
    this.#sizes.observe(element);
    return element;
  }

  #drop(key) {
    const element = this.#shown.get(key);
    if (!element) return;
    this.#sizes.unobserve(element);
    this.#shown.delete(key);
    element.remove();
  }

  // Whether a row is of another height than was assumed; then all places are new.
  #remeasure() {
    let changed = false;
    for (const [key, element] of this.#shown) {
      const height = element.offsetHeight;
      if (height === 0 || this.#heights.get(key) === height) continue;
      this.#heights.set(key, height);
      changed = true;
    }
    if (changed) this.#measure();
    return changed;
  }

  #clear() {
    for (const key of [...this.#shown.keys()]) this.#drop(key);
    this.#heights.clear();
  }

  // What happens

  #scrolled() {
    this.#follows = false; // wherever the reader goes is where the view stays
    this.#layOut(this.#anchor());
    this.#follows = this.#isAtEnd;
  }

  #resized() {
    if (this.port.clientWidth !== this.#width) {
      this.#width = this.port.clientWidth;
      const anchor = this.#anchor();
      this.#heights.clear();
      this.#layOut(anchor);
    } else this.#layOut(this.#anchor());
  }

  #settled() {
    this.tell();
    this.#follows ||= this.#isAtEnd;
    if (this.port.scrollTop < NEAR) this.#given.ontop();
  }

  #soon(work) {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(work);
  }
}
