// Recado in a browser: one user's connection, kept up until it is closed. docs/recado-js.md tells how to use it.

import { ask, newKey } from "./recado-api.js";
import { Calls, Positions, RecadoError, afterClose, allTopics, delay, gapOf, isForLater, messageOf, read } from "./recado-rules.js";

export { RecadoError, ask, newKey };

const SILENCE = 75_000; // milliseconds without a frame; heartbeats come every 30 s
const RETRY = 1_000; // milliseconds before a request that the server could not serve is sent again
const HERE = new URL("../", import.meta.url).href;

/**
 * Connect, and stay connected.
 *
 * @param {object} options
 * @param {string | ((about: {refused: boolean}) => string | null | Promise<string | null>)} options.token
 *   A token, or what gives one: asked first, and again (`refused`) when the server does not take the last one any more.
 *   It gives null where there is none.
 * @param {string} [options.api] Where the API is; without it, where this module came from.
 * @param {string} [options.ws] Where the WebSocket is; without it, the API is asked.
 * @param {string} [options.device] Has a position of its own in each topic.
 * @param {"auto" | "explicit"} [options.ack] auto: what `onmessage` returned from is acknowledged; explicit: only `ack` does.
 * @param {(message: import("./recado-rules.js").Message) => void} [options.onmessage]
 * @param {(gap: import("./recado-rules.js").Gap) => void} [options.ongap]
 * @param {(invited: {topic: string, by: string}) => void} [options.oninvited]
 * @param {(removed: {topic: string}) => void} [options.onremoved]
 * @param {(state: import("./recado-rules.js").State) => void} [options.onstate] Called with every change.
 * @returns {Recado}
 */
export function connect(options) {
  return new Recado(options);
}

class Recado {
  #options;
  #api;
  #ws;
  #token = null;
  #isRenewed = false; // since the last connection
  #calls = new Calls();
  #epochs = new Map(); // of the topics, on this connection
  #positions = new Positions();
  #held = new Set(); // topics in which onmessage failed: nothing is acknowledged there by itself
  #socket = null;
  #state = { name: "connecting" };
  #attempt = 0;
  #closing = null; // the frame that announces the close
  #heard = 0;
  #timers = {};

  constructor(options) {
    this.#options = options;
    this.#api = options.api ? new URL(options.api.replace(/\/?$/, "/")).href : HERE;
    this.#ws = options.ws ?? null;
    globalThis.addEventListener?.("online", this.#hurry);
    globalThis.document?.addEventListener("visibilitychange", this.#hurry);
    queueMicrotask(() => this.#dial()); // so that no listener is called before there is something to hold
  }

  get state() {
    return this.#state;
  }

  // What an application asks for. Each waits for a connection, however long; after a lost one it is sent again.

  /** Publish JSON to a topic, or to "@user"; its seq, once it is stored. The same `id` is stored once. `ttl`: seconds. */
  async publish(topic, content, { id = newKey(), ttl } = {}) {
    const frame = { action: "message", topic_name: topic, content, id, ...(ttl && { ttl }) };
    return (await this.#call(id, frame)).seq;
  }

  async subscribe(topic) {
    await this.#ask({ action: "subscribe", topic_name: topic });
  }

  async unsubscribe(topic) {
    await this.#ask({ action: "unsubscribe", topic_name: topic });
  }

  async invite(topic, username) {
    await this.#ask({ action: "invite", topic_name: topic, username });
  }

  /** Up to 100 messages before or after a seq, the newest with neither; ascending, and whether there are more. */
  async history(topic, { before, after, limit = 50 } = {}) {
    const page = await this.#ask({ action: "history", topic_name: topic, before, after, limit });
    return { messages: page.messages.map((each) => messageOf(topic, each, page.epoch)), more: page.more };
  }

  /** What the user belongs to, by name: {topic, kind, role, lastSeq, cursor, pending, epoch}. */
  async topics() {
    return allTopics((after) => this.#ask({ action: "topics", after }));
  }

  /** Acknowledge a message or a gap, and all before it in its topic. Sent at once, or with the next connection. */
  ack(entry) {
    if (this.#positions.ack(entry)) this.#flushSoon();
  }

  /** Ask the API as this user. */
  async ask(method, path, body) {
    return ask(this.#api, method, path, { token: this.#token ?? (await this.#renew(false)), body });
  }

  /** Send the last acknowledgements and end; requests that wait are rejected. */
  close() {
    this.#end(new RecadoError("closed", "The connection was closed by this page."));
  }

  // The connection

  async #dial() {
    this.#tell({ name: "connecting" });
    const socket = {}; // holds the place: what comes late, for another one, is of no matter
    this.#socket = socket;
    try {
      const address = await this.#address();
      if (this.#socket === socket) this.#open(new WebSocket(address));
    } catch (error) {
      if (this.#socket === socket) this.#left(error.next ?? "stop", error);
    }
  }

  async #address() {
    this.#ws ??= (await ask(this.#api, "GET", "api/v1/about")).ws_url;
    this.#token ??= await this.#renew(false);
    const { ticket } = await ask(this.#api, "POST", "api/v1/tickets", { token: this.#token, body: {} });
    const { device } = this.#options;
    const query = new URLSearchParams({ ack: "explicit", heartbeat: "1", epoch: "1", ...(device && { device }) });
    return `${this.#ws}/${ticket}?${query}`;
  }

  async #renew(refused) {
    const { token } = this.#options;
    const given = typeof token === "function" ? await token({ refused }) : token;
    if (!given || (refused && given === this.#token)) throw new RecadoError("token_refused", "The token is no longer accepted. Ask for a new one.");
    return given;
  }

  #open(socket) {
    this.#socket = socket;
    this.#closing = null;
    this.#heard = Date.now();
    this.#positions.reconnected();
    this.#timers.watch = setInterval(() => this.#watch(socket), 5_000);
    socket.onmessage = (event) => this.#socket === socket && this.#take(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event.code, event.reason);
  }

  #watch(socket) {
    if (Date.now() - this.#heard < SILENCE) return;
    socket.close();
    this.#closed(1006, "nothing was heard for too long");
  }

  #closed(code, reason) {
    const told = this.#closing ?? { code, reason };
    const next = afterClose(told.code);
    if (next === "shrink") this.#calls.refuseLargest();
    this.#left(next, new RecadoError(told.code, told.reason), (this.#closing?.retry_after ?? 0) * 1000);
  }

  // `next`: what the rules say. Only for a new token is there no pause, and only for the first one.
  #left(next, error, atLeast = 0) {
    clearInterval(this.#timers.watch);
    this.#socket = null;
    if (this.#state.name !== "online" && !this.#options.ws) this.#ws = null; // it may have moved
    if (next === "stop") return this.#end(error);
    if (next === "renew" && !this.#isRenewed) return this.#renewAndDial();
    const retryIn = atLeast + delay(this.#attempt++, Math.random());
    this.#tell({ name: "waiting", retryIn, code: error.code, reason: error.message });
    this.#timers.dial = setTimeout(() => this.#dial(), retryIn);
  }

  async #renewAndDial() {
    this.#isRenewed = true;
    try {
      this.#token = await this.#renew(true);
      if (this.#state.name !== "ended") this.#dial();
    } catch (error) {
      this.#left(error.next ?? "stop", error);
    }
  }

  /** End the pause before the next attempt, if there is one. */
  retry() {
    if (this.#state.name !== "waiting") return;
    clearTimeout(this.#timers.dial);
    this.#dial();
  }

  // The network or the page is back.
  #hurry = () => {
    if (!globalThis.document?.hidden) this.retry();
  };

  // What comes in

  #take(text) {
    this.#heard = Date.now();
    const got = read(text);
    if (got === null) return;
    if (got.key === null) this.#pushed(got.frame);
    else if (this.#calls.has(got.key)) this.#answered(got); // else it was asked twice, and has been answered
  }

  #answered({ key, frame, error }) {
    if (error === null) this.#calls.answer(key, frame);
    else if (isForLater(error)) setTimeout(() => this.#send(this.#calls.textOf(key)), RETRY);
    else this.#calls.refuse(key, error);
  }

  #pushed(frame) {
    switch (frame.action) {
      case "connected": return this.#connected(frame);
      case "topic": this.#epochs.set(frame.topic_name, frame.epoch); return undefined;
      case "message": return this.#deliver(messageOf(frame.topic_name, frame, this.#epochs.get(frame.topic_name)), "onmessage");
      case "gap": return this.#deliver(gapOf(frame, this.#epochs.get(frame.topic_name)), "ongap");
      case "invited": return this.#options.oninvited?.({ topic: frame.topic_name, by: frame.user_source });
      case "removed": return this.#removed(frame.topic_name);
      case "closing": this.#closing = frame; return undefined;
      default: return undefined; // heartbeats, and what later servers say beside
    }
  }

  #connected({ username, pending }) {
    this.#attempt = 0;
    this.#isRenewed = false;
    this.#tell({ name: "online", username, pending });
    for (const text of this.#calls.texts) this.#send(text);
    this.#flush();
  }

  #deliver(entry, listener) {
    const fresh = this.#positions.receive(entry);
    if (fresh === null) return this.#flushSoon(); // it came again: perhaps its acknowledgement was lost
    try {
      this.#options[listener]?.(fresh);
    } catch (error) {
      this.#held.add(entry.topic);
      globalThis.reportError?.(error);
    }
    if (this.#options.ack !== "explicit" && !this.#held.has(entry.topic)) this.ack(fresh);
  }

  #removed(topic) {
    this.#positions.forget(topic);
    this.#options.onremoved?.({ topic });
  }

  // What goes out

  #ask(frame) {
    const ref = newKey();
    return this.#call(ref, { ...frame, ref });
  }

  async #call(key, frame) {
    if (this.#state.name === "ended") throw new RecadoError("closed", "There is no connection any more.");
    const text = JSON.stringify(frame);
    const reply = this.#calls.make(key, text);
    this.#send(text);
    return reply;
  }

  #send(text) {
    if (text !== undefined && this.#state.name === "online") this.#socket?.send(text);
  }

  #flushSoon() {
    this.#timers.flush ??= setTimeout(() => this.#flush(), 50);
  }

  #flush() {
    clearTimeout(this.#timers.flush);
    this.#timers.flush = undefined;
    if (this.#state.name !== "online") return;
    for (const { topic, ...rest } of this.#positions.takeAcks()) this.#send(JSON.stringify({ action: "ack", topic_name: topic, ...rest }));
  }

  // The end

  #end(error) {
    if (this.#state.name === "ended") return;
    this.#flush();
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    globalThis.removeEventListener?.("online", this.#hurry);
    globalThis.document?.removeEventListener("visibilitychange", this.#hurry);
    this.#calls.refuseAll(error);
    this.#tell({ name: "ended", code: error.code, reason: error.message });
    const socket = this.#socket;
    this.#socket = null;
    socket?.close?.();
  }

  #tell(state) {
    this.#state = state;
    this.#options.onstate?.(state);
  }
}
