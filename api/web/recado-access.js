// Where a user's API and WebSocket are, and the token that opens both.

/** @import {Options} from "./recado-rules.js" */
import { ask } from "./recado-api.js";
import { RecadoError } from "./recado-rules.js";

const HERE = new URL("../", import.meta.url).href;

export class Access {
  #options;
  #api;
  /** @type {string | null} */
  #ws;
  /** @type {string | null} */
  #token = null;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#api = options.api ? new URL(options.api.replace(/\/?$/, "/")).href : HERE;
    this.#ws = options.ws ?? null;
  }

  /** @param {string} method @param {string} path @param {object} [body] */
  async ask(method, path, body) {
    return ask(this.#api, method, path, { token: this.#token ?? (await this.#tokenFor(false)), body });
  }

  /** The address of another connection: it has a ticket, for the token never stands in one. */
  async address() {
    this.#ws ??= (await ask(this.#api, "GET", "api/v1/about")).ws_url;
    this.#token ??= await this.#tokenFor(false);
    const { ticket } = await this.ask("POST", "api/v1/tickets", {});
    const { device } = this.#options;
    const query = new URLSearchParams({ ack: "explicit", heartbeat: "1", epoch: "1", ...(device && { device }) });
    return `${this.#ws}/${ticket}?${query}`;
  }

  /** There is no WebSocket where it was: ask again where it is. */
  lost() {
    this.#ws = this.#options.ws ?? null;
  }

  /** Have another token. */
  async renew() {
    this.#token = await this.#tokenFor(true);
  }

  /** @param {boolean} refused */
  async #tokenFor(refused) {
    const { token } = this.#options;
    const given = typeof token === "function" ? await token({ refused }) : token;
    if (!given || (refused && given === this.#token)) throw new RecadoError("token_refused", "The token is no longer accepted. Ask for a new one.");
    return given;
  }
}
