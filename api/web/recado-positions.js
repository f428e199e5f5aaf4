// How far a client has come, so that nothing comes twice, and nothing is acknowledged that it was not sent. Pure.

/** @import {Gap, Message} from "./recado-rules.js" */
/** @typedef {Map<string, {epoch: string, seq: number}>} Reached By topic. */

/**
 * How far each topic has been received and acknowledged, across connections.
 *
 * Within a log seq only rises, so one number tells what is new, as long as the epoch of its topic is the same.
 */
export class Positions {
  #received = /** @type {Reached} */ (new Map());
  #acked = /** @type {Reached} */ (new Map());
  #sent = /** @type {Reached} */ (new Map()); // on this connection
  #unsent = /** @type {Set<string>} */ (new Set()); // topics with an acknowledgement that the server may not have

  /** Another connection was sent nothing yet. What was acknowledged and not heard of comes again there. */
  reconnected() {
    this.#sent.clear();
  }

  /**
   * Note an entry. What of it is new: all, the rest of a gap, or null.
   *
   * @template {Message | Gap} T
   * @param {T} entry
   * @returns {T | null}
   */
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
    return "from" in entry ? { ...entry, from: Math.max(entry.from, seq + 1) } : entry;
  }

  /**
   * Note that the application has taken an entry and all before it; whether that is news, of the log that is read now.
   *
   * @param {Message | Gap} entry
   */
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
   *
   * @returns {{topic: string, epoch: string, seq: number}[]}
   */
  takeAcks() {
    const acks = [...this.#unsent].map((topic) => {
      const { epoch, seq } = /** @type {{epoch: string, seq: number}} */ (this.#acked.get(topic));
      return { topic, epoch, seq: Math.min(seq, reached(this.#sent, { topic, epoch }) ?? 0) };
    });
    this.#unsent.clear();
    return acks.filter(({ seq }) => seq > 0);
  }

  /** @param {string} topic */
  forget(topic) {
    this.#received.delete(topic);
    this.#acked.delete(topic);
    this.#unsent.delete(topic);
  }
}

/**
 * How far a topic has come; null where that was another log than the entry's.
 *
 * @param {Reached} seqs
 * @param {{topic: string, epoch: string}} entry
 */
function reached(seqs, { topic, epoch }) {
  const known = seqs.get(topic) ?? { epoch, seq: 0 };
  return known.epoch === epoch ? known.seq : null;
}

/**
 * The last seq that a reader of a message or a gap has reached.
 *
 * @param {{seq?: number, to?: number}} entry
 */
export const lastOf = (entry) => /** @type {number} */ (entry.seq ?? entry.to);
