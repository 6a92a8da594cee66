/** One WebSocket to the API: subscriptions that survive a reconnect, and a heartbeat that notices a dead line. */

import { tokenProtocols } from "./token.js";

const PING_MS = 5_000;
const SILENT_MS = 12_000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000;
const AGAIN_MS = 2_000;
const LATER = 503;

/**
 * @typedef {{channel: string, symbols: string[], depth?: number, mode?: string, interval?: string}} Request
 * @typedef {{request: Request, take: (message: any) => void}} Subscription
 */

export class Connection {
  /**
   * @param {string} url
   * @param {(state: "connecting"|"open"|"lost", detail: string) => void} onState
   */
  constructor(url, onState) {
    this.url = url;
    this.onState = onState;
    /** @type {Map<number, Subscription>} */
    this.subscriptions = new Map();
    this.lastId = 0;
    this.retryMs = FIRST_RETRY_MS;
    /** @type {WebSocket|null} */
    this.socket = null;
    this.heardAt = 0;
    setInterval(() => this.#beat(), PING_MS);
    this.#open();
  }

  /**
   * Ask for a channel; `take` gets its messages, also after a reconnect: first one of type `subscribed` or `error`.
   * @param {Request} request
   * @param {(message: any) => void} take
   * @returns {() => void} ends the subscription
   */
  subscribe(request, take) {
    const id = (this.lastId += 1);
    this.subscriptions.set(id, { request, take });
    this.#send({ op: "subscribe", id, ...request });
    return () => {
      if (this.subscriptions.delete(id)) this.#send({ op: "unsubscribe", id, ...request });
    };
  }

  #open() {
    this.onState("connecting", "");
    const socket = new WebSocket(this.url, tokenProtocols());
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.retryMs = FIRST_RETRY_MS;
      this.heardAt = performance.now();
      this.onState("open", "");
      for (const [id, { request }] of this.subscriptions) this.#send({ op: "subscribe", id, ...request });
    };
    socket.onmessage = (event) => {
      this.heardAt = performance.now();
      this.#take(JSON.parse(event.data));
    };
    socket.onclose = (event) => this.#closed(socket, event.reason || (opened ? "the API ended the connection" : "the API cannot be reached"));
  }

  /** @param {WebSocket} socket @param {string} reason */
  #closed(socket, reason) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.onState("lost", reason);
    setTimeout(() => this.#open(), this.retryMs * (0.75 + Math.random() / 2));
    this.retryMs = Math.min(this.retryMs * 2, LAST_RETRY_MS);
  }

  #beat() {
    const socket = this.socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    if (performance.now() - this.heardAt > SILENT_MS) {
      socket.onclose = null;
      socket.close();
      this.#closed(socket, "the API is silent");
      return;
    }
    this.#send({ op: "ping", id: 0 });
  }

  /** @param {any} message */
  #take(message) {
    if (message.id) {
      if (message.type === "error" && message.status === LATER) setTimeout(() => this.#again(message.id), AGAIN_MS);
      this.subscriptions.get(message.id)?.take(message); // subscribed, or refused
      return;
    }
    for (const { request, take } of [...this.subscriptions.values()]) { // a taker may subscribe anew
      if (request.channel !== message.channel) continue;
      if (request.interval && request.interval !== message.interval) continue;
      if (request.symbols.includes(`${message.venue}:${message.symbol}`)) take(message);
    }
  }

  /** Ask anew for what was refused for a moment, if it is wanted still. @param {number} id */
  #again(id) {
    const wanted = this.subscriptions.get(id);
    if (wanted) this.#send({ op: "subscribe", id, ...wanted.request });
  }

  /** @param {object} message */
  #send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
