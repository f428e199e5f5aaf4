// One row of a conversation: a message, a gap, a day, or the mark before what is new.

import { el, icon } from "../shared/dom.js";
import { locale } from "../shared/language.js";
import { contentElement } from "./content.js";
import { readable } from "./names.js";
import { say } from "./say.js";
import { addressOf, face } from "./sidebar.js";
import { dayOf } from "./timeline.js";

const HOUR = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
const DATE = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "medium" });

/** The element of a row. `given`: me, isInbox, unfolded (by entry), isFound, retry. */
export function rowElement(row, given) {
  switch (row.kind) {
    case "day": return el("div", { className: "day" }, el("span", { textContent: dayName(row.time, new Date()) }));
    case "start": return el("div", { className: "start", textContent: say(row.isWhole ? "beginning" : "loading") });
    case "new": return el("div", { className: "new" }, el("span", { textContent: say("newOnes") }));
    case "gap": return el("div", { className: "gap" }, el("span", { textContent: gapText(row.entry) }));
    default: return message(row, given);
  }
}

/** What a day is called, seen from now. */
export function dayName(time, now) {
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (dayOf(time) === dayOf(now)) return say("today");
  if (dayOf(time) === dayOf(yesterday)) return say("yesterday");
  return (time.getFullYear() === now.getFullYear() ? DAY : DATE).format(time);
}

export function gapText({ from, to, reason }) {
  return say(reason === "seen" ? "gapSeen" : "gapExpired", { n: to - from + 1 });
}

function message({ entry, isFirst, time }, given) {
  const who = entry.mine ? say("you") : readable(entry.sender);
  const body = el("div", { className: "body" }, contentElement(entry.content, given.unfoldedOf(entry)));
  const side = isFirst ? face(readable(entry.sender)) : stamp(time);
  const head = isFirst ? el("header", {}, el("span", { className: "sender", textContent: who }), stamp(time)) : null;
  const classes = ["message", isFirst && "first", entry.mine && "mine", entry.state, given.isFound(entry) && "found"];
  return el("article", { className: classes.filter(Boolean).join(" "), "aria-label": labelOf(who, time) },
    el("div", { className: "side" }, side), el("div", { className: "main" }, head, body, state(entry, given)), tools(entry, given));
}

function labelOf(who, time) {
  return time === undefined ? who : `${who}, ${HOUR.format(time)}`;
}

function stamp(time) {
  if (time === undefined) return el("span");
  return el("time", { dateTime: time.toISOString(), title: FULL.format(time), textContent: HOUR.format(time) });
}

function state(entry, given) {
  if (entry.state === "sending") return el("p", { className: "state", textContent: say("sending") });
  if (entry.state !== "failed") return null;
  const again = el("button", { type: "button", className: "link", textContent: say("retry"), onclick: () => given.retry(entry) });
  return el("p", { className: "state", role: "alert" }, `${say("failed", { reason: entry.reason })} `, again);
}

function tools(entry, given) {
  if (entry.mine || entry.sender === given.me || given.person === entry.sender) return null;
  const reply = el("a", { className: "icon-button tool", href: addressOf(`@${entry.sender}`), title: say("reply", { user: readable(entry.sender) }),
    "aria-label": say("reply", { user: readable(entry.sender) }), onclick: () => given.reply() }, icon("reply"));
  return reply;
}
