// What is always in view: how the connection stands, and who is logged in.

import { el, icon } from "../shared/dom.js";
import { say } from "./say.js";

const NOTICE = 8_000; // milliseconds

export class Topbar {
  #dot = el("span", { className: "dot", "aria-hidden": "true" });
  #text = el("span", { className: "said" });
  #retry = el("button", { type: "button", className: "link", textContent: say("tryNow"), hidden: true });
  #account = el("button", { type: "button", className: "account" });
  #heard = el("p", { className: "heard", role: "status" }); // for screen readers: changes, not every second
  #notice = el("p", { className: "notice", role: "status", hidden: true });
  #state = { name: "connecting" };
  #until = 0;
  #timers = {};

  /** `actions`: retry, logOut. */
  constructor(actions) {
    this.#retry.onclick = () => actions.retry();
    this.#account.onclick = () => actions.logOut();
    const status = el("p", { className: "status" }, this.#dot, this.#text, this.#retry);
    this.element = el("header", { className: "topbar" },
      el("a", { className: "skip", href: "#conversation", textContent: say("skip"), onclick: (event) => { event.preventDefault(); actions.skip(); } }),
      el("a", { className: "brand", href: "#/", textContent: "Recado" }), status, this.#account, this.#heard, this.#notice);
    this.#timers.count = setInterval(() => this.#draw(), 1000);
    this.#draw();
  }

  user(name) {
    this.#account.replaceChildren(icon("user"), el("span", { textContent: name }));
    this.#account.setAttribute("aria-label", `${say("account", { user: name })}: ${say("logOut")}`);
    this.#account.title = say("logOut");
  }

  state(state) {
    const isNews = state.name !== this.#state.name;
    this.#state = state;
    this.#until = Date.now() + (state.retryIn ?? 0);
    this.#draw();
    if (isNews && state.name !== "connecting") this.announce(this.#text.textContent);
  }

  /** Have a screen reader say it. */
  announce(text) {
    this.#heard.textContent = text;
  }

  /** Say it to everybody, for a while. */
  notice(text) {
    clearTimeout(this.#timers.notice);
    Object.assign(this.#notice, { textContent: text, hidden: false });
    this.#timers.notice = setTimeout(() => { this.#notice.hidden = true; }, NOTICE);
  }

  close() {
    clearInterval(this.#timers.count);
    clearTimeout(this.#timers.notice);
  }

  #draw() {
    const { name, reason } = this.#state;
    const seconds = Math.max(0, Math.ceil((this.#until - Date.now()) / 1000));
    const text = name === "ended" && reason ? say("sentAway", { reason }) : say(name, { seconds });
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.element.dataset.state = name;
    this.#retry.hidden = name !== "waiting";
  }
}
