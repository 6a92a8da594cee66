/** Single orders: at each price the queue as blocks, oldest first, as wide as what is left of each order. */

import { byId, make, setText } from "./dom.js";
import { durationText, momentText } from "./format.js";
import { priceText, quantityText } from "./digits.js";
import { get, isAborted } from "./rest.js";

/** @typedef {{id: string, quantity: string, is_seen: boolean, age_ms: number|null}} Order */
/** @typedef {{price: string, quantity: string, orders_count: number, is_complete: boolean, orders: Order[]}} Level */

export class Queues {
  constructor() {
    this.panel = byId("queues");
    this.sides = [byId("queue-bids"), byId("queue-asks")];
    this.place = { venue: "", symbol: "" };
    this.asked = new AbortController();
    /** @type {any} */
    this.shown = null;
    this.drawn = false;
    this.panel.addEventListener("click", (/** @type {Event} */ event) => {
      const block = /** @type {HTMLElement} */ (event.target).closest("button");
      if (block?.dataset.order) this.#ask(block.dataset.order);
    });
  }

  /** Another symbol: whether its orders are followed is not known yet. @param {string} venue @param {string} symbol */
  choose(venue, symbol) {
    this.place = { venue, symbol };
    this.panel.hidden = true;
    this.#forget();
    this.shown = null;
  }

  /** @param {any} message of the channel `orders` */
  take(message) {
    if (message.type === "subscribed") return;
    this.panel.hidden = message.type === "error";
    this.shown = message.type === "snapshot" ? message : null;
    if (message.type === "withheld") this.#withhold(message.state, message.reason);
    else this.#draw();
  }

  /** No number is live without the line to the API. @param {string} reason */
  lost(reason) {
    this.#withhold("no connection", reason);
  }

  /** @param {string} state @param {string} reason */
  #withhold(state, reason) {
    this.shown = null;
    this.#forget();
    setText(byId("queues-note"), `withheld: ${state}${reason ? `, ${reason}` : ""}`);
    for (const side of this.sides) side.replaceChildren();
  }

  #forget() {
    this.asked.abort();
    setText(byId("queue-order"), "");
  }

  #draw() {
    if (this.drawn) return;
    this.drawn = true;
    requestAnimationFrame(() => {
      this.drawn = false;
      if (this.shown === null) return;
      const { bids, asks, orders_count: count, is_whole: isWhole } = this.shown;
      setText(byId("queues-note"), `${count} orders${isWhole ? "" : ", and others that nobody told"}`);
      const most = Math.max(...[...bids, ...asks].map((level) => Number(level.quantity)), Number.MIN_VALUE);
      fill(this.sides[0], bids, most);
      fill(this.sides[1], asks, most);
    });
  }

  /** The life of an order. @param {string} id */
  async #ask(id) {
    this.asked.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    const output = byId("queue-order");
    setText(output, `${id}: asking …`);
    try {
      const found = await get(`/orders/${encodeURIComponent(id)}`, this.place, signal);
      if (!signal.aborted) setText(output, lifeText(found));
    } catch (error) {
      if (!isAborted(error) && !signal.aborted) setText(output, /** @type {Error} */ (error).message);
    }
  }
}

/** @param {any} found an answer of `/orders/{id}` */
function lifeText({ side, price, order, orders_ahead: before, quantity_ahead: ahead, is_exact: isExact }) {
  const since = order.placed_us === null ? "since nobody knows when" : `since ${momentText(order.placed_us / 1000)} UTC (${durationText(order.age_ms)})`;
  const least = isExact ? "" : "at least ";
  const seen = order.is_seen ? "its creation was seen" : "from a seed";
  return `${order.id}: ${side} at ${priceText(price)}, ${quantityText(order.quantity)} left, ${least}${before} orders with ${ahead} ahead, ${since}, ${seen}`;
}

/**
 * Rows and blocks stay where they are while they change, so that a click meets the one it was meant for.
 * @param {HTMLElement} list @param {Level[]} levels @param {number} most the quantity of a full row
 */
function fill(list, levels, most) {
  fit(list, levels.length, () => make("li", {}, make("span"), make("span", { class: "queue" }), make("span")));
  levels.forEach((level, index) => {
    const [price, queue, sum] = /** @type {HTMLElement[]} */ ([...list.children[index].children]);
    setText(price, priceText(level.price));
    setText(sum, `${level.is_complete ? "" : "≥ "}${quantityText(level.quantity)}`);
    queue.style.setProperty("--size", `${((100 * Number(level.quantity)) / most).toFixed(1)}%`);
    const more = level.orders_count - level.orders.length;
    fit(queue, level.orders.length + (more > 0 ? 1 : 0), () => make("button", { type: "button" }));
    let rest = Number(level.quantity);
    level.orders.forEach((order, at) => {
      rest -= Number(order.quantity);
      block(queue.children[at], order.id, Number(order.quantity), "", `${order.id}: ${order.quantity}${order.is_seen ? "" : ", from a seed"}`);
    });
    if (more > 0) block(queue.children[level.orders.length], "", rest, `+${more}`, `${more} orders behind them`);
  });
}

/** @param {Element} element @param {string} id empty: of several @param {number} quantity @param {string} text @param {string} title */
function block(element, id, quantity, text, title) {
  const button = /** @type {HTMLButtonElement} */ (element);
  button.dataset.order = id;
  button.disabled = id === "";
  button.style.setProperty("--part", String(Math.max(quantity, 0)));
  if (button.title !== title) button.title = title;
  if (button.ariaLabel !== title) button.ariaLabel = title;
  setText(button, text);
}

/** @param {HTMLElement} parent @param {number} count @param {() => HTMLElement} born */
function fit(parent, count, born) {
  while (parent.children.length > count) parent.lastElementChild?.remove();
  while (parent.children.length < count) parent.append(born());
}
