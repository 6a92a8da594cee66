/** The candle chart: prices above, volume below, one slot a window also where no trade was. */

import { Surface, roundStep, stroke, tag, ticks } from "./canvas.js";
import { CandleSeries } from "./candle_series.js";
import { byId } from "./dom.js";
import { momentText, shortText, tickText, timeText } from "./format.js";
import { CandleControls, SLOTS } from "./candle_controls.js";

const BOTTOM = 20;
const DEFAULT_SLOT = 8;
const TIME_STEPS = [
  100, 500, 1000, 5000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000, 43_200_000, 86_400_000,
  604_800_000, 2_592_000_000,
];

export class CandleChart {
  /** @param {(beforeMs: number) => void} onEarlier older bars are wanted */
  constructor(onEarlier) {
    this.container = byId("candle-chart");
    this.onEarlier = onEarlier;
    this.series = new CandleSeries("1m");
    this.slot = DEFAULT_SLOT;
    /** Slots between the newest bar and the right edge; negative: into the past. */
    this.offset = 0;
    /** Start of the bar under the cursor; null: none. @type {number|null} */
    this.cursor = null;
    /** The second that the book is shown of; null: live. @type {number|null} */
    this.moment = null;
    this.message = "";
    this.plot = { width: 0, right: 0, lastStart: 0 };
    this.surface = new Surface(this.container, (...all) => this.#draw(...all));
    this.controls = new CandleControls(this);
  }

  /** @param {string} interval @param {string} message shown while there is nothing */
  restart(interval, message) {
    this.series = new CandleSeries(interval);
    this.offset = 0;
    this.cursor = null;
    this.say(message);
  }

  /** @param {string} message */
  say(message) {
    this.message = message;
    this.changed();
  }

  /** @param {import("./candle_series.js").Bar[]} bars */
  add(bars) {
    this.series.add(bars);
    this.changed();
  }

  /** Widen the slots where there are few bars, so that they fill the chart. */
  fit() {
    const { bars, stepMs } = this.series;
    const span = bars.length ? (bars[bars.length - 1].start_ms - bars[0].start_ms) / stepMs + 1 : 1;
    const room = this.container.clientWidth - 90;
    this.slot = SLOTS.findLast((slot) => slot <= DEFAULT_SLOT || slot * span <= room) ?? DEFAULT_SLOT;
  }

  /** @param {number|null} ms */
  mark(ms) {
    this.moment = ms;
    this.surface.redraw();
  }

  changed() {
    this.controls.describe();
    this.surface.redraw();
  }

  /** The start of the newest slot in view. */
  lastStart() {
    const newest = this.series.bars.at(-1)?.start_ms ?? 0;
    return newest + Math.round(this.offset) * this.series.stepMs;
  }

  /** @param {CanvasRenderingContext2D} context */
  #draw(context, /** @type {number} */ width, /** @type {number} */ height, /** @type {import("./canvas.js").Palette} */ colours) {
    const { series } = this;
    if (series.bars.length === 0) {
      context.fillStyle = colours.muted;
      context.textAlign = "center";
      context.fillText(this.message, width / 2, height / 2);
      return;
    }
    const axis = Math.ceil(context.measureText(series.bars.at(-1)?.high ?? "").width) + 14;
    const right = width - axis;
    const last = this.lastStart();
    const first = last - Math.ceil(right / this.slot) * series.stepMs;
    this.plot = { width, right, lastStart: last };
    if (first < series.bars[0].start_ms && !series.reachedStart) this.onEarlier(series.bars[0].start_ms);
    const bars = series.within(first, last);
    const scale = this.#scale(bars, height);
    const x = (/** @type {number} */ start) => right - ((last - start) / series.stepMs + 0.5) * this.slot - 4;
    this.#grid(context, { first, last, right, height, width, scale, x, colours });
    const most = Math.max(...bars.map((bar) => Number(bar.volume)), Number.MIN_VALUE);
    context.save();
    context.beginPath();
    context.rect(0, 0, right, height);
    context.clip();
    for (const bar of bars) candle(context, bar, x(bar.start_ms), this.slot, scale, most, colours);
    if (this.moment !== null) {
      context.strokeStyle = colours.accent;
      const at = x(this.moment - series.stepMs / 2);
      stroke(context, at, 0, at, height - BOTTOM);
    }
    context.restore();
    this.#lastPrice(context, { right, width, scale, colours });
    if (this.cursor !== null) this.#cross(context, { right, height, width, x, scale, colours });
  }

  /** @param {import("./candle_series.js").Bar[]} bars @param {number} height */
  #scale(bars, height) {
    const shown = bars.length ? bars : this.series.bars.slice(-1);
    let low = Math.min(...shown.map((bar) => Number(bar.low)));
    let high = Math.max(...shown.map((bar) => Number(bar.high)));
    const room = (high - low) * 0.06 || high * 0.0005 || 1;
    low -= room;
    high += room;
    const base = height - BOTTOM;
    const volumeTop = base - (base * 0.2);
    const bottom = volumeTop - 4;
    return {
      low,
      high,
      base,
      volumeTop,
      bottom,
      y: (/** @type {number} */ price) => 4 + ((high - price) / (high - low)) * (bottom - 4),
      price: (/** @type {number} */ y) => high - ((y - 4) / (bottom - 4)) * (high - low),
    };
  }

  /** @param {CanvasRenderingContext2D} context @param {any} view */
  #grid(context, { first, last, right, height, width, scale, x, colours }) {
    context.strokeStyle = colours.line;
    context.fillStyle = colours.muted;
    context.textAlign = "left";
    const step = roundStep(scale.high - scale.low, scale.bottom / 48);
    for (const price of ticks(scale.low, scale.high, step)) {
      const y = scale.y(price);
      stroke(context, 0, y, right, y);
      if (y > 8) context.fillText(price.toFixed(this.series.decimals), right + 6, y);
    }
    stroke(context, right, 0, right, height - BOTTOM);
    stroke(context, 0, scale.base, width, scale.base);
    const slots = 76 / this.slot;
    const time = TIME_STEPS.find((ms) => ms >= slots * this.series.stepMs) ?? 2_592_000_000;
    context.textAlign = "center";
    for (const ms of ticks(first, last, time)) {
      const at = x(ms);
      const text = tickText(ms, time);
      const half = context.measureText(text).width / 2;
      if (at < half || at > right - half) continue;
      stroke(context, at, 0, at, scale.base);
      context.fillText(text, at, scale.base + BOTTOM / 2 + 1);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {any} view */
  #lastPrice(context, { right, width, scale, colours }) {
    const bar = this.series.bars.at(-1);
    if (!bar) return;
    const y = scale.y(Number(bar.close));
    if (y < 0 || y > scale.bottom) return;
    const colour = isUp(bar) ? colours.up : colours.down;
    context.strokeStyle = colour;
    context.setLineDash([2, 3]);
    stroke(context, 0, y, right, y);
    context.setLineDash([]);
    tag(context, bar.close, right + (width - right) / 2, y, colour, colours.panel, width);
  }

  /** @param {CanvasRenderingContext2D} context @param {any} view */
  #cross(context, { right, height, width, x, scale, colours }) {
    const start = /** @type {number} */ (this.cursor);
    const bar = this.series.at(start);
    const at = x(start);
    if (at < 0 || at > right) return;
    context.strokeStyle = colours.muted;
    context.setLineDash([3, 3]);
    stroke(context, at, 0, at, height - BOTTOM);
    const level = this.controls.pointerY;
    if (level !== null && level < scale.bottom) {
      stroke(context, 0, level, right, level);
      const text = scale.price(level).toFixed(this.series.decimals);
      tag(context, text, right + (width - right) / 2, level, colours.muted, colours.panel, width);
    }
    context.setLineDash([]);
    const text = this.series.stepMs < 1000 ? timeText(start, 3) : momentText(start).slice(5, 16);
    tag(context, text, at, height - BOTTOM / 2, colours.muted, colours.panel, right);
    if (bar) tag(context, shortText(Number(bar.volume)), at, scale.volumeTop - 6, colours.panel, colours.muted, right);
  }
}

/** @param {import("./candle_series.js").Bar} bar */
export function isUp(bar) {
  return Number(bar.close) >= Number(bar.open);
}

/**
 * Rising bars are hollow, falling ones filled: the shape tells it without the colour. A dot below marks a bar that
 * cannot prove that it has all its trades.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./candle_series.js").Bar} bar
 */
function candle(context, bar, /** @type {number} */ x, /** @type {number} */ slot, /** @type {any} */ scale, /** @type {number} */ most, /** @type {import("./canvas.js").Palette} */ colours) {
  const up = isUp(bar);
  const colour = up ? colours.up : colours.down;
  const wide = Math.max(1, Math.floor(slot * 0.7) - (slot > 4 ? 1 : 0));
  const left = Math.round(x - wide / 2);
  const top = Math.round(scale.y(Math.max(Number(bar.open), Number(bar.close))));
  const bottom = Math.round(scale.y(Math.min(Number(bar.open), Number(bar.close))));
  const tall = Math.max(1, bottom - top);
  context.strokeStyle = context.fillStyle = colour;
  const middle = left + Math.floor(wide / 2);
  stroke(context, middle, scale.y(Number(bar.high)), middle, top);
  stroke(context, middle, bottom, middle, scale.y(Number(bar.low)));
  if (up && wide > 3 && tall > 2) context.strokeRect(left + 0.5, top + 0.5, wide - 1, tall - 1);
  else context.fillRect(left, top, wide, tall);
  const volume = Math.max(1, (Number(bar.volume) / most) * (scale.base - scale.volumeTop));
  context.fillStyle = up ? colours["up-area"] : colours["down-area"];
  context.fillRect(left, scale.base - volume, wide, volume);
  if (!bar.complete && bar.reason !== "not provable") {
    context.fillStyle = context.strokeStyle = colours.muted;
    if (bar.reason === "unproven") context.strokeRect(middle - 1.5, scale.base - 4.5, 4, 4);
    else context.fillRect(middle - 1, scale.base - 3, 3, 3);
  }
}
