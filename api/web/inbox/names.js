// Names as people read them. What comes from other systems is percent-encoded: `Fourth%3Alobby` is the room "Fourth:lobby", and
// `Mario%20Rossi` a person.

export function readable(name) {
  try {
    return name.includes("%") ? decodeURIComponent(name) : name;
  } catch {
    return name;
  }
}

/** The name here of a person whom somebody calls `text`, as the server makes it. One that is encoded already stays. */
export function personName(text) {
  const plain = encoded(readable(text));
  return plain === text ? text : encoded(text);
}

function encoded(text) {
  const bytes = (each) => [...new TextEncoder().encode(each)];
  return text.replace(/[^A-Za-z0-9._:@/+|-]/gu, (each) =>
    bytes(each).map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""));
}
