// What a client decides: whether to come back, and when; what a frame is. Pure: no clock, no I/O.

/**
 * @typedef {{topic: string, epoch: string, seq: number, content: any, sender: string, sentAt: string}} Message
 * @typedef {{topic: string, epoch: string, from: number, to: number, reason: "expired" | "seen"}} Gap
 * @typedef {{topic: string, kind: "public" | "private" | "direct", role: string, lastSeq: number, cursor: number, pending: number, epoch: string}} Topic
 * @typedef {{name: "connecting" | "online" | "waiting" | "ended", username?: string, pending?: number, retryIn?: number, code?: string | number, reason?: string}} State
 * @typedef {"return" | "renew" | "shrink" | "stop"} Next What to do when a connection has ended, or was not let in.
 * @typedef {{action: string, [field: string]: any}} Frame
 */

/**
 * @typedef {object} Options
 * @property {string | ((about: {refused: boolean}) => string | null | Promise<string | null>)} token
 *   A token, or what gives one: asked first, and again (`refused`) when the server does not take the last one any more.
 *   It gives null where there is none.
 * @property {string} [api] Where the API is; without it, where this module came from.
 * @property {string} [ws] Where the WebSocket is; without it, the API is asked.
 * @property {string} [device] Has a position of its own in each topic.
 * @property {"auto" | "explicit"} [ack] auto: what `onmessage` returned from is acknowledged; explicit: only `ack` does.
 * @property {(message: Message) => void} [onmessage]
 * @property {(gap: Gap) => void} [ongap]
 * @property {(invited: {topic: string, by: string}) => void} [oninvited]
 * @property {(removed: {topic: string}) => void} [onremoved]
 * @property {(state: State) => void} [onstate] Called with every change.
 */

const BASE = 500; // milliseconds
const CAP = 30_000; // milliseconds
/** @type {Set<string | number>} */
const LATER = new Set(["unavailable", "rate_limited"]);
const COME_BACK = new Set([1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015]);
const [EXPIRED, REVOKED, TOO_LARGE] = [4001, 4501, 1009];

/** Why a request was refused, or why there will be no connection any more. `code` is for programs. */
export class RecadoError extends Error {
  /**
   * @param {string | number} code
   * @param {string} message
   * @param {Next} [next]
   */
  constructor(code, message, next) {
    super(message);
    this.name = "RecadoError";
    this.code = code;
    this.next = next;
  }
}

/**
 * Milliseconds before attempt 0, 1, 2 …: full jitter.
 *
 * @param {number} attempt
 * @param {number} chance From [0, 1): which part of the bound to wait.
 */
export function delay(attempt, chance) {
  return chance * Math.min(CAP, BASE * 2 ** Math.min(attempt, 16));
}

/**
 * What to do after a connection that ended with this close code.
 *
 * @param {number} code
 * @returns {Next}
 */
export function afterClose(code) {
  if (code === EXPIRED) return "renew";
  if (code === TOO_LARGE) return "shrink";
  return COME_BACK.has(code) || (code >= 4000 && code < 4500) ? "return" : "stop";
}

/**
 * What to do after an HTTP status that was not the wished one.
 *
 * @param {number} status
 * @returns {Next}
 */
export function afterStatus(status) {
  if (status === 401) return "renew";
  return status >= 500 || [408, 425, 429].includes(status) ? "return" : "stop";
}

/**
 * What a text from the server is: a reply to a request, by its key, or a push. Null where it is no frame.
 *
 * @param {string} text
 * @returns {{frame: Frame, key: string | null, error: RecadoError | null} | null}
 */
export function read(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof frame !== "object" || frame === null || typeof frame.action !== "string") return null;
  const key = frame.id ?? frame.ref;
  const isReply = key !== undefined && (frame.result !== undefined || ["error", "history", "topics"].includes(frame.action));
  return { frame, key: isReply ? key : null, error: errorOf(frame) };
}

/** @param {Frame} frame */
function errorOf(frame) {
  const failed = frame.action === "error" || frame.result === "error";
  return failed ? new RecadoError(frame.code ?? "error", frame.message ?? "") : null;
}

/**
 * Whether there is no connection any more for want of a token, by the code of the state "ended".
 *
 * @param {string | number} [code]
 */
export function isTokenGone(code) {
  return code === "token_refused" || code === REVOKED;
}

/**
 * Whether a request that was refused like this is asked again by itself.
 *
 * @param {RecadoError} error
 */
export function isForLater(error) {
  return LATER.has(error.code);
}

/**
 * A message as applications see it. `epoch`: which log of this name its seq is of.
 *
 * @param {string} topic
 * @param {Record<string, any>} frame
 * @param {string} epoch
 * @returns {Message}
 */
export function messageOf(topic, frame, epoch) {
  return { topic, epoch, seq: frame.seq, content: frame.content, sender: frame.user_source, sentAt: frame.sent_at };
}

/**
 * A gap as applications see it: the messages `from` … `to` were removed before this reader got them.
 *
 * @param {Frame} frame
 * @param {string} epoch
 * @returns {Gap}
 */
export function gapOf(frame, epoch) {
  return { topic: frame.topic_name, epoch, from: frame.from, to: frame.to, reason: frame.reason };
}

/**
 * All of a user's topics, by name; `ask` for the page behind a name gives {topics, more}.
 *
 * @param {(after?: string) => Promise<any>} ask
 * @returns {Promise<Topic[]>}
 */
export async function allTopics(ask) {
  const found = [];
  for (let more = true; more;) {
    const page = await ask(found.at(-1)?.topic_name);
    found.push(...page.topics);
    more = page.more && page.topics.length > 0;
  }
  return found.map(({ topic_name: topic, last_seq: lastSeq, ...rest }) => ({ topic, lastSeq, ...rest }));
}

/**
 * The instant that a time of the server's stands for, in microseconds since 1970 (exact until 2255). As texts, times do not
 * compare: one without a fraction ("…:56Z") would come after all of its second.
 *
 * @param {string} text
 */
export function instant(text) {
  const fraction = /\.(\d{1,6})/.exec(text)?.[1] ?? "";
  return Date.parse(text.replace(/\.\d+/, "")) * 1000 + Number(fraction.padEnd(6, "0"));
}

/** Requests that wait for their answers, in the order in which they were made. */
export class PendingRequests {
  #waiting = /** @type {Map<string, {text: string, resolve: (frame: Frame) => void, reject: (error: Error) => void}>} */ (new Map()); // by key

  /**
   * A promise of the reply to `text`, a frame that carries `key`.
   *
   * @param {string} key
   * @param {string} text
   * @returns {Promise<Frame>}
   */
  make(key, text) {
    return new Promise((resolve, reject) => this.#waiting.set(key, { text, resolve, reject }));
  }

  /** @param {string} key */
  has(key) {
    return this.#waiting.has(key);
  }

  get texts() {
    return [...this.#waiting.values()].map((call) => call.text);
  }

  /** @param {string} key */
  textOf(key) {
    return this.#waiting.get(key)?.text;
  }

  /** @param {string} key @param {Frame} frame */
  answer(key, frame) {
    this.#take(key)?.resolve(frame);
  }

  /** @param {string} key @param {Error} error */
  refuse(key, error) {
    this.#take(key)?.reject(error);
  }

  /** The connection ended because a frame was too large: it was the largest, which would end the next one, too. */
  refuseLargest() {
    const [largest] = [...this.#waiting.entries()].sort(([, one], [, other]) => other.text.length - one.text.length);
    if (largest) this.refuse(largest[0], new RecadoError("too_large", "This is larger than the server takes."));
  }

  /** @param {Error} error */
  refuseAll(error) {
    for (const key of [...this.#waiting.keys()]) this.refuse(key, error);
  }

  /** @param {string} key */
  #take(key) {
    const call = this.#waiting.get(key);
    this.#waiting.delete(key);
    return call;
  }
}
