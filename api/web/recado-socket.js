// A WebSocket that is given up where nothing is heard for too long.

const SILENCE = 75_000; // milliseconds without a frame; heartbeats come every 30 s

export class WatchedSocket {
  #socket;
  #heard = Date.now();
  #timer;

  /**
   * @param {string} address
   * @param {(text: string) => void} onmessage
   * @param {(code: number, reason: string) => void} onclose Called once, and last; never after `close`.
   */
  constructor(address, onmessage, onclose) {
    const ended = (/** @type {{code: number, reason: string}} */ { code, reason }) => { this.close(); onclose(code, reason); };
    this.#socket = new WebSocket(address);
    this.#socket.onmessage = ({ data }) => { this.#heard = Date.now(); onmessage(data); };
    this.#socket.onclose = ended;
    this.#timer = setInterval(() => {
      if (Date.now() - this.#heard >= SILENCE) ended({ code: 1006, reason: "nothing was heard for too long" });
    }, 5_000);
  }

  /** @param {string} text */
  send(text) {
    this.#socket.send(text);
  }

  close() {
    clearInterval(this.#timer);
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}
