// Questions in a window of their own. Each returns what was answered, or null.

import { el } from "../shared/dom.js";
import { say } from "./say.js";

/** Whom to write to. */
export const askPerson = () => ask(say("write"), [named("user", say("writeTo"))], [["ok", say("writeDo")]]);

/** Whom to invite. */
export const askGuest = (topic) => ask(say("inviteAsk", { topic }), [named("user", say("inviteWhom"))], [["ok", say("inviteDo")]]);

/** Which topic; `how`: join or create. */
export const askTopic = () => ask(say("addTopic"),
  [named("topic", say("topicName")), check("isPrivate", say("topicPrivate"))], [["join", say("join")], ["create", say("create")]]);

export const askLeave = (topic) => ask(say("leaveAsk", { topic }), [], [["ok", say("leaveDo")]]);

/** Whether a login link may end the session of `user` in this browser. */
export const askReplace = (user) => ask(say("linkAsk", { user }), [], [["ok", say("linkDo")]]);

/** Whether to log out, and whether to remove what is kept. */
export const askLogOut = () => ask(say("logOutAsk"), [check("forget", say("logOutKept"))], [["ok", say("logOut")]]);

function ask(title, fields, answers) {
  const heading = el("h2", { id: "dialog-title", textContent: title });
  const buttons = answers.map(([value, text], at) =>
    el("button", { value, textContent: text, className: at === 0 ? "primary" : "secondary" }));
  const cancel = el("button", { type: "button", className: "link", textContent: say("cancel"), onclick: () => dialog.close() });
  const form = el("form", { method: "dialog" }, heading, ...fields, el("div", { className: "buttons" }, ...buttons, cancel));
  const dialog = el("dialog", { "aria-labelledby": heading.id }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    form.onsubmit = (event) => {
      event.preventDefault(); // the page's policy lets no form be sent, not even to a window
      answer = answered(form, (event.submitter ?? buttons[0]).value);
      dialog.close();
    };
    dialog.onclose = () => { dialog.remove(); resolve(answer); };
    dialog.showModal();
  });
}

function answered(form, how) {
  const given = Object.fromEntries([...form.elements].filter((each) => each.name)
    .map((each) => [each.name, each.type === "checkbox" ? each.checked : each.value.trim()]));
  return { how, ...given };
}

function named(name, label) {
  const input = el("input", { name, id: `dialog-${name}`, required: true, maxLength: 128, autocomplete: "off", autocapitalize: "none", spellcheck: false });
  return el("div", {}, el("label", { htmlFor: input.id, textContent: label }), input);
}

function check(name, label) {
  return el("label", { className: "check" }, el("input", { type: "checkbox", name }), label);
}
