// One question to the REST API.

import { RecadoError, afterStatus } from "./recado-rules.js";

const PATIENCE = 10_000; // milliseconds that an answer may take

/**
 * Ask the API; what it answers. Throws RecadoError with the API's code, or "unreachable".
 *
 * @param {string} api
 * @param {string} method
 * @param {string} path
 * @param {{token?: string | null, body?: object}} [options]
 * @returns {Promise<any>}
 */
export async function ask(api, method, path, { token, body } = {}) {
  const headers = { ...authorization(token), ...(body && { "Content-Type": "application/json" }) };
  let answer;
  try {
    answer = await fetch(new URL(path, api), {
      method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE),
    });
  } catch (error) {
    throw unreachable(error);
  }
  if (answer.ok) return answer.json().catch(() => ({}));
  throw await refusal(answer);
}

/** @param {string | null} [token] */
export const authorization = (token) => (token ? { Authorization: `Bearer ${token}` } : null);

/** @param {any} error */
export const unreachable = (error) => new RecadoError("unreachable", error.message, "return");

/**
 * The error that an answer of the API is.
 *
 * @param {Response} answer
 */
export async function refusal(answer) {
  const { code, message } = await answer.json().catch(() => ({}));
  return new RecadoError(code ?? `http_${answer.status}`, message ?? "", afterStatus(answer.status));
}

/** An id for a request: random, also on pages without https, where there is no randomUUID. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
