// What one user has: conversations, their messages in order, what was not yet shown. Pure: no page, no clock, no I/O.

import { instant } from "../recado-rules.js";

/**
 * A message or a gap. `at` and `tie` say its place. `live`: the server sent it on a connection and waits to hear that it was
 * shown; what came from the history or from this device's archive is not. `isAway`: it came while nobody was here.
 *
 * @typedef {{
 *   key: string, at: number, tie: number, topic: string, epoch?: string, seq?: number, from?: number, to?: number, sender?: string,
 *   content?: any, sentAt?: string, reason?: string, mine?: boolean, live?: boolean, shown?: boolean, isAway?: boolean, id?: string,
 *   state?: "sending" | "failed",
 * }} Entry
 */

/** Entries in order, each once. */
export class Log {
  entries = /** @type {Entry[]} */ ([]);
  #keys = /** @type {Map<string, Entry>} */ (new Map());

  /** @param {Entry} entry Put in its place; one with the same key is replaced. Whether it was not there before. */
  add(entry) {
    const old = this.#keys.get(entry.key);
    if (old) this.remove(old.key);
    this.#keys.set(entry.key, entry);
    this.entries.splice(this.#placeOf(entry), 0, entry);
    return !old;
  }

  /** @param {string} key */
  get(key) {
    return this.#keys.get(key);
  }

  /** @param {string} key */
  remove(key) {
    const entry = this.#keys.get(key);
    if (!entry) return;
    this.#keys.delete(key);
    const near = this.#placeOf(entry) - 1;
    this.entries.splice(this.entries[near] === entry ? near : this.entries.indexOf(entry), 1);
  }

  clear() {
    this.entries = [];
    this.#keys.clear();
  }

  // Behind all that are not after it.
  #placeOf(entry) {
    let [low, high] = [0, this.entries.length];
    if (high === 0 || !isAfter(this.entries[high - 1], entry)) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isAfter(this.entries[middle], entry)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function isAfter(one, other) {
  return one.at > other.at || (one.at === other.at && one.tie > other.tie);
}

/** What the server sent of one topic and has not yet heard back about, in order. */
export class Pending {
  #entries = /** @type {Entry[]} */ ([]);

  /** @param {Entry} entry */
  add(entry) {
    this.#entries.push(entry);
  }

  /** What may be acknowledged now: the last of the entries from the oldest on that all were shown; null if none. */
  take() {
    const end = this.#entries.findIndex((entry) => !entry.shown);
    const taken = this.#entries.splice(0, end < 0 ? this.#entries.length : end);
    return taken.at(-1) ?? null;
  }

  /** Which of them nobody has seen, but for one's own. */
  unread() {
    return this.#entries.filter((entry) => !entry.shown && !entry.mine && entry.sender !== undefined);
  }

  clear() {
    this.#entries = [];
  }
}

export const INBOX = "";

/** @returns {Entry} Of the log of a topic: its place is its seq. */
export function topicEntry(given, me) {
  const at = given.seq ?? given.to;
  return { ...given, key: `${at}`, at, tie: 0, mine: given.sender === me };
}

/** @returns {Entry} A direct message: its place is its time, for those sent and received are in different logs. */
export function directEntry(given) {
  const at = instant(given.sentAt);
  const key = `${inOrder(at)}#${String(given.seq ?? given.to).padStart(16, "0")}${given.mine ? ">" : ""}`;
  return { ...given, key, at, tie: given.seq ?? given.to };
}

// The archive has its keys in the order of their texts.
function inOrder(at) {
  const milliseconds = Math.floor(at / 1000);
  return `${new Date(milliseconds).toISOString().slice(0, -1)}${String(at - milliseconds * 1000).padStart(3, "0")}Z`;
}

/** A conversation: `id` is "" for the inbox, "@name" for a person, a topic's name for a topic. */
export class Conversation {
  /** @param {string} id @param {"inbox" | "person" | "public" | "private"} kind */
  constructor(id, kind) {
    this.id = id;
    this.kind = kind;
    this.log = new Log();
    this.pending = new Pending(); // of the inbox for all persons
    this.role = "member";
    this.isLoading = false; // what is earlier
    this.isWhole = kind === "inbox" || kind === "person"; // whether nothing earlier is to be had
    this.epoch = /** @type {string | undefined} */ (undefined); // which log of this name the entries are of
  }

  get name() {
    return this.kind === "person" ? this.id.slice(1) : this.id;
  }

  get last() {
    return this.log.entries.at(-1);
  }
}

/** All conversations of a user. */
export class ConversationStore {
  #count = 0; // of what is on its way

  /** @param {string} me */
  constructor(me) {
    this.me = me;
    this.inbox = new Conversation(INBOX, "inbox");
    this.people = /** @type {Map<string, Conversation>} */ (new Map()); // by name
    this.topics = /** @type {Map<string, Conversation>} */ (new Map()); // likewise
  }

  /** @param {string} id @returns {Conversation | null} */
  find(id) {
    if (id === INBOX) return this.inbox;
    return id.startsWith("@") ? this.person(id.slice(1)) : this.topics.get(id) ?? null;
  }

  /** @param {string} name */
  person(name) {
    return made(this.people, name, () => new Conversation(`@${name}`, "person"));
  }

  /** @param {string} name */
  topic(name) {
    return made(this.topics, name, () => new Conversation(name, "public"));
  }

  /** Take over what the server says of one's topics. */
  belong(topics) {
    for (const { topic, kind, role } of topics.filter((each) => each.kind !== "direct")) Object.assign(this.topic(topic), { kind, role });
    const names = new Set(topics.map((each) => each.topic));
    for (const name of [...this.topics.keys()].filter((each) => !names.has(each))) this.topics.delete(name);
  }

  /** @returns {Entry} Of a message or gap that the server sent. */
  receive(given) {
    if (given.topic === `@${this.me}`) return this.#receiveDirect(directEntry({ ...given, sentAt: given.sentAt ?? this.#lastTime(), live: true }));
    const conversation = this.topic(given.topic);
    const entry = topicEntry({ ...given, live: true }, this.me);
    follow(conversation, entry);
    conversation.log.add(entry);
    conversation.pending.add(entry);
    return entry;
  }

  #receiveDirect(entry) {
    this.#place(entry);
    this.inbox.pending.add(entry);
    return entry;
  }

  /** A direct message that this device has kept. */
  recall(kept) {
    const entry = directEntry(kept);
    if (!this.inbox.log.get(entry.key)) this.#place(entry);
  }

  #place(entry) {
    if (!entry.mine) this.inbox.log.add(entry);
    const other = entry.mine ? entry.topic.slice(1) : entry.sender;
    if (other !== undefined) this.person(other).log.add(entry);
  }

  // A gap has no time: it stands behind what is there.
  #lastTime() {
    return this.inbox.last?.sentAt ?? new Date(0).toISOString();
  }

  /** Earlier messages of a topic. */
  prepend(name, messages, more) {
    const conversation = this.topic(name);
    conversation.epoch ??= messages[0]?.epoch;
    for (const message of messages.filter((each) => each.epoch === conversation.epoch)) {
      const entry = topicEntry(message, this.me);
      if (!conversation.log.get(entry.key)) conversation.log.add(entry);
    }
    conversation.isWhole = !more;
  }

  /** @param {Conversation} conversation @returns {Entry} A message on its way: shown at the end until it is stored. */
  post(conversation, content, id) {
    const far = Number.MAX_SAFE_INTEGER;
    const entry = /** @type {Entry} */ ({ key: `!${id}`, at: far, tie: ++this.#count, sender: this.me, mine: true, topic: conversation.id, content, id, state: "sending" });
    conversation.log.add(entry);
    return entry;
  }

  /**
   * It was stored: it has its place. What is direct is returned, to be kept.
   *
   * @param {Conversation} conversation @param {Entry} entry @param {number} seq @param {string} sentAt
   */
  posted(conversation, entry, seq, sentAt) {
    conversation.log.remove(entry.key);
    const stored = { topic: entry.topic, seq, sender: this.me, mine: true, content: entry.content, sentAt };
    if (conversation.name === this.me) return null; // it comes by itself
    if (conversation.kind === "person") {
      const direct = directEntry(stored);
      this.#place(direct);
      return direct;
    }
    if (!conversation.log.get(`${seq}`)) conversation.log.add(topicEntry(stored, this.me));
    return null;
  }

  /**
   * Note that entries were shown. What to acknowledge: of each topic, the last one before which nothing is left unseen.
   *
   * @param {Entry[]} entries
   */
  show(entries) {
    const topics = new Set();
    for (const entry of entries) {
      if (!entry.live || entry.shown) continue;
      entry.shown = true;
      topics.add(entry.topic);
    }
    return [...topics].map((topic) => this.#pendingOf(topic).take()).filter((entry) => entry !== null);
  }

  #pendingOf(topic) {
    return topic === `@${this.me}` ? this.inbox.pending : this.topic(topic).pending;
  }

  /** @param {Conversation} conversation How many of its messages were not yet shown. */
  unread(conversation) {
    if (conversation.kind !== "person") return conversation.pending.unread().length;
    return this.inbox.pending.unread().filter((entry) => entry.sender === conversation.name).length;
  }

  /** How many were not yet shown at all. */
  get unreadAll() {
    return [this.inbox, ...this.topics.values()].reduce((sum, each) => sum + this.unread(each), 0);
  }
}

/** @template T @param {Map<string, T>} map @param {string} key @param {() => T} make @returns {T} */
function made(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return /** @type {T} */ (map.get(key));
}

// A topic that was made again, or a database that was restored, begins another log under the same name.
/** @param {Conversation} conversation @param {Entry} entry */
function follow(conversation, { epoch }) {
  if (conversation.epoch !== undefined && conversation.epoch !== epoch) forget(conversation);
  conversation.epoch = epoch;
}

function forget(conversation) {
  conversation.log.clear();
  conversation.pending.clear();
}
