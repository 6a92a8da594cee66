/** The bars of one symbol and interval by their start: the last revision of each, in order. */

import { barTexts } from "./digits.js";

export const INTERVALS = /** @type {Record<string, number>} */ ({
  "100ms": 100,
  "1m": 60_000,
  "5m": 300_000,
  "15m": 900_000,
  "1h": 3_600_000,
  "4h": 14_400_000,
  "1d": 86_400_000,
});

const KEPT = 5_000;

/**
 * @typedef {{start_ms: number, open: string, high: string, low: string, close: string, volume: string,
 *   trades_count: number, complete: boolean, reason: string, revision: number}} Bar
 */

export class CandleSeries {
  /** @param {string} interval */
  constructor(interval) {
    this.interval = interval;
    this.stepMs = INTERVALS[interval];
    /** @type {Bar[]} by start, ascending */
    this.bars = [];
    this.decimals = 0;
    this.reachedStart = false;
    /** Whether the bars of before were loaded, besides those that come live. */
    this.isLoaded = false;
  }

  /** @param {Bar[]} bars in any order; a later revision or a newer state of a bar replaces the held one */
  add(bars) {
    for (const bar of bars.map(barTexts)) {
      const at = this.#position(bar.start_ms);
      const held = this.bars[at];
      if (held?.start_ms !== bar.start_ms) this.bars.splice(at, 0, bar);
      else if (bar.revision >= held.revision && bar.trades_count >= held.trades_count) this.bars[at] = bar;
      for (const price of [bar.open, bar.close]) {
        this.decimals = Math.max(this.decimals, price.length - (price + ".").indexOf(".") - 1);
      }
    }
    if (this.bars.length > KEPT) this.bars.splice(0, this.bars.length - KEPT);
  }

  /** Write all anew: how numbers are written has changed. */
  renew() {
    this.bars = this.bars.map(barTexts);
    this.decimals = 0;
    this.add(this.bars);
  }

  /** Forget the bars before a start, since there is a hole behind them: they are loaded anew when they are looked at. @param {number} start */
  forgetBefore(start) {
    this.bars.splice(0, this.#position(start));
    this.reachedStart = false;
  }

  /** The bars whose start is in `[from, to]`. @param {number} from @param {number} to */
  within(from, to) {
    return this.bars.slice(this.#position(from), this.#position(to + 1));
  }

  /** The bar of exactly this start. @param {number} start @returns {Bar|undefined} */
  at(start) {
    const found = this.bars[this.#position(start)];
    return found?.start_ms === start ? found : undefined;
  }

  /** The position of the first bar that starts at or after a time: O(log n). @param {number} start */
  #position(start) {
    let low = 0;
    let high = this.bars.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bars[middle].start_ms < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
