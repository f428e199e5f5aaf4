// One question to the REST API.

import { RecadoError, afterStatus } from "./recado-rules.js";

const PATIENCE = 10_000; // milliseconds that an answer may take

/** Ask the API; what it answers. Throws RecadoError with the API's code, or "unreachable". */
export async function ask(api, method, path, { token, body } = {}) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { "Content-Type": "application/json" }) };
  let answer;
  try {
    answer = await fetch(new URL(path, api), {
      method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    throw failure("unreachable", error.message, "return");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  throw failure(said.code ?? `http_${answer.status}`, said.message ?? "", afterStatus(answer.status));
}

function failure(code, message, next) {
  return Object.assign(new RecadoError(code, message), { next });
}

/** An id for a request: random, also on pages without https, where there is no randomUUID. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
