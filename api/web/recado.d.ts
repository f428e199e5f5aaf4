import type { Gap, Message, Options, State } from "./recado-rules.js";
import { ask, newKey } from "./recado-api.js";
import { RecadoError } from "./recado-rules.js";
export { RecadoError, ask, newKey };
/**
 * Connect, and stay connected.
 * @param {Options} options
 */
export declare function connect(options: Options): Recado;
declare class Recado {
    #private;
    /** @param {Options} options */
    constructor(options: Options);
    get state(): State;
    /**
     * Publish JSON to a topic, or to "@user"; its seq, once it is stored. The same `id` is stored once. `ttl`: seconds.
     * @param {string} topic
     * @param {any} content
     * @param {{id?: string, ttl?: number}} [options]
     * @returns {Promise<number>}
     */
    publish(topic: string, content: any, { id, ttl }?: {
        id?: string;
        ttl?: number;
    }): Promise<number>;
    /** @param {string} topic */
    subscribe(topic: string): Promise<void>;
    /** @param {string} topic */
    unsubscribe(topic: string): Promise<void>;
    /** @param {string} topic @param {string} username */
    invite(topic: string, username: string): Promise<void>;
    /**
     * Up to 100 messages before or after a seq, the newest with neither; ascending, and whether there are more.
     * @param {string} topic
     * @param {{before?: number, after?: number, limit?: number}} [options]
     * @returns {Promise<{messages: Message[], more: boolean}>}
     */
    history(topic: string, { before, after, limit }?: {
        before?: number;
        after?: number;
        limit?: number;
    }): Promise<{
        messages: Message[];
        more: boolean;
    }>;
    /** What the user belongs to, by name. */
    topics(): Promise<import("./recado-rules.js").Topic[]>;
    /**
     * Acknowledge a message or a gap, and all before it in its topic. Sent at once, or with the next connection.
     * @param {Message | Gap} entry
     */
    ack(entry: Message | Gap): void;
    /**
     * Ask the API as this user.
     * @param {string} method
     * @param {string} path
     * @param {object} [body]
     * @returns {Promise<any>}
     */
    ask(method: string, path: string, body?: object): Promise<any>;
    /** Send the last acknowledgements and end; requests that wait are rejected. */
    close(): void;
    /** End the pause before the next attempt, if there is one. */
    retry(): void;
}
