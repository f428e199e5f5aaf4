// From the entries of a conversation to the rows of a list: days, the mark before what is new, who spoke. Pure.

const TOGETHER = 5 * 60_000; // milliseconds within which a sender is named once

/** Rows in order: {key, kind: "day" | "new" | "message" | "gap", entry, isFirst, time}. `newFrom`: the key of the first new entry. */
export function rowsOf(entries, newFrom) {
  const rows = [];
  let before = null;
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

/** The text of an entry, to be searched and announced. */
export function textOf(entry) {
  return typeof entry.content === "string" ? entry.content : JSON.stringify(entry.content) ?? "";
}

/** The entries in which something is found, whatever its case. */
export function matches(entries, wanted) {
  const needle = wanted.trim().toLowerCase();
  if (needle === "") return [];
  return entries.filter((entry) => entry.sender !== undefined && `${entry.sender} ${textOf(entry)}`.toLowerCase().includes(needle));
}

/** A text in parts: [text, address or null]. Only http and https become addresses. */
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"'`\u2066-\u2069\u202a-\u202e]+/gi)) {
    const address = withoutEnding(match[0]);
    if (!URL.canParse(address)) continue;
    if (match.index > end) parts.push([text.slice(end, match.index), null]);
    parts.push([address, address]);
    end = match.index + address.length;
  }
  if (end < text.length) parts.push([text.slice(end), null]);
  return parts;
}

// By hand: a pattern that is anchored at the end alone is tried at every sign, which is quadratic.
function withoutEnding(address) {
  let end = address.length;
  while (".,;:!?)]}…»”".includes(address[end - 1])) end -= 1;
  return address.slice(0, end);
}
