// Finding and making elements. Text only ever enters a page as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * The element with this id, which the page has, of whatever kind it is there.
 *
 * @type {(id: string) => any}
 */
export const $ = (id) => document.getElementById(id);

/**
 * What has the focus within an element, or null.
 *
 * @type {(element: HTMLElement) => any}
 */
export const focusedIn = (element) => (element.contains(document.activeElement) ? document.activeElement : null);

/** An element. What is no property of it becomes an attribute; null and false leave an attribute out. */
export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "dataset") Object.assign(made.dataset, value);
    else if (key in made) made[key] = value;
    else if (value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const STROKES = {
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v13M6 12l6 6 6-6",
  find: "M10.5 4a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13M20 20l-4.8-4.8",
  hash: "M5 9h14M5 15h14M10 4L8 20M16 4l-2 16",
  inbox: "M4 13l3-8h10l3 8v6H4zM4 13h5a3 3 0 0 0 6 0h5",
  invite: "M10 12a4 4 0 1 0 0-8a4 4 0 0 0 0 8M3 20c.6-3.4 3.4-5 7-5s6.4 1.6 7 5M19 8v6M16 11h6",
  leave: "M14 4H6v16h8M11 12h10M17 8l4 4-4 4",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  next: "M6 9l6 6 6-6",
  plus: "M12 5v14M5 12h14",
  previous: "M6 15l6-6 6 6",
  reply: "M9 6l-6 6 6 6M3 12h11a6 6 0 0 1 6 6v1",
  send: "M12 19V6M6 11l6-6 6 6",
  user: "M12 12a4 4 0 1 0 0-8a4 4 0 0 0 0 8M5 20c.6-3.4 3.4-5 7-5s6.4 1.6 7 5",
  watch: "M4 20h16M5 15l5-6 4 3 5-7",
  write: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
};

/** A drawing that says nothing to a screen reader: what holds it has a label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  const given = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" };
  for (const [key, value] of Object.entries(given)) svg.setAttribute(key, value);
  path.setAttribute("d", STROKES[name]);
  svg.append(path);
  return svg;
}

/** A button that is an icon alone. */
export function iconButton(name, label, onclick, properties = {}) {
  return el("button", { type: "button", className: "icon-button", title: label, "aria-label": label, onclick, ...properties }, icon(name));
}

/** Fill in what a page says: the elements by id, with their texts. */
export function write(texts) {
  for (const [id, text] of Object.entries(texts)) $(id).textContent = text;
}
