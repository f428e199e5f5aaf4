// What a bridge gave up on: read it, and give it another try.

import { textOf } from "../shared/columns.js";
import { $, el } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { say } from "./say.js";
import { ageText, fill } from "./tables.js";

const PAGE = 100; // letters shown at once

export class DeadLetters {
  #ask;
  #at;
  #bridge = null;
  #letters = [];

  /** `ask(method, path, body)` asks the API; `at()`: the time of its last answer. */
  constructor(ask, at) {
    this.#ask = ask;
    this.#at = at;
    $("replay").addEventListener("click", () => this.#replay());
    $("letters-close").addEventListener("click", () => this.#close());
    $("choose-all").addEventListener("change", (event) => this.#chooseAll(event.target.checked));
  }

  async show(bridge) {
    this.#bridge = bridge;
    this.#letters = await this.#ask("GET", `api/v1/dead-letters?bridge=${encodeURIComponent(bridge)}&limit=${PAGE}`);
    $("letters-title").textContent = say("letters", { bridge });
    $("letters").hidden = false;
    $("choose-all").checked = false;
    $("replay").disabled = this.#letters.length === 0;
    fill("letters", [["choose"], ["topic"], ["seq", "number"], ["from"], ["died"], ["reason", "reason"], ["message", "content"]],
      this.#letters.map((letter) => this.#cells(letter)), "lettersNone");
    $("letters-title").focus();
  }

  #cells(letter) {
    const label = say("chooseOf", { seq: letter.came_by === null ? letter.seq : letter.id, topic: letter.topic_name });
    return [
      el("input", { type: "checkbox", value: letter.id, disabled: !letter.replayable, "aria-label": label }), letter.topic_name, seqOf(letter), letter.user_source || letter.came_by,
      ageText(letter.died_at, this.#at()), letter.reason, letter.content === null ? say("expired") : textOf(letter.content),
    ];
  }

  #boxes() {
    return [...$("letters").querySelectorAll("tbody input")];
  }

  #chooseAll(checked) {
    for (const box of this.#boxes()) box.checked = checked && !box.disabled;
  }

  async #replay() {
    const ids = this.#boxes().filter((box) => box.checked).map((box) => Number(box.value));
    if (ids.length === 0) return;
    $("replay").disabled = true;
    try {
      const { count, refused } = await this.#ask("POST", "api/v1/dead-letters/replay", { bridge: this.#bridge, ids });
      const stays = refused.map(({ reason }) => say("stays", { reason }));
      $("letters-said").textContent = [say("replayed", { n: number(count), count }), ...new Set(stays)].join(" ");
      await this.show(this.#bridge);
    } catch (error) {
      $("letters-said").textContent = error.message;
      $("replay").disabled = false;
    }
  }

  #close() {
    $("letters").hidden = true;
    $("letters-said").textContent = "";
  }
}

// What came in has no number in a topic: it never came that far.
function seqOf(letter) {
  return letter.came_by === null ? number(letter.seq) : say("none");
}
