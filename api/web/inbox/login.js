// The first page: a name, or where names are not enough a token.

import { el } from "../shared/dom.js";
import { byName, byToken, reasonOf } from "../shared/session.js";
import { say } from "./say.js";

/** Ask who it is. Calls `done` with the session. `isOpen`: a name is enough; `why`: what is said at first. */
export function login(isOpen, why, done) {
  const alert = el("p", { className: "alert", role: "alert", textContent: why ?? "" });
  const form = el("form", { className: "card login" });
  const show = (open) => {
    form.replaceChildren(...fields(open, isOpen, alert, () => show(false)));
    form.querySelector("input").focus();
  };
  form.onsubmit = (event) => { event.preventDefault(); submit(form, alert, done); };
  const page = el("main", { className: "entrance" },
    el("h1", { textContent: "Recado" }), el("p", { className: "tagline", textContent: say("tagline") }), form,
    el("p", { className: "quiet" }, el("a", { href: "docs", textContent: say("docs") })));
  document.body.replaceChildren(page);
  show(isOpen);
}

function fields(open, mayOpen, alert, other) {
  const name = { name: "username", autocomplete: "username", autocapitalize: "none", spellcheck: false, maxLength: 128 };
  const token = { name: "token", type: "password", autocomplete: "current-password", spellcheck: false };
  return [
    labelled(open ? "username" : "token", open ? "usernameHint" : "tokenHint", el("input", { required: true, ...(open ? name : token) })),
    el("label", { className: "check" }, el("input", { type: "checkbox", name: "stays" }), say("stay")),
    alert,
    el("button", { className: "primary", textContent: say("logIn") }),
    open && mayOpen ? el("button", { type: "button", className: "link", textContent: say("useToken"), onclick: other }) : null,
  ].filter(Boolean);
}

function labelled(label, hint, input) {
  Object.assign(input, { id: `login-${label}` });
  input.setAttribute("aria-describedby", "login-hint");
  return el("div", {}, el("label", { htmlFor: input.id, textContent: say(label) }), input,
    el("p", { className: "hint", id: "login-hint", textContent: say(hint) }));
}

async function submit(form, alert, done) {
  const { username, token, stays } = form.elements;
  const button = form.querySelector(".primary");
  Object.assign(button, { disabled: true, textContent: say("loggingIn") });
  alert.textContent = "";
  try {
    done(await (username ? byName(username.value.trim(), stays.checked) : byToken(token.value.trim(), stays.checked)));
  } catch (error) {
    const reason = reasonOf(error);
    alert.textContent = reason ? say(reason) : error.message;
    Object.assign(button, { disabled: false, textContent: say("logIn") });
    (username ?? token).focus();
  }
}
