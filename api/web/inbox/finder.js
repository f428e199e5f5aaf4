// Finds a text in what is loaded of a conversation, newest first.

import { el, iconButton } from "../shared/dom.js";
import { matches } from "./message-text.js";
import { say } from "./say.js";

export class Finder {
  #given;
  #found = [];
  #at = -1;
  #input = el("input", { type: "search", placeholder: say("findWhat"), "aria-label": say("find"), autocomplete: "off" });
  #count = el("output", { className: "found-count", role: "status" });

  /** `entries()`: where to look; `reveal(entry)` shows one; `redraw(entry)` draws one anew that is no longer the one. */
  constructor(given) {
    this.#given = given;
    this.element = el("form", { className: "finder", hidden: true, role: "search" }, this.#input, this.#count,
      iconButton("previous", say("findPrevious"), () => this.#go(-1)), iconButton("next", say("findNext"), () => this.#go(1)),
      iconButton("close", say("close"), () => this.close()));
    this.#input.oninput = () => this.#look();
    this.element.onsubmit = (event) => { event.preventDefault(); this.#go(-1); };
    this.element.onkeydown = (event) => { if (event.key === "Escape") this.close(); };
  }

  isAt(entry) {
    return !this.element.hidden && this.#found[this.#at] === entry;
  }

  toggle() {
    if (!this.element.hidden) return this.close();
    this.element.hidden = false;
    this.#input.focus();
    return undefined;
  }

  close() {
    const before = this.#found[this.#at];
    this.element.hidden = true;
    this.#input.value = "";
    this.#set([], before);
  }

  #look() {
    this.#set(matches(this.#given.entries(), this.#input.value), this.#found[this.#at]);
    if (this.#found.length) this.#given.reveal(this.#found[this.#at]);
  }

  #go(step) {
    if (this.#found.length === 0) return;
    const before = this.#found[this.#at];
    this.#at = (this.#at + step + this.#found.length) % this.#found.length;
    this.#say();
    this.#given.redraw(before);
    this.#given.reveal(this.#found[this.#at]);
  }

  #set(found, before) {
    this.#found = found;
    this.#at = found.length - 1;
    this.#say();
    if (before) this.#given.redraw(before);
  }

  #say() {
    const isLooking = this.#input.value.trim() !== "";
    const text = this.#found.length ? say("found", { at: this.#at + 1, n: this.#found.length }) : say("foundNone");
    this.#count.textContent = isLooking ? text : "";
  }
}
