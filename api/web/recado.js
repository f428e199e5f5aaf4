// Recado in a browser: one user's connection, kept up until it is closed. docs/recado-js.md tells how to use it.

/** @import {Frame, Gap, Message, Next, Options, State} from "./recado-rules.js" */
import { Access } from "./recado-access.js";
import { ask, newKey } from "./recado-api.js";
import { Positions } from "./recado-positions.js";
import { PendingRequests, RecadoError, afterClose, allTopics, delay, gapOf, isForLater, messageOf, read } from "./recado-rules.js";
import { WatchedSocket } from "./recado-socket.js";

export { RecadoError, ask, newKey };

const RETRY = 1_000; // milliseconds before a request that the server could not serve is sent again

/**
 * Connect, and stay connected.
 * @param {Options} options
 */
export function connect(options) {
  return new Recado(options);
}

class Recado {
  #options;
  #access;
  #isRenewed = false; // since the last connection
  #requests = new PendingRequests();
  #epochs = /** @type {Map<string, string>} */ (new Map()); // of the topics, on this connection
  #positions = new Positions();
  #held = /** @type {Set<string>} */ (new Set()); // topics in which onmessage failed: nothing is acknowledged there by itself
  #socket = /** @type {WatchedSocket | null} */ (null);
  #state = /** @type {State} */ ({ name: "connecting" });
  #attempt = 0;
  #closing = /** @type {Frame | null} */ (null); // the frame that announces the close
  #timers = /** @type {{dial?: number, flush?: number}} */ ({});

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#access = new Access(options);
    globalThis.addEventListener?.("online", this.#hurry);
    globalThis.document?.addEventListener("visibilitychange", this.#hurry);
    queueMicrotask(() => this.#dial()); // so that no listener is called before there is something to hold
  }

  get state() {
    return this.#state;
  }

  // What an application asks for. Each waits for a connection, however long; after a lost one it is sent again.

  /**
   * Publish JSON to a topic, or to "@user"; its seq, once it is stored. The same `id` is stored once. `ttl`: seconds.
   * @param {string} topic
   * @param {any} content
   * @param {{id?: string, ttl?: number}} [options]
   * @returns {Promise<number>}
   */
  async publish(topic, content, { id = newKey(), ttl } = {}) {
    const frame = { action: "message", topic_name: topic, content, id, ...(ttl && { ttl }) };
    return (await this.#call(id, frame)).seq;
  }

  /** @param {string} topic */
  async subscribe(topic) {
    await this.#ask({ action: "subscribe", topic_name: topic });
  }

  /** @param {string} topic */
  async unsubscribe(topic) {
    await this.#ask({ action: "unsubscribe", topic_name: topic });
  }

  /** @param {string} topic @param {string} username */
  async invite(topic, username) {
    await this.#ask({ action: "invite", topic_name: topic, username });
  }

  /**
   * Up to 100 messages before or after a seq, the newest with neither; ascending, and whether there are more.
   * @param {string} topic
   * @param {{before?: number, after?: number, limit?: number}} [options]
   * @returns {Promise<{messages: Message[], more: boolean}>}
   */
  async history(topic, { before, after, limit = 50 } = {}) {
    const page = await this.#ask({ action: "history", topic_name: topic, before, after, limit });
    return { messages: page.messages.map((/** @type {Frame} */ each) => messageOf(topic, each, page.epoch)), more: page.more };
  }

  /** What the user belongs to, by name. */
  async topics() {
    return allTopics((after) => this.#ask({ action: "topics", after }));
  }

  /**
   * Acknowledge a message or a gap, and all before it in its topic. Sent at once, or with the next connection.
   * @param {Message | Gap} entry
   */
  ack(entry) {
    if (this.#positions.ack(entry)) this.#flushSoon();
  }

  /**
   * Ask the API as this user.
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async ask(method, path, body) {
    return this.#access.ask(method, path, body);
  }

  /** Send the last acknowledgements and end; requests that wait are rejected. */
  close() {
    this.#end(new RecadoError("closed", "The connection was closed by this page."));
  }

  // The connection

  async #dial() {
    this.#tell({ name: "connecting" });
    try {
      const address = await this.#access.address();
      if (this.#state.name !== "ended") this.#open(address);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {string} address */
  #open(address) {
    this.#closing = null;
    this.#positions.reconnected();
    this.#socket = new WatchedSocket(address, (text) => this.#take(text), (code, reason) => this.#closed(code, reason));
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    const told = this.#closing ?? { code, reason };
    const next = afterClose(told.code);
    if (next === "shrink") this.#requests.refuseLargest();
    this.#left(next, new RecadoError(told.code, told.reason), (this.#closing?.retry_after ?? 0) * 1000);
  }

  /** @param {any} error What stood in the way of a connection. */
  #failed(error) {
    this.#left(error.next ?? "stop", error);
  }

  // Only for a new token is there no pause, and only for the first one.
  /** @param {Next} next @param {RecadoError} error */
  #left(next, error, atLeast = 0) {
    if (this.#state.name === "ended") return undefined;
    this.#socket = null;
    if (this.#state.name !== "online") this.#access.lost();
    if (next === "stop") return this.#end(error);
    if (next === "renew" && !this.#isRenewed) return this.#renewAndDial();
    const retryIn = atLeast + delay(this.#attempt++, Math.random());
    this.#tell({ name: "waiting", retryIn, code: error.code, reason: error.message });
    this.#timers.dial = setTimeout(() => this.#dial(), retryIn);
  }

  async #renewAndDial() {
    this.#isRenewed = true;
    try {
      await this.#access.renew();
      if (this.#state.name !== "ended") this.#dial();
    } catch (error) {
      this.#failed(error);
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

  /** @param {string} text */
  #take(text) {
    const got = read(text);
    if (got === null) return;
    const { key, frame, error } = got;
    if (key === null) this.#pushed(frame);
    else if (this.#requests.has(key)) this.#answered(key, frame, error); // else it was asked twice, and has been answered
  }

  /** @param {string} key @param {Frame} frame @param {RecadoError | null} error */
  #answered(key, frame, error) {
    if (error === null) this.#requests.answer(key, frame);
    else if (isForLater(error)) setTimeout(() => this.#send(this.#requests.textOf(key)), RETRY);
    else this.#requests.refuse(key, error);
  }

  /** @param {Frame} frame */
  #pushed(frame) {
    const epoch = /** @type {string} */ (this.#epochs.get(frame.topic_name));
    switch (frame.action) {
      case "connected": return this.#connected(frame);
      case "topic": this.#epochs.set(frame.topic_name, frame.epoch); return undefined;
      case "message": return this.#deliver(messageOf(frame.topic_name, frame, epoch), this.#options.onmessage);
      case "gap": return this.#deliver(gapOf(frame, epoch), this.#options.ongap);
      case "invited": return this.#options.oninvited?.({ topic: frame.topic_name, by: frame.user_source });
      case "removed": return this.#removed(frame.topic_name);
      case "closing": this.#closing = frame; return undefined;
      default: return undefined; // heartbeats, and what later servers say beside
    }
  }

  /** @param {Frame} frame */
  #connected({ username, pending }) {
    this.#attempt = 0;
    this.#isRenewed = false;
    this.#tell({ name: "online", username, pending });
    for (const text of this.#requests.texts) this.#send(text);
    this.#flush();
  }

  /** @template {Message | Gap} T @param {T} entry @param {((entry: T) => void) | undefined} listener */
  #deliver(entry, listener) {
    const fresh = this.#positions.receive(entry);
    if (fresh === null) return this.#flushSoon(); // it came again: perhaps its acknowledgement was lost
    try {
      listener?.call(this.#options, fresh);
    } catch (error) {
      this.#held.add(entry.topic);
      globalThis.reportError?.(error);
    }
    if (this.#options.ack !== "explicit" && !this.#held.has(entry.topic)) this.ack(fresh);
  }

  /** @param {string} topic */
  #removed(topic) {
    this.#positions.forget(topic);
    this.#options.onremoved?.({ topic });
  }

  // What goes out

  /** @param {Frame} frame */
  #ask(frame) {
    const ref = newKey();
    return this.#call(ref, { ...frame, ref });
  }

  /** @param {string} key @param {Frame} frame */
  async #call(key, frame) {
    if (this.#state.name === "ended") throw new RecadoError("closed", "There is no connection any more.");
    const text = JSON.stringify(frame);
    const reply = this.#requests.make(key, text);
    this.#send(text);
    return reply;
  }

  /** @param {string} [text] */
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

  /** @param {RecadoError} error */
  #end(error) {
    if (this.#state.name === "ended") return;
    this.#flush();
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    globalThis.removeEventListener?.("online", this.#hurry);
    globalThis.document?.removeEventListener("visibilitychange", this.#hurry);
    this.#requests.refuseAll(error);
    this.#tell({ name: "ended", code: error.code, reason: error.message });
    this.#socket?.close();
  }

  /** @param {State} state */
  #tell(state) {
    this.#state = state;
    this.#options.onstate?.(state);
  }
}
