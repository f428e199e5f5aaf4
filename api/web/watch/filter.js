// Which rows the reader wants to see. Pure.

import { textOf } from "../shared/columns.js";

const COMPARISON = /^\s*(<=|>=|<|>|=)\s*(-?\d+(?:[.,]\d+)?)\s*$/;
const COMPARE = {
  "<": (value, bound) => value < bound,
  "<=": (value, bound) => value <= bound,
  ">": (value, bound) => value > bound,
  ">=": (value, bound) => value >= bound,
  "=": (value, bound) => value === bound,
};

/**
 * A test for rows: every word of `text` must be found in the row's cells, or in its cell of `column` where one is given.
 * There, "> 10" compares numbers. Null where everything passes.
 */
export function filterOf(text, column = "") {
  const comparison = column && COMPARISON.exec(text);
  if (comparison) return comparing(column, comparison[1], Number(comparison[2].replace(",", ".")));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return null;
  return (row) => {
    const found = column ? textOf(row.cells.get(column)).toLowerCase() : wholeText(row);
    return words.every((word) => found.includes(word));
  };
}

function comparing(column, sign, bound) {
  return (row) => {
    const value = row.cells.get(column);
    return typeof value === "number" && COMPARE[sign](value, bound);
  };
}

// Kept with the row: a keystroke asks all rows for it.
function wholeText(row) {
  row.text ??= [row.sender, ...[...row.cells.values()].map(textOf)].join("\n").toLowerCase();
  return row.text;
}
