// What a message says as text: to be searched, announced, and shown with its links. Pure.

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
