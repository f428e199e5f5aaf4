// Reads a topic's log for a page that watches it: what comes, by a stream, and what there was, backwards.
//
// A stream moves no cursor and is no device: whoever watches confirms nothing, so that the watching holds no inbox back,
// takes no message from the reader's other devices, and begins with the newest however long it was away.

import { delay } from "../recado-rules.js";

export const PAGE = 100; // messages of one answer, the most that the API gives

/** What a failure means for somebody who watches. */
export function stateAfter({ code, next, message }) {
  if (code === "unknown_topic") return { name: "missing" };
  if (code === "not_a_member") return { name: "outside" };
  if (next === "renew" || code === "unauthorized") return { name: "login", message };
  return next === "stop" ? { name: "refused", message } : { name: "unreachable", message };
}

const LONGEST = 5_000; // milliseconds between two tries: somebody looks on
const WAITS_FOR_READER = new Set(["login", "outside", "refused"]);

/**
 * @param {object} options
 * @param {string} options.topic
 * @param {(method: string, path: string, body?: object) => Promise<object>} options.ask
 * @param {(path: string, signal: AbortSignal) => AsyncIterable<{id: string, events: [string, string][], clock: number}>} options.stream
 * @param {() => string | null} options.me Who joins a public topic that only members read.
 * @param {number} options.most How far behind the newest it may be; beyond that it skips to the newest.
 * @param {(messages: object[], isFirst: boolean, clock: number) => void} options.onmessages Ascending.
 * @param {(state: {name: string, message?: string}) => void} options.onstate
 * @param {() => void} options.onrestart The topic is another one now.
 * @param {(milliseconds: number) => Promise<void>} [options.sleep]
 */
export class Source {
  #options;
  #path;
  #last = /** @type {number | null} */ (null); // the last seq read; null: nothing read yet
  #epoch = ""; // which log it is of
  #first = 0;
  #hasOlder = false;
  #attempt = 0;
  #isAsking = false; // for older ones
  #isResting = false;
  #isEnded = false;
  #control = new AbortController();
  #wake = () => {};
  joined = false; // by this page

  constructor(options) {
    this.#options = { sleep: (time) => this.#sleep(time), ...options };
    this.#path = `api/v1/topics/${encodeURIComponent(options.topic)}`;
  }

  get hasOlder() {
    return this.#hasOlder && !this.#isAsking;
  }

  /** Read until `end`. */
  async run() {
    while (!this.#isEnded) {
      const pause = await this.#follow().catch((error) => this.#failed(error));
      if (!this.#isEnded) await this.#options.sleep(this.#isResting ? Infinity : pause);
    }
  }

  end() {
    this.#isEnded = true;
    this.#control.abort();
    this.#wake();
  }

  /** Read nothing until `hurry`: nobody looks. */
  rest() {
    this.#isResting = true;
    this.#control.abort();
  }

  /** Go on at once: somebody looks again, or has logged in. */
  hurry() {
    this.#isResting = false;
    this.#attempt = 0;
    this.#wake();
  }

  /** Up to PAGE messages before the first one that was read, ascending. */
  async older() {
    this.#isAsking = true;
    try {
      return await this.#before(this.#first);
    } finally {
      this.#isAsking = false;
    }
  }

  // One connection, to its end; milliseconds until the next one.
  async #follow() {
    this.#control = new AbortController();
    if (this.#last !== null) await this.#skip(this.#last);
    const path = `${this.#path}/stream${this.#last === null ? "" : `?after=${this.#last}&epoch=${this.#epoch}`}`;
    for await (const { id, events, clock } of this.#options.stream(path, this.#control.signal)) {
      this.#attempt = 0;
      if (this.#last === null && id !== null) await this.#begin(...id.split(":"), clock);
      this.#take(events.map(([name, data]) => [name, JSON.parse(data)]), clock);
      this.#options.onstate({ name: "live" });
    }
    return this.#pause();
  }

  // Attached first, read second: nothing can come in between.
  async #begin(epoch, seq, clock) {
    const position = Number(seq);
    const messages = await this.#before(position + 1);
    this.#epoch = epoch;
    this.#last = position;
    this.#options.onmessages(messages, true, clock);
  }

  #take(events, clock) {
    if (events.some(([name]) => name === "epoch")) throw Object.assign(new Error("another log"), { code: "conflict" });
    const messages = events.filter(([name]) => name === "message").map(([, message]) => message);
    const last = events.map(([name, data]) => (name === "message" ? data.seq : name === "gap" ? data.to : 0));
    this.#last = Math.max(this.#last ?? 0, ...last);
    if (messages.length) this.#options.onmessages(messages, false, clock);
  }

  async #before(seq) {
    const page = await this.#options.ask("GET", `${this.#path}/messages?limit=${PAGE}&before=${seq}`);
    this.#first = page.messages[0]?.seq ?? seq;
    this.#hasOlder = page.more && page.messages.length > 0;
    return page.messages;
  }

  // What could never be shown need not be read. A topic that was made again is another log under its name.
  async #skip(last) {
    const { last_seq: head, epoch } = await this.#options.ask("GET", this.#path);
    if (epoch !== this.#epoch) this.#restart();
    else if (head - last > this.#options.most) this.#last = head - this.#options.most;
  }

  #restart() {
    this.#last = null;
    this.#hasOlder = false;
    this.#options.onrestart();
  }

  #pause() {
    return Math.min(LONGEST, delay(++this.#attempt, Math.random()));
  }

  async #failed(error) {
    if (this.#control.signal.aborted) return 0; // by this page
    const state = stateAfter(error);
    if (state.name === "outside" && this.#options.me()) return this.#join();
    const isAnotherLog = error.code === "conflict";
    if ((state.name === "missing" || isAnotherLog) && this.#last !== null) this.#restart();
    if (isAnotherLog) return this.#pause();
    this.#options.onstate(state);
    return WAITS_FOR_READER.has(state.name) ? Infinity : this.#pause();
  }

  async #join() {
    try {
      await this.#options.ask("PUT", `${this.#path}/members/${encodeURIComponent(this.#options.me())}`);
      this.joined = true;
      return 0;
    } catch (error) {
      this.#options.onstate(stateAfter(error));
      return this.#pause();
    }
  }

  /** @returns {Promise<void>} */
  #sleep(time) {
    return new Promise((resolve) => {
      const timer = Number.isFinite(time) ? setTimeout(resolve, time) : undefined;
      this.#wake = () => { clearTimeout(timer); resolve(); };
    });
  }
}
