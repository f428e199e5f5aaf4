// From the entries of a conversation to the rows of its timeline: days, the mark before what is new, who spoke. Pure.

const TOGETHER = 5 * 60_000; // milliseconds within which a sender is named once

/** @import {Entry} from "./conversation-store.js" */

/** @typedef {{key: string, kind: "day" | "new" | "message" | "gap" | "start", entry?: Entry, isFirst?: boolean, time?: Date, isWhole?: boolean}} Row */

/** @param {Entry[]} entries @param {string | null} newFrom The key of the first new one. @returns {Row[]} In order. */
export function rowsOf(entries, newFrom) {
  const rows = [];
  let before = /** @type {{entry: Entry, time?: Date} | null} */ (null);
  for (const entry of entries) {
    const time = entry.sentAt === undefined ? before?.time : new Date(entry.sentAt);
    const isNewDay = time !== undefined && dayOf(time) !== (before?.time && dayOf(before.time));
    if (isNewDay) rows.push({ key: `day ${dayOf(time)}`, kind: "day", time });
    if (entry.key === newFrom) rows.push({ key: "new", kind: "new" });
    const isFirst = isNewDay || entry.key === newFrom || !isTogether(before, entry, time);
    const kind = entry.sender === undefined ? "gap" : "message";
    rows.push({ key: `${entry.key} ${entry.state ?? ""}${isFirst ? "+" : ""}`, kind, entry, isFirst, time });
    before = { entry, time };
  }
  return rows;
}

function isTogether(before, entry, time) {
  if (before === null || before.entry.sender !== entry.sender) return false;
  return time === undefined || before.time === undefined || time - before.time < TOGETHER;
}

/** A day as a number that two times share or not, where the reader is. */
export function dayOf(time) {
  return (time.getFullYear() * 12 + time.getMonth()) * 31 + time.getDate();
}
