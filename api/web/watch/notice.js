// How it stands with reading the topic: a word that is always there, and what the reader can do where there is something.

import { $, el } from "../shared/dom.js";
import { reasonOf } from "../shared/session.js";
import { say } from "./say.js";

const LOOKS = { live: "online", paused: "paused", connecting: "connecting", missing: "connecting" }; // others: trouble
const SILENT = new Set(["live", "paused", "connecting"]);

/** Draw a state of the source: {name, message}. `onlogin(token)` may throw. */
export function drawState(state, topic, onlogin) {
  $("topbar").dataset.state = LOOKS[state.name] ?? "ended";
  $("state").textContent = say(state.name);
  if (SILENT.has(state.name)) {
    $("notice").hidden = true;
    return;
  }
  const about = el("p", {}, say(`${state.name}About`, { topic, message: state.message }));
  const asks = ["login", "outside"].includes(state.name);
  notify(about, asks ? tokenForm(onlogin) : null);
}

/** That the page made the reader a member, and how to undo it. */
export function drawJoined(onleave) {
  const leave = el("button", { type: "button", className: "secondary", onclick: onleave }, say("leave"));
  notify(el("p", {}, say("joined")), leave);
}

function notify(...children) {
  $("notice").replaceChildren(...children.filter(Boolean));
  $("notice").hidden = false;
}

function tokenForm(onlogin) {
  const input = el("input", { type: "password", required: true, autocomplete: "current-password", "aria-label": say("token"), placeholder: say("token") });
  const alert = el("p", { className: "alert", role: "alert" });
  const form = el("form", { className: "log-in" }, input, el("button", { className: "primary" }, say("watch")), alert);
  form.onsubmit = async (event) => {
    event.preventDefault();
    alert.textContent = "";
    try {
      await onlogin(input.value.trim());
    } catch (error) {
      const reason = reasonOf(error);
      alert.textContent = reason ? say(reason) : error.message;
    }
  };
  return form;
}
