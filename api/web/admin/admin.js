// The operator's page: how much there is, where it is busy, who is behind, how the bridges fare.

import { ask } from "../recado.js";
import { $, el, write } from "../shared/dom.js";
import { bytes, duration, measure, number } from "../shared/format.js";
import { language } from "../shared/language.js";
import { draw as plot } from "../shared/plot.js";
import { API, about } from "../shared/session.js";
import { DeadLetters } from "./dead-letters.js";
import { SPAN, rates, pageState } from "./rates.js";
import { say } from "./say.js";
import { drawBehind, drawBridges, drawBusiest } from "./tables.js";

const KEY = "recado.api-key";
const EVERY = 2_000; // milliseconds
const LOOKS = { live: "online", loading: "connecting", stale: "waiting" }; // others: trouble

class Admin {
  #key = sessionStorage.getItem(KEY); // of this tab alone
  #isTried = false; // whether the server was shown this key
  #isOpen = false;
  #last = /** @type {any} */ (null); // the last answer
  #answeredAt = /** @type {number | null} */ (null); // by this clock, in seconds
  #error = /** @type {import("../recado.js").RecadoError | null} */ (null);
  #points = []; // messages per second
  #shown = ""; // the state that the advice was drawn for
  #wake = () => {};
  #letters = new DeadLetters((method, path, body) => this.#ask(method, path, body), () => this.#last.at);

  async run() {
    this.#write();
    document.addEventListener("visibilitychange", () => this.#wake());
    setInterval(() => this.#drawState(), 1000);
    for (;;) {
      if (!document.hidden) await this.#turn();
      await this.#pause();
    }
  }

  /** @returns {Promise<void>} Until it is time to ask again; while nobody looks, until somebody does. */
  #pause() {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (!document.hidden && !this.#isLocked) setTimeout(resolve, EVERY);
    });
  }

  async #turn() {
    try {
      if (this.#last === null) this.#isOpen = (await about()).auth_mode === "open";
      const answer = await this.#ask("GET", "api/v1/overview");
      const bridges = await this.#ask("GET", "api/v1/bridges");
      this.#take(answer, bridges);
    } catch (error) {
      this.#error = error;
    }
    this.#drawState();
  }

  #ask(method, path, body) {
    this.#isTried = this.#key !== null;
    return ask(API, method, path, { token: this.#isOpen ? undefined : this.#key, body });
  }

  #take(answer, bridges) {
    const now = rates(this.#last, answer);
    this.#error = null;
    this.#last = answer;
    this.#answeredAt = Date.now() / 1000;
    if (now.messages !== null) this.#points = [...this.#points, now.messages].slice(-SPAN);
    this.#draw(answer, now, bridges);
  }

  get #isLocked() {
    return this.#pageState === "locked";
  }

  get #pageState() {
    return pageState({ answeredAt: this.#answeredAt, error: this.#error, now: Date.now() / 1000 });
  }

  // What is drawn

  #draw(answer, now, bridges) {
    $("figures").hidden = false;
    write({
      rate: orNone(now.messages, measure), appended: number(answer.appended), kept: orNone(answer.kept, number),
      bytes: bytes(answer.bytes), topics: number(answer.topics), sessions: number(answer.process.sessions),
      deliveries: orNone(now.deliveries, measure), "process-about": say("processAbout", { process: answer.process.name }),
      "behind-about": say("behindAbout", { topics: number(answer.behind_among.topics), members: number(answer.behind_among.members) }),
    });
    $("plot-most").textContent = measure(Math.max(0, ...this.#points));
    plot($("plot"), [...Array(SPAN - this.#points.length).fill(0), ...this.#points]);
    drawBusiest(answer.busiest);
    drawBehind(answer.behind, answer.at);
    drawBridges(bridges, answer.at, this.#actions());
  }

  #actions() {
    const order = (what) => async (bridge) => {
      await this.#ask("POST", `api/v1/bridges/${encodeURIComponent(bridge)}/${what}`).catch((error) => { this.#error = error; });
      this.#wake();
    };
    return { pause: order("pause"), resume: order("resume"), show: (bridge) => this.#letters.show(bridge) };
  }

  #drawState() {
    const name = this.#pageState;
    const seconds = this.#answeredAt === null ? 0 : Date.now() / 1000 - this.#answeredAt;
    $("topbar").dataset.state = LOOKS[name] ?? "ended";
    $("figures").classList.toggle("old", this.#last !== null && name !== "live");
    if (name === "stale") $("state").textContent = say("stale", { age: duration(seconds) });
    if (name === this.#shown) return;
    this.#shown = name;
    $("state").textContent = say(name, { age: duration(seconds) });
    this.#advise(name);
    $("forget").hidden = this.#key === null || name === "locked";
  }

  #advise(name) {
    $("advice").hidden = name === "live" || name === "loading";
    const message = this.#error?.message ?? "";
    if (!$("advice").hidden) $("advice").replaceChildren(el("p", {}, say(`${name}About`, { message })), ...(name === "locked" ? [this.#form()] : []));
  }

  #form() {
    const input = el("input", { type: "password", required: true, autocomplete: "off", "aria-label": say("key"), placeholder: say("key") });
    const alert = el("p", { className: "alert", role: "alert" }, this.#isTried ? say("lockedWrong") : "");
    const form = el("form", {}, input, el("button", { className: "primary" }, say("open")), alert);
    form.addEventListener("submit", (event) => { event.preventDefault(); this.#unlock(input.value.trim()); });
    return form;
  }

  // What the operator does

  #unlock(key) {
    this.#key = key;
    sessionStorage.setItem(KEY, key);
    this.#error = null;
    this.#shown = "";
    this.#drawState();
    this.#wake();
  }

  #forget() {
    sessionStorage.removeItem(KEY);
    location.reload();
  }

  #write() {
    document.documentElement.lang = language;
    document.title = `${say("title")} · Recado`;
    const names = ["rate", "appended", "kept", "bytes", "topics", "sessions", "deliveries", "plot"];
    write({
      title: say("title"), state: say("loading"), forget: say("forget"), replay: say("replay"), "letters-close": say("close"),
      "choose-all-label": say("chooseAll"), ...Object.fromEntries(names.map((name) => [`${name}-label`, say(name)])),
    });
    for (const name of ["busiest", "behind", "bridges"]) write({ [`${name}-title`]: say(name) });
    $("home").title = say("home");
    $("forget").addEventListener("click", () => this.#forget());
  }
}

function orNone(value, format) {
  return value === null ? say("none") : format(value);
}

new Admin().run();
