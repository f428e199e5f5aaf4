// Names as people read them. What comes from other systems is percent-encoded: `Fourth%3Alobby` is the room "Fourth:lobby".

export function readable(name) {
  try {
    return name.includes("%") ? decodeURIComponent(name) : name;
  } catch {
    return name;
  }
}
