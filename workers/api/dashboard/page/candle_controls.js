/** Pointer and keyboard of the candle chart, the values of the bar under the cursor, and the chart as a table. */

import { byId, make, row } from "./dom.js";
import { momentText, timeText } from "./format.js";

/** Widths that the place of a bar may have, pixels. */
export const SLOTS = [2, 3, 4, 6, 8, 11, 15, 20];
const TABLE_ROWS = 40;

export class CandleControls {
  /** @param {import("./candles.js").CandleChart} chart */
  constructor(chart) {
    this.chart = chart;
    this.readout = byId("bar-readout");
    this.spoken = byId("bar-spoken");
    this.view = byId("bars-view");
    this.table = byId("bars-table").tBodies[0];
    /** @type {number|null} */
    this.pointerY = null;
    /** @type {{x: number, offset: number}|null} */
    this.drag = null;
    this.#listen();
  }

  #listen() {
    const { container } = this.chart;
    container.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#move(event));
    container.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      this.drag = { x: event.offsetX, offset: this.chart.offset };
      container.setPointerCapture(event.pointerId);
    });
    container.addEventListener("pointerup", () => (this.drag = null));
    container.addEventListener("pointerleave", () => this.#leave());
    container.addEventListener("blur", () => this.#leave());
    container.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    container.addEventListener(
      "wheel",
      (/** @type {WheelEvent} */ event) => {
        if (!event.ctrlKey && !event.metaKey && document.activeElement !== container) return; // the page scrolls
        event.preventDefault();
        this.#zoom(event.deltaY < 0 ? 1 : -1);
      },
      { passive: false },
    );
    const button = byId("bars-as-table");
    button.addEventListener("click", () => {
      const shown = this.view.hidden;
      button.setAttribute("aria-pressed", String(shown));
      this.view.hidden = !shown;
      container.hidden = shown;
      this.describe();
    });
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const { chart } = this;
    if (this.drag) {
      chart.offset = this.#bounded(this.drag.offset - (event.offsetX - this.drag.x) / chart.slot);
    }
    this.pointerY = event.offsetY;
    const slots = Math.floor((chart.plot.right - 4 - event.offsetX) / chart.slot);
    chart.cursor = chart.plot.lastStart - Math.max(0, slots) * chart.series.stepMs;
    chart.changed();
  }

  #leave() {
    this.pointerY = null;
    this.drag = null;
    this.chart.cursor = null;
    this.chart.changed();
  }

  /** @param {number} direction */
  #zoom(direction) {
    const { chart } = this;
    const at = SLOTS.indexOf(chart.slot) + direction;
    chart.slot = SLOTS[Math.min(SLOTS.length - 1, Math.max(0, at))];
    chart.changed();
  }

  /** @param {number} offset */
  #bounded(offset) {
    const { bars, stepMs } = this.chart.series;
    if (bars.length === 0) return 0;
    const span = (bars[bars.length - 1].start_ms - bars[0].start_ms) / stepMs;
    return Math.min(0, Math.max(-span, offset));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { bars } = this.chart.series;
    const moves = /** @type {Record<string, () => void>} */ ({
      ArrowLeft: () => this.#step(-1),
      ArrowRight: () => this.#step(1),
      Home: () => this.#go(0),
      End: () => this.#go(bars.length - 1),
      "+": () => this.#zoom(1),
      "=": () => this.#zoom(1),
      "-": () => this.#zoom(-1),
      Escape: () => this.#leave(),
    });
    const move = moves[event.key];
    if (!move || bars.length === 0) return;
    event.preventDefault();
    event.stopPropagation();
    move();
  }

  /** @param {number} by */
  #step(by) {
    const { bars } = this.chart.series;
    const at = bars.findIndex((bar) => bar.start_ms >= (this.chart.cursor ?? Infinity));
    this.#go(at < 0 ? bars.length - 1 : at + by);
  }

  /** Put the cursor on a bar, bring it into view and say its values. @param {number} position */
  #go(position) {
    const { chart } = this;
    const { bars, stepMs } = chart.series;
    const bar = bars[Math.min(bars.length - 1, Math.max(0, position))];
    chart.cursor = bar.start_ms;
    const behind = (bar.start_ms - bars[bars.length - 1].start_ms) / stepMs;
    const visible = Math.max(1, Math.floor(chart.plot.right / chart.slot) - 1);
    if (behind > chart.offset) chart.offset = behind;
    if (behind < chart.offset - visible) chart.offset = behind + visible;
    chart.changed();
    this.spoken.textContent = `${this.#when(bar)}: open ${bar.open}, high ${bar.high}, low ${bar.low}, close ${bar.close}, volume ${bar.volume}`;
  }

  /** @param {import("./candle_series.js").Bar} bar */
  #when(bar) {
    return this.chart.series.stepMs < 1000 ? timeText(bar.start_ms, 3) : momentText(bar.start_ms).slice(0, 16);
  }

  /** Renew the values above the chart, its label, and the table if it is shown. */
  describe() {
    const { chart } = this;
    const bar = chart.cursor === null ? chart.series.bars.at(-1) : chart.series.at(chart.cursor);
    const label = `Candles of ${chart.series.interval}`;
    if (!bar) {
      this.readout.replaceChildren(chart.cursor === null ? "" : "no trade");
      chart.container.setAttribute("aria-label", `${label}: ${chart.message || "no trade here"}`);
    } else {
      const kind = Number(bar.close) >= Number(bar.open) ? "up" : "down";
      this.readout.replaceChildren(
        ...[["O", bar.open], ["H", bar.high], ["L", bar.low], ["C", bar.close], ["V", bar.volume]].map(
          ([name, value]) => make("span", { class: name === "V" ? "" : kind }, `${name} `, make("b", {}, value)),
        ),
        ...(bar.complete ? [] : [make("span", {}, `· ${["unproven", "not provable"].includes(bar.reason) ? bar.reason : "incomplete"}`)]),
      );
      chart.container.setAttribute("aria-label", `${label}, the last one closes at ${bar.close}`);
    }
    if (!this.view.hidden) this.#fill();
  }

  #fill() {
    const newest = this.chart.series.bars.slice(-TABLE_ROWS).reverse();
    this.table.replaceChildren(
      ...newest.map((bar) =>
        row([
          this.#when(bar), bar.open, bar.high, bar.low, bar.close, bar.volume, String(bar.trades_count),
          bar.complete ? "yes" : bar.reason || "no",
        ]),
      ),
    );
  }
}
