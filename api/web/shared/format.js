// Numbers and times in the reader's language.

import { language } from "./language.js";

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const AGES = /** @type {[string, number][]} */ ([["day", 86_400], ["hour", 3_600], ["minute", 60]]);

/** A number with at most so many decimal places. */
export function number(value, places = 0) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: places }).format(value);
}

/** A rate or a mean: precise where it is small. */
export function measure(value) {
  return number(value, Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0);
}

export function bytes(count) {
  const step = count < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(count) / 3));
  return `${number(count / 1000 ** step, step && 1)} ${UNITS[step]}`;
}

/** How long something takes or lasts, in its largest unit: "3 hours". */
export function duration(seconds) {
  const [unit, size] = AGES.find(([, each]) => seconds >= each) ?? ["second", 1];
  const format = new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 });
  return format.format(Math.floor(Math.max(0, seconds) / size));
}
