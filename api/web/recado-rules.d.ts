export type Message = {
    topic: string;
    epoch: string;
    seq: number;
    content: any;
    sender: string;
    sentAt: string;
};
export type Gap = {
    topic: string;
    epoch: string;
    from: number;
    to: number;
    reason: "expired" | "seen";
};
export type Topic = {
    topic: string;
    kind: "public" | "private" | "direct";
    role: string;
    lastSeq: number;
    cursor: number;
    pending: number;
    epoch: string;
};
export type State = {
    name: "connecting" | "online" | "waiting" | "ended";
    username?: string;
    pending?: number;
    retryIn?: number;
    code?: string | number;
    reason?: string;
};
export type Next = "return" | "renew" | "shrink" | "stop";
export type Frame = {
    action: string;
    [field: string]: any;
};
export type Options = {
    /**
     *   A token, or what gives one: asked first, and again (`refused`) when the server does not take the last one any more.
     *   It gives null where there is none.
     */
    token: string | ((about: {
        refused: boolean;
    }) => string | null | Promise<string | null>);
    /**
     * Where the API is; without it, where this module came from.
     */
    api?: string;
    /**
     * Where the WebSocket is; without it, the API is asked.
     */
    ws?: string;
    /**
     * Has a position of its own in each topic.
     */
    device?: string;
    /**
     * auto: what `onmessage` returned from is acknowledged; explicit: only `ack` does.
     */
    ack?: "auto" | "explicit";
    onmessage?: (message: Message) => void;
    ongap?: (gap: Gap) => void;
    oninvited?: (invited: {
        topic: string;
        by: string;
    }) => void;
    onremoved?: (removed: {
        topic: string;
    }) => void;
    /**
     * Called with every change.
     */
    onstate?: (state: State) => void;
};
/** Why a request was refused, or why there will be no connection any more. `code` is for programs. */
export declare class RecadoError extends Error {
    code: string | number;
    next: Next | undefined;
    /**
     * @param {string | number} code
     * @param {string} message
     * @param {Next} [next]
     */
    constructor(code: string | number, message: string, next?: Next);
}
/**
 * Milliseconds before attempt 0, 1, 2 …: full jitter.
 *
 * @param {number} attempt
 * @param {number} chance From [0, 1): which part of the bound to wait.
 */
export declare function delay(attempt: number, chance: number): number;
/**
 * What to do after a connection that ended with this close code.
 *
 * @param {number} code
 * @returns {Next}
 */
export declare function afterClose(code: number): Next;
/**
 * What to do after an HTTP status that was not the wished one.
 *
 * @param {number} status
 * @returns {Next}
 */
export declare function afterStatus(status: number): Next;
/**
 * What a text from the server is: a reply to a request, by its key, or a push. Null where it is no frame.
 *
 * @param {string} text
 * @returns {{frame: Frame, key: string | null, error: RecadoError | null} | null}
 */
export declare function read(text: string): {
    frame: Frame;
    key: string | null;
    error: RecadoError | null;
} | null;
/**
 * Whether there is no connection any more for want of a token, by the code of the state "ended".
 *
 * @param {string | number} [code]
 */
export declare function isTokenGone(code?: string | number): boolean;
/**
 * Whether a request that was refused like this is asked again by itself.
 *
 * @param {RecadoError} error
 */
export declare function isForLater(error: RecadoError): boolean;
/**
 * A message as applications see it. `epoch`: which log of this name its seq is of.
 *
 * @param {string} topic
 * @param {Record<string, any>} frame
 * @param {string} epoch
 * @returns {Message}
 */
export declare function messageOf(topic: string, frame: Record<string, any>, epoch: string): Message;
/**
 * A gap as applications see it: the messages `from` … `to` were removed before this reader got them.
 *
 * @param {Frame} frame
 * @param {string} epoch
 * @returns {Gap}
 */
export declare function gapOf(frame: Frame, epoch: string): Gap;
/**
 * All of a user's topics, by name; `ask` for the page behind a name gives {topics, more}.
 *
 * @param {(after?: string) => Promise<any>} ask
 * @returns {Promise<Topic[]>}
 */
export declare function allTopics(ask: (after?: string) => Promise<any>): Promise<Topic[]>;
/**
 * The instant that a time of the server's stands for, in microseconds since 1970 (exact until 2255). As texts, times do not
 * compare: one without a fraction ("…:56Z") would come after all of its second.
 *
 * @param {string} text
 */
export declare function instant(text: string): number;
/** Requests that wait for their answers, in the order in which they were made. */
export declare class PendingRequests {
    #private;
    /**
     * A promise of the reply to `text`, a frame that carries `key`.
     *
     * @param {string} key
     * @param {string} text
     * @returns {Promise<Frame>}
     */
    make(key: string, text: string): Promise<Frame>;
    /** @param {string} key */
    has(key: string): boolean;
    get texts(): string[];
    /** @param {string} key */
    textOf(key: string): string | undefined;
    /** @param {string} key @param {Frame} frame */
    answer(key: string, frame: Frame): void;
    /** @param {string} key @param {Error} error */
    refuse(key: string, error: Error): void;
    /** The connection ended because a frame was too large: it was the largest, which would end the next one, too. */
    refuseLargest(): void;
    /** @param {Error} error */
    refuseAll(error: Error): void;
}
