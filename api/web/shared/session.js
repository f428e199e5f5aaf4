// Who is logged in, in this tab or in this browser. The token never stands in an address.

import { RecadoError, ask } from "../recado.js";

const KEY = "recado.session";
const DEVICE = "recado.device";
const SHARED = "page";
export const API = new URL("../../", import.meta.url).href;

export const about = () => ask(API, "GET", "api/v1/about");

/**
 * @typedef {{user: string | null, token: string, isOpen: boolean, stays: boolean}} Session `isOpen`: a name is enough for
 *   another token; `stays`: in this browser, not only in this tab.
 */

/** @returns {Session | null} Of this tab, else of this browser; null where nobody is logged in. */
export function restore() {
  for (const storage of [sessionStorage, localStorage]) {
    const text = storage.getItem(KEY);
    if (text !== null) return JSON.parse(text);
  }
  return null;
}

/** @param {Session} session */
export function keep(session) {
  clear();
  (session.stays ? localStorage : sessionStorage).setItem(KEY, JSON.stringify(session));
}

export function clear() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

/** @returns {Promise<Session>} In open mode: a token for a name. */
export async function byName(user, stays) {
  const { token } = await ask(API, "POST", "api/v1/tokens", { body: { user } });
  return { user: nameIn(token), token, isOpen: true, stays };
}

/** @returns {Promise<Session>} By a token that somebody gave; throws where the server does not take it. */
export async function byToken(token, stays) {
  await ask(API, "POST", "api/v1/tickets", { token, body: {} });
  return { user: nameIn(token), token, isOpen: false, stays };
}

/** @returns {Promise<Session>} By the ticket of a login link, which works once. */
export async function byTicket(ticket) {
  const { user, token } = await ask(API, "POST", "api/v1/login", { body: { ticket } });
  return { user, token, isOpen: false, stays: true };
}

/** The ticket of a login link; it leaves the address at once. */
export function takeTicket() {
  const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
  if (ticket !== null) history.replaceState(null, "", location.pathname);
  return ticket;
}

/**
 * Tokens for a connection: the one at hand; once that is refused, in open mode another one.
 *
 * @param {Session} session
 * @returns {(about: {refused: boolean}) => Promise<string | null>}
 */
export function tokenSource(session) {
  return async ({ refused }) => {
    if (refused && !session.isOpen) return null;
    if (refused) {
      session.token = (await byName(session.user, session.stays)).token;
      keep(session);
    }
    return session.token;
  };
}

/**
 * The device whose positions a session moves. A browser that stays logged in has one of its own. All others share one: a
 * device keeps the server from forgetting what it has not seen, so none is made where nobody may ever come back to it.
 */
export function device({ stays }) {
  if (!stays) return SHARED;
  let name = localStorage.getItem(DEVICE);
  if (name === null) {
    name = `page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    localStorage.setItem(DEVICE, name);
  }
  return name;
}

/** Why a login failed, as a name of a text; null where the server's own words are better. */
export function reasonOf(error) {
  if (!(error instanceof RecadoError)) return null;
  if (error.code === "unreachable") return "unreachable";
  return error.code === "unauthorized" ? "tokenRefused" : null;
}

// What a token says of itself; the server says it again when it lets one in.
function nameIn(token) {
  try {
    const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const { sub, username } = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (each) => each.charCodeAt(0))));
    return sub ?? username ?? null;
  } catch {
    return null;
  }
}
