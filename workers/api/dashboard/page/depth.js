/** The depth chart: what could be bought or sold down to each price. Beyond the known range it says so. */

import { Surface, roundStep, stroke, tag, ticks } from "./canvas.js";
import { byId, choices } from "./dom.js";
import { shortText } from "./format.js";

const AXIS = 18;
const RANGES = /** @type {[string, string][]} */ ([["0.0005", "0.05%"], ["0.002", "0.2%"], ["0.01", "1%"], ["0.05", "5%"]]);

/** @typedef {{price: number, total: number}} Step */

export class DepthChart {
  constructor() {
    const container = byId("depth-chart");
    this.container = container;
    this.readout = byId("depth-readout");
    /** @type {{bids: Step[], asks: Step[], mid: number, low: number, high: number}|null} */
    this.held = null;
    this.said = "";
    this.range = 0.002;
    this.cursor = NaN;
    this.surface = new Surface(container, (...all) => this.#draw(...all));
    const choose = choices(byId("ranges"), "range", RANGES, (value) => {
      this.range = Number(value);
      this.surface.redraw();
    });
    choose(String(this.range));
    container.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      this.cursor = event.offsetX;
      this.surface.redraw();
    });
    container.addEventListener("pointerleave", () => {
      this.cursor = NaN;
      this.surface.redraw();
    });
  }

  /** @param {import("./book.js").Levels} levels */
  show(levels) {
    const bids = steps(levels.bids);
    const asks = steps(levels.asks);
    if (bids.length === 0 || asks.length === 0) {
      this.withhold("a side of the book is empty");
      return;
    }
    const mid = (bids[0].price + asks[0].price) / 2;
    this.held = { bids, asks, mid, low: levels.low, high: levels.high };
    this.#describe();
    this.surface.redraw();
  }

  /** @param {string} reason */
  withhold(reason) {
    this.held = null;
    this.said = reason;
    this.container.setAttribute("aria-label", `Depth chart: nothing to show, ${reason}`);
    this.readout.replaceChildren();
    this.surface.redraw();
  }

  #describe() {
    if (this.held === null) return;
    const { bids, asks, mid } = this.held;
    const below = within(bids, mid * (1 - this.range), -1);
    const above = within(asks, mid * (1 + this.range), 1);
    const text = `bids ${shortText(below)}, asks ${shortText(above)} within ${this.range * 100}%`;
    this.container.setAttribute("aria-label", `Depth chart: ${text} of the mid price`);
    if (Number.isNaN(this.cursor)) this.readout.textContent = text;
  }

  /** @param {CanvasRenderingContext2D} context */
  #draw(context, /** @type {number} */ width, /** @type {number} */ height, /** @type {import("./canvas.js").Palette} */ colours) {
    if (this.held === null) {
      context.fillStyle = colours.muted;
      context.textAlign = "center";
      context.fillText(this.said, width / 2, height / 2);
      return;
    }
    this.#describe();
    const { bids, asks, mid, low, high } = this.held;
    const from = mid * (1 - this.range);
    const to = mid * (1 + this.range);
    const most = Math.max(within(bids, from, -1), within(asks, to, 1)) * 1.08 || 1;
    const base = height - AXIS;
    const x = (/** @type {number} */ price) => ((price - from) / (to - from)) * width;
    const y = (/** @type {number} */ total) => base - (total / most) * (base - 6);
    this.#axes(context, { from, to, most, width, base, x, y, colours });
    unknown(context, { from: x(Math.max(from, low)), to: x(Math.min(to, high)), width, base, colours });
    area(context, bids, x, y, base, x(Math.max(from, low)), colours.up, colours["up-area"]);
    area(context, asks, x, y, base, x(Math.min(to, high)), colours.down, colours["down-area"]);
    context.strokeStyle = colours.muted;
    context.setLineDash([2, 3]);
    stroke(context, x(mid), 0, x(mid), base);
    context.setLineDash([]);
    if (!Number.isNaN(this.cursor)) this.#cross(context, { from, to, mid, width, base, y, bids, asks, colours });
  }

  /** @param {CanvasRenderingContext2D} context @param {any} view */
  #axes(context, { from, to, most, width, base, x, y, colours }) {
    const step = roundStep(to - from, width / 110);
    const decimals = Math.max(0, -Math.floor(Math.log10(step)));
    context.fillStyle = colours.muted;
    context.strokeStyle = colours.line;
    for (const price of ticks(from, to, step)) {
      stroke(context, x(price), 0, x(price), base);
      const label = price.toFixed(decimals);
      const half = context.measureText(label).width / 2;
      context.textAlign = "center";
      if (x(price) > half && x(price) < width - half) context.fillText(label, x(price), base + AXIS / 2 + 1);
    }
    context.textAlign = "left";
    for (const total of ticks(0, most, roundStep(most, 3))) {
      stroke(context, 0, y(total), width, y(total));
      if (total > 0) context.fillText(shortText(total), 5, y(total) - 7);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {any} view */
  #cross(context, { from, to, mid, width, base, y, bids, asks, colours }) {
    const price = from + (this.cursor / width) * (to - from);
    const buying = price > mid;
    const total = buying ? within(asks, price, 1) : within(bids, price, -1);
    context.strokeStyle = colours.accent;
    stroke(context, this.cursor, 0, this.cursor, base);
    tag(context, shortText(total), this.cursor, Math.max(10, y(total) - 12), colours.accent, colours.panel, width);
    const decimals = Math.max(0, -Math.floor(Math.log10((to - from) / 1000)));
    const share = ((price / mid - 1) * 100).toFixed(3);
    this.readout.textContent = `${price.toFixed(decimals)} (${share}%): ${shortText(total)} ${buying ? "asked" : "bid"}`;
  }
}

/** Levels as running sums. @param {import("./book.js").Level[]} levels @returns {Step[]} */
function steps(levels) {
  let total = 0;
  return levels.map(([price, quantity]) => ({ price: Number(price), total: (total += Number(quantity)) }));
}

/** The sum up to a price. @param {Step[]} side best first @param {number} price @param {1|-1} order */
function within(side, price, order) {
  let low = 0;
  let high = side.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((side[middle].price - price) * order <= 0) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : side[low - 1].total;
}

/**
 * One side as steps, up to the end of what is known: between levels, and after the last one, nothing is added.
 * @param {CanvasRenderingContext2D} context
 * @param {Step[]} side best first
 * @param {(price: number) => number} x
 * @param {(total: number) => number} y
 * @param {number} base y of no quantity
 * @param {number} end x where the known range or the chart ends
 * @param {string} line
 * @param {string} fill
 */
function area(context, side, x, y, base, end, line, fill) {
  const start = x(side[0].price);
  const leftwards = end < start;
  context.beginPath();
  context.moveTo(start, base);
  let last = base;
  for (const step of side) {
    const at = x(step.price);
    if (leftwards ? at < end : at > end) break;
    context.lineTo(at, last);
    last = y(step.total);
    context.lineTo(at, last);
  }
  context.lineTo(end, last);
  context.strokeStyle = line;
  context.lineWidth = 1.5;
  context.stroke();
  context.lineWidth = 1;
  context.lineTo(end, base);
  context.fillStyle = fill;
  context.fill();
}

/** Hatch what no snapshot proved. @param {CanvasRenderingContext2D} context @param {any} view */
function unknown(context, { from, to, width, base, colours }) {
  for (const [start, end] of [[0, from], [to, width]]) {
    if (end - start < 1) continue;
    context.fillStyle = colours.unknown;
    context.fillRect(start, 0, end - start, base);
    context.fillStyle = colours.muted;
    context.textAlign = "center";
    if (end - start > 60) context.fillText("unknown", (start + end) / 2, 14);
  }
}
