import { RecadoError } from "./recado-rules.js";
/**
 * Ask the API; what it answers. Throws RecadoError with the API's code, or "unreachable".
 *
 * @param {string} api
 * @param {string} method
 * @param {string} path
 * @param {{token?: string | null, body?: object}} [options]
 * @returns {Promise<any>}
 */
export declare function ask(api: string, method: string, path: string, { token, body }?: {
    token?: string | null;
    body?: object;
}): Promise<any>;
/** @param {string | null} [token] */
export declare const authorization: (token?: string | null) => {
    Authorization: string;
} | null;
/** @param {any} error */
export declare const unreachable: (error: any) => RecadoError;
/**
 * The error that an answer of the API is.
 *
 * @param {Response} answer
 */
export declare function refusal(answer: Response): Promise<RecadoError>;
/** An id for a request: random, also on pages without https, where there is no randomUUID. */
export declare function newKey(): string;
