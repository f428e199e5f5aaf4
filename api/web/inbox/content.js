// Content of any kind, readable: texts with their links, objects as names and values. What is large is folded.

import { el } from "../shared/dom.js";
import { linked } from "./message-text.js";
import { say } from "./say.js";

const LONG = 1200; // characters
const TALL = 16; // lines
const MANY = 24; // fields or entries
const INLINE = 8; // fields of an object inside another one that is open at once

/**
 * An element for JSON content. `unfolded` has the paths of what the reader has opened, and outlives the element.
 *
 * @param {Set<string>} unfolded
 */
export function contentElement(content, unfolded, path = "") {
  if (typeof content === "string") return textElement(content, unfolded, path);
  if (typeof content === "object" && content !== null) return structure(content, unfolded, path);
  return el("span", { className: "scalar", textContent: String(content) });
}

function textElement(text, unfolded, path) {
  const block = el("div", { className: "text", dir: "auto" });
  const short = shortened(text);
  const draw = () => {
    const isWhole = short === text || unfolded.has(path);
    block.replaceChildren(...pieces(isWhole ? text : `${short}…`));
    if (short !== text) block.append(el("br"), folding(isWhole));
  };
  const folding = (isWhole) => el("button", {
    type: "button", className: "fold", textContent: isWhole ? say("less") : say("more", { size: sizeOf(text.length) }),
    onclick: () => { isWhole ? unfolded.delete(path) : unfolded.add(path); draw(); },
  });
  draw();
  return block;
}

function pieces(text) {
  return linked(text).map(([piece, address]) =>
    address === null ? piece : el("a", { href: address, textContent: piece, rel: "noopener noreferrer", target: "_blank" }));
}

/** The beginning of a text that is too long or too tall; otherwise the text itself. */
export function shortened(text) {
  const lines = text.split("\n", TALL + 1);
  const tall = lines.length > TALL ? lines.slice(0, TALL).join("\n") : text;
  if (tall.length <= LONG) return tall;
  return [...tall.slice(0, LONG)].slice(0, -1).join(""); // not in the middle of a character
}

function sizeOf(length) {
  return length < 2000 ? `${length}` : `${Math.round(length / 1000)} k`;
}

function structure(content, unfolded, path) {
  const fields = Object.entries(content);
  if (fields.length === 0) return el("span", { className: "scalar", textContent: Array.isArray(content) ? "[ ]" : "{ }" });
  if (path === "" || (fields.length <= INLINE && path.split("/").length < 3)) return table(content, fields, unfolded, path);
  return folded(content, fields, unfolded, path);
}

function folded(content, fields, unfolded, path) {
  const counted = say(Array.isArray(content) ? "items" : "fields", { n: fields.length });
  const details = el("details", { open: unfolded.has(path) }, el("summary", { textContent: counted }));
  const open = () => details.childElementCount === 1 && details.append(table(content, fields, unfolded, path));
  if (details.open) open();
  details.addEventListener("toggle", () => {
    details.open ? unfolded.add(path) : unfolded.delete(path);
    if (details.open) open();
  });
  return details;
}

function table(content, fields, unfolded, path) {
  const list = el("dl", { className: Array.isArray(content) ? "fields items" : "fields" });
  const add = (some) => some.forEach(([name, value]) => list.append(field(name, value, unfolded, `${path}/${name}`)));
  const isWhole = fields.length <= MANY || unfolded.has(`${path}/…`);
  add(isWhole ? fields : fields.slice(0, MANY));
  if (isWhole) return list;
  const rest = el("button", { type: "button", className: "fold", textContent: say("moreFields", { n: fields.length - MANY }) });
  rest.onclick = () => { unfolded.add(`${path}/…`); rest.remove(); add(fields.slice(MANY)); };
  return el("div", {}, list, rest);
}

function field(name, value, unfolded, path) {
  return el("div", { className: "field" },
    el("dt", { dir: "auto", textContent: name }), el("dd", {}, contentElement(value, unfolded, path)));
}
