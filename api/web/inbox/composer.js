// Where a message is written. What was begun for one conversation waits there while another one is open.

import { el, icon } from "../shared/dom.js";
import { readable } from "./names.js";
import { say } from "./say.js";

const TALLEST = 200; // pixels

export class Composer {
  #send;
  #drafts = new Map();
  #id = null;
  #text = el("textarea", { rows: 1, dir: "auto", autocomplete: "off", enterKeyHint: "send" });

  /** `send` is called with the text. */
  constructor(send) {
    this.#send = send;
    const button = el("button", { className: "primary round", "aria-label": say("send"), title: say("sendHint") }, icon("send"));
    this.element = el("form", { className: "composer" }, this.#text, button);
    this.element.onsubmit = (event) => { event.preventDefault(); this.#submit(); };
    this.#text.oninput = () => this.#grow();
    this.#text.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    };
  }

  /** Write to this conversation from now on; nobody writes to the inbox as a whole. */
  to(conversation) {
    if (this.#id !== null) this.#drafts.set(this.#id, this.#text.value);
    this.#id = conversation.id;
    this.element.hidden = conversation.kind === "inbox";
    this.#text.value = this.#drafts.get(this.#id) ?? "";
    this.#text.placeholder = say("messageTo", { name: readable(conversation.name) });
    this.#text.setAttribute("aria-label", this.#text.placeholder);
    this.#grow();
  }

  focus() {
    this.#text.focus();
  }

  #submit() {
    const text = this.#text.value;
    if (text.trim() === "") return;
    this.#text.value = "";
    this.#grow();
    this.#send(text);
    this.#text.focus();
  }

  #grow() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${Math.min(TALLEST, this.#text.scrollHeight)}px`;
  }
}
