// A table out of JSON: which columns there are, which of them are shown at first, what stands in a cell. Pure.

export const TEXT = "content"; // the one column of messages that are no objects
const DEEP = 2; // levels of objects that become columns; what is deeper stays JSON
const MOST = 200; // columns; hostile content could make any number of them
const SHOWN = 8;
const ROOM = 6; // up to so many columns nothing is hidden
const IDENTIFIER = /(^|[a-z_.-])(id|uuid|guid)$|Id$|ID$/;
const MOMENT = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/;
const LONGEST = 300; // characters of a cell

/** The cells of one message: a Map of column to value, in the order of the content. */
export function cellsOf(content) {
  const cells = new Map();
  if (isObject(content)) spread(cells, content, "", DEEP);
  if (cells.size === 0) cells.set(TEXT, content);
  return cells;
}

function spread(cells, object, prefix, deep) {
  for (const [key, value] of Object.entries(object)) {
    if (cells.size >= MOST) return;
    if (deep > 1 && isObject(value) && Object.keys(value).length) spread(cells, value, `${prefix}${key}.`, deep - 1);
    else cells.set(prefix + key, value);
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** What stands in a cell: text as it is, anything else as JSON; nothing where there is no such value. */
export function textOf(value) {
  if (value === undefined || value === null) return "";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/** Whether a value is a moment, with its date, its time and where on earth that is. */
export function isTime(value) {
  return typeof value === "string" && MOMENT.test(value) && !Number.isNaN(Date.parse(value));
}

/** The columns that messages have had so far, in the order in which they came. */
export class Columns {
  #seen = new Map(); // column -> how many of its values were numbers, how many were not
  #chosen = /** @type {Set<string> | null} */ (null); // by the reader; null: what the rule says

  /** Note the cells of a message; whether there is a column that was not there before. */
  add(cells) {
    const before = this.#seen.size;
    for (const [column, value] of cells) this.#note(column, value);
    return this.#seen.size > before;
  }

  #note(column, value) {
    if (!this.#seen.has(column) && this.#seen.size >= MOST) return;
    const counts = this.#seen.get(column) ?? { numbers: 0, others: 0 };
    if (typeof value === "number") counts.numbers++;
    else if (value !== null) counts.others++;
    this.#seen.set(column, counts);
  }

  get all() {
    return [...this.#seen.keys()];
  }

  /** Those to show: what was chosen, else all where they are few, else the first ones that are no identifiers. */
  get shown() {
    const chosen = this.#chosen;
    if (chosen) return this.all.filter((column) => chosen.has(column));
    return shownAtFirst(this.all);
  }

  /** Those to sum up: every value was a number, and the column does not only tell things apart. */
  get numeric() {
    return this.all.filter((column) => this.isNumeric(column) && !IDENTIFIER.test(column));
  }

  isNumeric(column) {
    const counts = this.#seen.get(column);
    return counts !== undefined && counts.numbers > 0 && counts.others === 0;
  }

  /** Show these, also when others come. */
  choose(columns) {
    this.#chosen = new Set(columns);
  }
}

function shownAtFirst(columns) {
  if (columns.length <= ROOM) return columns;
  const telling = columns.filter((column) => !IDENTIFIER.test(column));
  return (telling.length ? telling : columns).slice(0, SHOWN);
}
