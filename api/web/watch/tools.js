// What the reader sets: the filter, the columns, the pause.

import { $, el, focusedIn } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { filterOf } from "./filter.js";
import { say } from "./say.js";


/** Every change of the filter calls `onfilter` with a test for rows, or null. */
export function filterTools(onfilter) {
  const tell = () => onfilter(filterOf($("filter").value, $("filter-column").value));
  for (const [id, label] of [["filter", "filter"], ["filter-column", "filterIn"]]) $(id).setAttribute("aria-label", say(label));
  $("filter").placeholder = say("filter");
  $("filter").addEventListener("input", tell);
  $("filter-column").addEventListener("change", tell);
  $("tools").addEventListener("submit", (event) => event.preventDefault());
}

/** Offer these columns, [id, name], to filter by. */
export function offerColumns(columns) {
  const select = $("filter-column");
  const chosen = select.value;
  const options = columns.map(([id, name]) => el("option", { value: id, textContent: name }));
  select.replaceChildren(el("option", { value: "", textContent: say("anyColumn") }), ...options);
  select.value = chosen;
}

/** The chooser of columns, [id, name, isShown]; every change calls `onchoose` with the ids of those to show. */
export function columnChooser(columns, onchoose) {
  const menu = $("columns-menu");
  const boxes = columns.map(([id, , isShown]) => el("input", { type: "checkbox", value: id, checked: isShown }));
  const labels = columns.map(([, name], place) => el("label", {}, boxes[place], name));
  const tell = () => onchoose(boxes.filter((box) => box.checked).map((box) => box.value));
  const focused = focusedIn(menu)?.value;
  menu.replaceChildren(el("legend", { className: "heard", textContent: say("columns") }), ...labels);
  menu.onchange = tell;
  boxes.find((box) => box.value === focused)?.focus();
}

/** The menu of columns opens with its button, and closes with it, with Escape, or by a click beside it. */
export function openableMenu() {
  const button = $("columns-open");
  const show = (isOpen) => {
    $("columns-menu").hidden = !isOpen;
    button.setAttribute("aria-expanded", isOpen);
  };
  button.textContent = say("columns");
  button.addEventListener("click", () => show($("columns-menu").hidden));
  document.addEventListener("click", (event) => $("columns").contains(event.target) || show(false));
  $("columns").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    show(false);
    button.focus();
  });
}

export function drawPause(isPaused, held) {
  $("pause").textContent = isPaused ? say("resume", { n: number(held), count: held }) : say("pause");
  $("pause").setAttribute("aria-pressed", isPaused);
}
