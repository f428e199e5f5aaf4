// Server-Sent Events by fetch, which unlike EventSource can show a token without putting it into the address.

import { authorization, refusal, unreachable } from "../recado-api.js";
import { RecadoError } from "../recado-rules.js";

const SILENCE = 45_000; // milliseconds; the server says every 15 s that it is still there

/** From pieces of text to events (the HTML standard, 9.2.6). Pure. */
export class EventParser {
  lastId = /** @type {string | null} */ (null);
  #rest = "";
  #name = "";
  #data = /** @type {string[]} */ ([]);

  /** The events that end in this piece: [name, data]. */
  take(piece) {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    const done = [];
    for (const line of lines) this.#line(line.replace(/\r$/, ""), done);
    return done;
  }

  #line(line, done) {
    if (line === "") return this.#dispatch(done);
    const [, field, value] = /** @type {string[]} */ (/^([^:]*):? ?(.*)$/s.exec(line)); // matches everything
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.lastId = value;
    return undefined;
  }

  #dispatch(done) {
    if (this.#data.length) done.push([this.#name, this.#data.join("\n")]);
    this.#name = "";
    this.#data = [];
  }
}

/**
 * What a stream brings: batches {id, events, clock}, where `id` is the last one given, and `clock` how many milliseconds
 * the server's clock is ahead of this one. Throws RecadoError with `next`, also when it falls silent.
 */
export async function* stream(url, token, signal) {
  const control = new AbortController();
  const end = () => control.abort();
  signal.addEventListener("abort", end);
  let timer = setTimeout(end, SILENCE);
  try {
    const answer = await opened(url, token, control.signal);
    const clock = Date.parse(answer.headers.get("Date") ?? "") - Date.now() || 0;
    for await (const batch of batches(/** @type {ReadableStream} */ (answer.body).getReader(), clock)) {
      clearTimeout(timer);
      timer = setTimeout(end, SILENCE);
      yield batch;
    }
  } catch (error) {
    throw error instanceof RecadoError ? error : unreachable(error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    control.abort();
  }
}

async function opened(url, token, signal) {
  const answer = await fetch(url, { signal, cache: "no-store", headers: authorization(token) ?? {} });
  if (answer.ok) return answer;
  throw await refusal(answer);
}

async function* batches(reader, clock) {
  const decoder = new TextDecoder();
  const events = new EventParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const found = events.take(decoder.decode(value, { stream: true }));
    yield { id: events.lastId, events: found, clock };
  }
}
