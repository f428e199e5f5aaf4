// The open conversation: its head, its messages, the place to write.

/** @import {Conversation, ConversationStore, Entry} from "./conversation-store.js" */
import { el, icon, iconButton } from "../shared/dom.js";
import { Composer } from "./composer.js";
import { Finder } from "./finder.js";
import { readable } from "./names.js";
import { say } from "./say.js";
import { nameOf } from "./sidebar.js";
import { rowsOf } from "./timeline.js";
import { rowElement } from "./timeline-row.js";
import { VirtualList } from "./virtual-list.js";

const KINDS = { inbox: "inboxAbout", person: "direct", public: "publicTopic", private: "privateTopic" };

export class ConversationView {
  /** @type {Conversation} */
  conversation; // none before the first one is opened
  #store;
  #do;
  #newFrom = /** @type {string | null} */ (null); // the key of the first entry that was new when this was opened
  #seen = /** @type {string | null} */ (null); // the key of the last entry that was in view
  #unfolded = new Map(); // entry key -> paths that the reader has opened
  #title = el("h1", { tabIndex: -1 });
  #about = el("p", { className: "about" });
  #tools = el("div", { className: "tools" });
  #port = el("div", { className: "port", tabIndex: 0, role: "feed", "aria-label": say("messages") });
  #empty = el("div", { className: "empty" });
  #below = el("button", { type: "button", className: "below", hidden: true, onclick: () => this.#list.toEnd() });
  #list;
  #finder;
  #composer;

  /** @param {ConversationStore} store @param {Record<string, Function>} actions send, retry, shown, earlier, invite, leave, write, reply. */
  constructor(store, actions) {
    this.#store = store;
    this.#do = actions;
    this.#list = new VirtualList(this.#port, {
      draw: (row) => rowElement(row, this.#drawing()),
      onseen: (first, last) => this.#inView(first, last),
      ontop: () => this.conversation && this.#do.earlier(this.conversation),
      hold: () => this.#list.rows.findIndex((row) => row.entry !== undefined && isUnseen(row.entry)),
    });
    this.#finder = new Finder({
      entries: () => this.conversation.log.entries,
      reveal: (entry) => this.#reveal(entry),
      redraw: (entry) => this.#redraw(entry),
    });
    this.#composer = new Composer((text) => this.#do.send(this.conversation, text));
    const back = el("a", { className: "icon-button back", href: "#", "aria-label": say("back") }, icon("back"));
    this.element = el("main", { className: "conversation", id: "conversation" },
      el("header", {}, back, el("div", { className: "titles" }, this.#title, this.#about), this.#tools),
      this.#finder.element,
      el("div", { className: "middle" }, this.#port, this.#empty, this.#below),
      this.#composer.element);
    document.addEventListener("visibilitychange", () => this.#list.tell());
  }

  /** @param {Conversation} conversation Shown from what is new on, else its end. */
  open(conversation) {
    this.conversation = conversation;
    this.#unfolded.clear();
    this.#seen = null;
    this.#finder.close();
    this.#newFrom = conversation.log.entries.find((entry) => isUnseen(entry) && !entry.mine)?.key ?? null;
    this.#head();
    this.#composer.to(conversation);
    const rows = this.#rows();
    this.#list.open(rows, rows.findIndex((row) => row.kind === "new"));
    this.#around();
  }

  /** Draw what has come or changed. */
  update() {
    if (this.conversation === undefined) return;
    this.#markNew();
    this.#head();
    this.#list.set(this.#rows());
    this.#around();
  }

  /** @param {Entry} entry Whether it belongs to what is open. */
  shows(entry) {
    return this.conversation?.log.get(entry.key) === entry;
  }

  focus() {
    this.#title.focus({ preventScroll: true });
  }

  write() {
    this.#composer.focus();
  }

  #rows() {
    const { log, kind, isWhole } = this.conversation;
    const rows = rowsOf(log.entries, this.#newFrom);
    if (kind === "inbox" || kind === "person" || (isWhole && rows.length === 0)) return rows;
    return [{ key: `start ${isWhole}`, kind: "start", isWhole }, ...rows];
  }

  // What came while nobody looked is marked as new.
  #markNew() {
    const first = this.conversation.log.entries.find((entry) => isUnseen(entry) && !entry.mine);
    const isNews = document.hidden || (this.#newFrom === null && (first?.isAway || !this.#list.follows));
    if (first && isNews) this.#newFrom = first.key;
  }

  #head() {
    const { conversation } = this;
    this.#title.textContent = nameOf(conversation);
    const own = conversation.role === "owner" && conversation.kind !== "inbox" ? `, ${say("owner")}` : "";
    this.#about.textContent = `${say(KINDS[conversation.kind])}${own}`;
    if (this.#tools.dataset.of === `${conversation.id} ${conversation.kind}`) return;
    this.#tools.dataset.of = `${conversation.id} ${conversation.kind}`;
    const isTopic = conversation.kind === "public" || conversation.kind === "private";
    this.#tools.replaceChildren(
      iconButton("find", say("find"), () => this.#finder.toggle()),
      ...(isTopic ? [watchLink(conversation.name),
        iconButton("invite", say("invite"), () => this.#do.invite(conversation)),
        iconButton("leave", say("leave"), () => this.#do.leave(conversation))] : []),
      ...(conversation.kind === "inbox" ? [iconButton("write", say("write"), () => this.#do.write())] : []));
  }

  // What stands around the list: how to begin, and what is below.
  #around() {
    const { conversation } = this;
    const isEmpty = conversation.log.entries.length === 0 && conversation.isWhole;
    this.#empty.hidden = !isEmpty;
    this.#port.tabIndex = isEmpty ? -1 : 0;
    this.#port.setAttribute("role", isEmpty ? "group" : "feed"); // a feed is never empty
    if (isEmpty) this.#empty.replaceChildren(...beginning(conversation, this.#store.me));
    this.#below.hidden = isEmpty || this.#list.follows;
    const unread = this.#store.unread(conversation);
    this.#below.replaceChildren(icon("down"), unread ? say("newBelow", { n: unread }) : say("toNewest"));
  }

  #drawing() {
    return {
      me: this.#store.me,
      person: this.conversation.kind === "person" ? this.conversation.name : null,
      unfoldedOf: (entry) => unfolded(this.#unfolded, entry.key),
      isFound: (entry) => this.#finder.isAt(entry),
      retry: (entry) => this.#do.retry(this.conversation, entry),
      reply: () => this.#do.reply(),
    };
  }

  // Rows that the reader has passed on the way down count as shown, those of a hidden page never.
  #inView(first, last) {
    this.#below.hidden = this.#list.follows;
    if (document.hidden || this.conversation === undefined) return;
    const { rows } = this.#list;
    const before = this.#seen === null ? -1 : rows.findIndex((row) => row.entry?.key === this.#seen);
    const entries = rows.slice(before >= 0 && before < first ? before + 1 : first, last + 1).flatMap((row) => row.entry ?? []);
    this.#seen = entries.at(-1)?.key ?? this.#seen;
    if (entries.some(isUnseen)) this.#do.shown(entries);
  }

  #reveal(entry) {
    this.#seen = null; // a jump passes over nothing
    const at = this.#list.rows.findIndex((row) => row.entry === entry);
    if (at < 0) return;
    this.#list.redraw(this.#list.rows[at].key);
    this.#list.reveal(at);
  }

  #redraw(entry) {
    const row = this.#list.rows.find((each) => each.entry === entry);
    if (row) this.#list.redraw(row.key);
  }
}

function watchLink(topic) {
  const label = say("watch");
  const href = `watch/${encodeURIComponent(topic)}`;
  return el("a", { className: "icon-button", href, title: label, "aria-label": label }, icon("watch"));
}

const isUnseen = (entry) => entry.live === true && !entry.shown;

function unfolded(all, key) {
  if (!all.has(key)) all.set(key, new Set());
  return all.get(key);
}

function beginning(conversation, me) {
  const kind = { inbox: "Inbox", person: "Person" }[conversation.kind] ?? "Topic";
  return [
    el("p", { className: "what", textContent: say(`empty${kind}`, { name: readable(conversation.name) }) }),
    el("p", { textContent: say(`empty${kind}Do`, { user: readable(me) }) }),
  ];
}
