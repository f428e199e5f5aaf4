// The figures above the table: the rate, its plot, and sums of what is a number.

import { $, el } from "../shared/dom.js";
import { measure, number } from "../shared/format.js";
import { draw, means } from "../shared/plot.js";
import { say } from "./say.js";

const POINT = 5; // seconds that one point of the plot stands for
const MOST = 12; // columns summed up

/** Draw all of it; `now` in seconds. */
export function drawFigures(rows, columns, now) {
  const minute = rows.moving.lastMinute(now);
  $("rate").textContent = number(minute.count);
  $("received").textContent = number(rows.received);
  drawPlot(means(rows.moving.perSecond(now), POINT));
  drawTotals(columns.numeric.slice(0, MOST), minute, rows.sums);
}

function drawPlot(points) {
  draw($("plot"), points);
  const most = points.reduce((one, other) => Math.max(one, other), 0);
  const said = say("plotAbout", { now: measure(points.at(-1)), most: measure(most) });
  $("plot").setAttribute("aria-label", said);
  $("plot-most").textContent = measure(most);
}

function drawTotals(columns, minute, shown) {
  $("totals").hidden = columns.length === 0;
  const groups = ["lastMinute", "allShown"].map((name) => el("th", { scope: "colgroup", colSpan: 2 }, say(name)));
  const heads = ["sum", "mean", "sum", "mean"].map((name) => el("th", { scope: "col" }, say(name)));
  const lines = columns.map((column) => el("tr", {}, el("th", { scope: "row", title: column }, column), ...figures(column, minute, shown)));
  $("totals").tHead.replaceChildren(el("tr", {}, el("td", { rowSpan: 2 }), ...groups), el("tr", {}, ...heads));
  $("totals").tBodies[0].replaceChildren(...lines);
}

function figures(column, minute, shown) {
  const pair = (sums) => [sums.of(column)?.sum, sums.of(column)?.mean];
  return [...pair(minute), ...pair(shown)].map((value) => el("td", { className: "number" }, value === undefined ? "–" : measure(value)));
}
