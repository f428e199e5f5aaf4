// The list of conversations, with what is unread in each.

/** @import {Conversation, ConversationStore} from "./conversation-store.js" */
import { el, focusedIn, icon, iconButton } from "../shared/dom.js";
import { readable } from "./names.js";
import { say } from "./say.js";

const ICONS = { inbox: "inbox", public: "hash", private: "lock" };

export class Sidebar {
  #store;
  #do;
  #lists = { inbox: el("ul"), people: el("ul"), topics: el("ul") };

  /** @param {ConversationStore} store @param {{write: () => void, addTopic: () => void}} actions */
  constructor(store, actions) {
    this.#store = store;
    this.#do = actions;
    this.element = el("nav", { className: "sidebar", "aria-label": say("conversations") },
      el("div", { className: "sections" },
        this.#lists.inbox,
        this.#section("people", iconButton("write", say("write"), () => this.#do.write())),
        this.#section("topics", iconButton("plus", say("addTopic"), () => this.#do.addTopic()))));
  }

  #section(name, button) {
    return el("section", {}, el("header", {}, el("h2", { textContent: say(name) }), button), this.#lists[name]);
  }

  /** Draw what has changed; `open`: the id of the conversation that is open. */
  update(open) {
    const people = [...this.#store.people.values()].sort((one, other) => (other.last?.at ?? 0) - (one.last?.at ?? 0));
    const topics = [...this.#store.topics.values()].sort((one, other) => one.id.localeCompare(other.id));
    this.#fill(this.#lists.inbox, [this.#store.inbox], open);
    this.#fill(this.#lists.people, people.filter((each) => each.last || each.id === open), open, "emptyPeople");
    this.#fill(this.#lists.topics, topics, open, "emptyTopics");
  }

  // Elements are kept, so that the focus stays where it is.
  #fill(list, conversations, open, empty) {
    const old = new Map([...list.children].map((item) => [item.dataset.id, item]));
    const items = conversations.map((each) => refreshed(old.get(each.id) ?? itemOf(each), each, this.#store.unread(each), open));
    if (items.length === 0 && empty) items.push(el("li", { className: "quiet", textContent: say(empty) }));
    if (items.length !== list.children.length || items.some((each, at) => list.children[at] !== each)) {
      const focused = focusedIn(list);
      list.replaceChildren(...items);
      focused?.focus();
    }
  }
}

/** @param {Conversation} conversation */
function itemOf(conversation) {
  const badge = ICONS[conversation.kind] ? icon(ICONS[conversation.kind]) : face(readable(conversation.name));
  const name = el("span", { className: "name", textContent: nameOf(conversation) });
  const link = el("a", { href: addressOf(conversation.id) }, badge, name, el("span", { className: "count" }));
  return el("li", { dataset: { id: conversation.id, kind: conversation.kind } }, link);
}

function refreshed(item, conversation, unread, open) {
  const link = item.firstChild;
  const [count, isOpen] = [link.querySelector(".count"), conversation.id === open];
  if (isOpen) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  link.classList.toggle("unread", unread > 0);
  if (item.dataset.kind !== conversation.kind && ICONS[conversation.kind]) {
    link.firstChild.replaceWith(icon(ICONS[conversation.kind]));
    item.dataset.kind = conversation.kind;
  }
  if (count.dataset.n === String(unread)) return item;
  count.dataset.n = String(unread);
  const shown = el("span", { textContent: unread > 999 ? "999+" : String(unread), "aria-hidden": "true" });
  count.replaceChildren(...(unread === 0 ? [] : [shown, el("span", { className: "heard", textContent: say("unread", { n: unread }) })]));
  return item;
}

/** @param {Conversation} conversation */
export function nameOf(conversation) {
  return conversation.kind === "inbox" ? say("inbox") : readable(conversation.name);
}

/** A person, drawn as the first letters of the name. */
export function face(name) {
  const letters = name.replace(/[^A-Za-z0-9]/g, "").slice(0, 2) || "?";
  return el("span", { className: "face", "aria-hidden": "true", textContent: letters });
}

/** A conversation in the page's address, and back: the inbox is "#/", the list alone "#". */
export const addressOf = (id) => `#/${encodeURIComponent(id)}`;

/** The id in an address; null for the list alone. */
export function idIn(hash) {
  try {
    return hash.startsWith("#/") ? decodeURIComponent(hash.slice(2)) : null;
  } catch {
    return null;
  }
}
