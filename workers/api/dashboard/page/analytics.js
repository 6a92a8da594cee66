/** What is inferred of the book, laid over it: figures above, and marks at the prices of walls, icebergs and flicker. */

import { byId, setText } from "./dom.js";

const FLICKER_MS = 3_000;

export class Analytics {
  /** @param {() => void} onChange the marks are others now */
  constructor(onChange) {
    this.onChange = onChange;
    this.output = byId("analytics");
    /** @type {Map<number, {kind: string, text: string}>} by price */
    this.marks = new Map();
    /** @type {any} */
    this.figures = null;
    /** When each price flickered, ms. @type {Map<number, number>} */
    this.flickered = new Map();
  }

  /** Another symbol, of which nothing is known yet. */
  choose() {
    this.output.hidden = true;
    this.#show("", null);
  }

  /** @param {string} reason the line to the API is lost */
  lost(reason) {
    this.#show(reason, null);
  }

  /** @param {any} message of the channel `analytics` */
  take(message) {
    if (message.type === "subscribed") return;
    this.output.hidden = message.type === "error";
    if (message.type === "figures") this.#figures(message);
    else if (message.type === "withheld") this.#show(`analytics: ${message.state}, ${message.reason}`, null);
    else if (message.event?.kind === "flicker") this.#flickers(message.event.price);
  }

  /** @param {any} message */
  #figures({ owner, figures }) {
    if (owner === null || figures === null) this.#show("analytics: nobody computes them", null);
    else if (figures.state !== "shown") this.#show("analytics: withheld with the book", null);
    else this.#show(`microprice ${numberText(figures.microprice)} · imbalance ${numberText(figures.depth_imbalance)}`, figures);
  }

  /** @param {number} price */
  #flickers(price) {
    this.flickered.set(price, performance.now());
    setTimeout(() => this.#mark(), FLICKER_MS + 1);
    this.#mark();
  }

  /** @param {string} text @param {any} figures null: none to be trusted */
  #show(text, figures) {
    setText(this.output, text);
    this.figures = figures;
    if (figures === null) this.flickered.clear();
    this.#mark();
  }

  #mark() {
    this.marks = new Map();
    for (const [price, at] of this.flickered) {
      if (performance.now() - at > FLICKER_MS) this.flickered.delete(price);
      else this.marks.set(price, { kind: "flicker", text: "flickers: what was added went at once" });
    }
    for (const { price, ratio, orders } of this.figures?.walls ?? []) {
      const many = orders === null ? "" : `, ${orders} ${orders === 1 ? "order" : "orders"}`;
      this.marks.set(price, { kind: "wall", text: `wall: ${numberText(ratio)} times the other levels${many}` });
    }
    for (const { price, hidden, confidence, order_id } of this.figures?.icebergs ?? []) {
      const order = order_id === null ? "" : `, order ${order_id}`;
      const text = `iceberg: about ${numberText(hidden)} hidden, confidence ${numberText(confidence)}${order}`;
      this.marks.set(price, { kind: "iceberg", text });
    }
    this.onChange();
  }
}

/** @param {number|null} value */
function numberText(value) {
  return value === null ? "–" : String(Number(value.toPrecision(8)));
}
