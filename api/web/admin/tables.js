// The tables of the operator's page.

import { $, el, focusedIn } from "../shared/dom.js";
import { duration, measure, number } from "../shared/format.js";
import { age } from "./rates.js";
import { say } from "./say.js";

const BRIDGE = "%bridge/";

/**
 * Fill a panel's table: `heads` are [name of a text, className], `rows` arrays of cells. Without rows `none` is said. What
 * had the focus has it again, by its `data-key`.
 */
export function fill(id, heads, rows, none) {
  const panel = $(id);
  const focused = focusedIn(panel)?.dataset.key;
  const head = el("tr", {}, ...heads.map(([name, className = ""]) => el("th", { scope: "col", className }, say(name))));
  const lines = rows.map((cells) => el("tr", {}, ...cells.map((cell, place) => el("td", { className: heads[place][1] ?? "" }, cell))));
  panel.querySelector("thead").replaceChildren(head);
  panel.querySelector("tbody").replaceChildren(...lines);
  panel.querySelector(".framed").hidden = rows.length === 0;
  panel.querySelector(".none").hidden = rows.length > 0;
  panel.querySelector(".none").textContent = say(none);
  if (focused) [...panel.querySelectorAll("[data-key]")].find((each) => each.dataset.key === focused)?.focus();
}

export function drawBusiest(topics) {
  const most = topics[0]?.per_minute;
  fill("busiest", [["topic"], ["kind"], ["perMinute", "number"], ["lastSeq", "number"]], topics.map((topic) => [
    watchLink(topic.topic_name), say(topic.kind), busy(topic.per_minute, most), number(topic.last_seq),
  ]), "busiestNone");
}

function watchLink(name) {
  return el("a", { href: `watch/${encodeURIComponent(name)}`, dataset: { key: name }, title: name }, name);
}

function busy(rate, most) {
  return el("span", {}, el("meter", { max: most, value: rate, "aria-hidden": "true" }), el("span", { className: "beside" }, measure(rate)));
}

export function drawBehind(members, at) {
  fill("behind", [["member"], ["topic"], ["pending", "number"], ["oldest", "number"]], members.map((member) => [
    memberName(member.username), member.topic_name, number(member.pending), ageText(member.oldest_at, at),
  ]), "behindNone");
}

// A bridge is a user of a name that no person can have.
function memberName(name) {
  return name.startsWith(BRIDGE) ? say("aBridge", { bridge: name.slice(BRIDGE.length) }) : name;
}

/** `actions`: pause(bridge), resume(bridge), show(bridge), by name. */
export function drawBridges(bridges, at, actions) {
  const heads = [
    ["bridge"], ["direction"], ["state"], ["lag", "number"], ["oldest", "number"], ["dead", "number"], ["reason", "reason"], ["since"], ["kind"],
    ["pause"],
  ];
  fill("bridges", heads, bridges.map((bridge) => [
    bridge.name, say(bridge.direction), state(bridge), bridge.lag === null ? say("none") : number(bridge.lag), ageText(bridge.oldest, at), deadButton(bridge, actions), reason(bridge),
    ageText(bridge.since, at), bridge.kind, pauseButton(bridge, actions),
  ]), "bridgesNone");
}

function state(bridge) {
  return el("span", { className: `badge ${bridge.paused ? "paused" : bridge.state}` }, say(bridge.paused ? "paused" : bridge.state));
}

function reason({ reason: text, failed_attempts: attempts }) {
  if (!text) return say("none");
  return `${text}${attempts ? ` (${say("attempts", { n: number(attempts), count: attempts })})` : ""}`;
}

function deadButton({ name, dead_letters: count }, actions) {
  if (!count) return "0";
  const n = number(count);
  return button("show", say("show", { n }), say("showOf", { bridge: name, n }), `show ${name}`, () => actions.show(name));
}

function pauseButton({ name, paused }, actions) {
  const what = paused ? "resume" : "pause";
  return button("", say(what), say(`${what}Of`, { bridge: name }), `pause ${name}`, () => actions[what](name));
}

function button(className, text, label, key, onclick) {
  return el("button", { type: "button", className: `small ${className}`, "aria-label": label, dataset: { key }, onclick }, text);
}

export function ageText(moment, at) {
  const seconds = age(moment, at);
  return seconds === null ? say("none") : duration(seconds);
}
