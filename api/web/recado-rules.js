// What a client needs to come back well: whether, when, and what it has had already. Pure: no clock, no I/O.

/**
 * @typedef {{topic: string, epoch: string, seq: number, content: any, sender: string, sentAt: string}} Message
 * @typedef {{topic: string, epoch: string, from: number, to: number, reason: "expired" | "seen"}} Gap
 * @typedef {{name: "connecting" | "online" | "waiting" | "ended", username?: string, pending?: number, retryIn?: number, code?: string | number, reason?: string}} State
 */

const BASE = 500; // milliseconds
const CAP = 30_000; // milliseconds
const LATER = new Set(["unavailable", "rate_limited"]);
const COME_BACK = new Set([1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015]);
const EXPIRED = 4001;
const TOO_LARGE = 1009;

/** Why a request was refused, or why there will be no connection any more. `code` is for programs. */
export class RecadoError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "RecadoError";
    this.code = code;
  }
}

/** Milliseconds before attempt 0, 1, 2 …: full jitter. `chance`, from [0, 1): which part of the bound to wait. */
export function delay(attempt, chance) {
  return chance * Math.min(CAP, BASE * 2 ** Math.min(attempt, 16));
}

/** What to do after a connection that ended with this close code: "return", "renew", "shrink" or "stop". */
export function afterClose(code) {
  if (code === EXPIRED) return "renew";
  if (code === TOO_LARGE) return "shrink";
  return COME_BACK.has(code) || (code >= 4000 && code < 4500) ? "return" : "stop";
}

/** What to do after an HTTP status that was not the wished one: "return", "renew" or "stop". */
export function afterStatus(status) {
  if (status === 401) return "renew";
  return status >= 500 || [408, 425, 429].includes(status) ? "return" : "stop";
}

/** What a text from the server is: a reply to a request, by its key, or a push. Null where it is no frame. */
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

function errorOf(frame) {
  const failed = frame.action === "error" || frame.result === "error";
  return failed ? new RecadoError(frame.code ?? "error", frame.message ?? "") : null;
}

/** Whether a request that was refused like this is asked again by itself. */
export function isForLater(error) {
  return LATER.has(error.code);
}

/** A message as applications see it. `epoch`: which log of this name its seq is of. */
export function messageOf(topic, frame, epoch) {
  return { topic, epoch, seq: frame.seq, content: frame.content, sender: frame.user_source, sentAt: frame.sent_at };
}

/** A gap as applications see it: the messages `from` … `to` were removed before this reader got them. */
export function gapOf(frame, epoch) {
  return { topic: frame.topic_name, epoch, from: frame.from, to: frame.to, reason: frame.reason };
}

/** All of a user's topics, by name; `ask` for the page behind a name gives {topics, more}. */
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
 */
export function instant(text) {
  const fraction = /\.(\d{1,6})/.exec(text)?.[1] ?? "";
  return Date.parse(text.replace(/\.\d+/, "")) * 1000 + Number(fraction.padEnd(6, "0"));
}

/** The last seq that a reader of a message or a gap has reached. */
export const lastOf = (entry) => entry.seq ?? entry.to;

/**
 * How far each topic has been received and acknowledged, across connections.
 *
 * Within a log seq only rises, so one number tells what is new, as long as the epoch of its topic is the same.
 */
export class Positions {
  #received = new Map(); // topic -> {epoch, seq}
  #acked = new Map(); // likewise
  #sent = new Map(); // likewise, on this connection
  #unsent = new Set(); // topics with an acknowledgement that the server may not have

  /** Another connection was sent nothing yet. What was acknowledged and not heard of comes again there. */
  reconnected() {
    this.#sent.clear();
  }

  /** Note an entry. What of it is new: all, the rest of a gap, or null. */
  receive(entry) {
    this.#sent.set(entry.topic, { epoch: entry.epoch, seq: lastOf(entry) });
    const known = reached(this.#received, entry);
    if (known === null) this.forget(entry.topic); // another log
    const seq = known ?? 0;
    if (lastOf(entry) <= seq) {
      if (lastOf(entry) <= (reached(this.#acked, entry) ?? 0)) this.#unsent.add(entry.topic);
      return null;
    }
    this.#received.set(entry.topic, { epoch: entry.epoch, seq: lastOf(entry) });
    return entry.seq === undefined ? { ...entry, from: Math.max(entry.from, seq + 1) } : entry;
  }

  /** Note that the application has taken an entry and all before it; whether that is news, of the log that is read now. */
  ack(entry) {
    const seq = lastOf(entry);
    if (reached(this.#received, entry) === null || seq <= (reached(this.#acked, entry) ?? 0)) return false;
    this.#acked.set(entry.topic, { epoch: entry.epoch, seq });
    this.#unsent.add(entry.topic);
    return true;
  }

  /**
   * The acknowledgements to send now: {topic, epoch, seq}; each once, until what it covers comes again. None goes beyond
   * what this connection was sent: the server refuses that.
   */
  takeAcks() {
    const acks = [...this.#unsent].map((topic) => {
      const { epoch, seq } = this.#acked.get(topic);
      return { topic, epoch, seq: Math.min(seq, reached(this.#sent, { topic, epoch }) ?? 0) };
    });
    this.#unsent.clear();
    return acks.filter(({ seq }) => seq > 0);
  }

  forget(topic) {
    this.#received.delete(topic);
    this.#acked.delete(topic);
    this.#unsent.delete(topic);
  }
}

// How far a topic has come; null where that was another log than the entry's.
function reached(seqs, { topic, epoch }) {
  const known = seqs.get(topic) ?? { epoch, seq: 0 };
  return known.epoch === epoch ? known.seq : null;
}

/** Requests that wait for their answers, in the order in which they were made. */
export class Calls {
  #waiting = new Map(); // key -> {text, resolve, reject}

  /** A promise of the reply to `text`, a frame that carries `key`. */
  make(key, text) {
    return new Promise((resolve, reject) => this.#waiting.set(key, { text, resolve, reject }));
  }

  has(key) {
    return this.#waiting.has(key);
  }

  get texts() {
    return [...this.#waiting.values()].map((call) => call.text);
  }

  textOf(key) {
    return this.#waiting.get(key)?.text;
  }

  answer(key, frame) {
    this.#settle(key, "resolve", frame);
  }

  refuse(key, error) {
    this.#settle(key, "reject", error);
  }

  /** The connection ended because a frame was too large: it was the largest, which would end the next one, too. */
  refuseLargest() {
    const [largest] = [...this.#waiting.entries()].sort(([, one], [, other]) => other.text.length - one.text.length);
    if (largest) this.refuse(largest[0], new RecadoError("too_large", "This is larger than the server takes."));
  }

  refuseAll(error) {
    for (const key of [...this.#waiting.keys()]) this.refuse(key, error);
  }

  #settle(key, how, value) {
    const call = this.#waiting.get(key);
    this.#waiting.delete(key);
    call?.[how](value);
  }
}
