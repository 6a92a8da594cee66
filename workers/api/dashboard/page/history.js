/** The book at any second of what is held: a slider, steps, a date field, and the holes drawn below. */

import { Surface } from "./canvas.js";
import { byId, setText } from "./dom.js";
import { durationText, momentText } from "./format.js";
import { get, isAborted, Problem } from "./rest.js";

const RENEW_MS = 5_000;
const SETTLE_MS = 80;

/**
 * @typedef {{bids: import("./book.js").Level[], asks: import("./book.js").Level[], last_update_id: number,
 *   event_time_ms: number, known_low: string, known_high: string, timestamp: number}} HeldBook
 */

export class History {
  /**
   * @param {(at: number) => void} onMoment a second was chosen
   * @param {(at: number, book: HeldBook|null, reason: string) => void} onBook its book, or why there is none
   * @param {() => void} onLive
   */
  constructor(onMoment, onBook, onLive) {
    this.onMoment = onMoment;
    this.onBook = onBook;
    this.onLive = onLive;
    this.slider = byId("moment");
    this.field = byId("moment-text");
    this.note = byId("history-note");
    this.live = byId("live");
    this.steps = /** @type {[HTMLButtonElement, number][]} */ ([
      [byId("minute-back"), -60], [byId("second-back"), -1], [byId("second-on"), 1], [byId("minute-on"), 60],
    ]);
    /** The second shown; null: live. @type {number|null} */
    this.at = null;
    /** `from` and `to`: what the slider spans; `earliest`: the archive may reach back further. @type {{from: number, to: number, earliest: number}|null} */
    this.span = null;
    /** The newest second that an event has proven; later ones than in the blocks come from the stream. */
    this.newest = 0;
    /** @type {{from: number, to: number, reason: string}[]} */
    this.gaps = [];
    /** @type {{venue: string, symbol: string}|null} */
    this.chosen = null;
    this.wanted = new AbortController();
    this.timer = 0;
    this.surface = new Surface(/** @type {HTMLElement} */ (this.slider.parentElement), (context, width, height, colours) => this.#marks(context, width, height, colours));
    this.#listen();
    setInterval(() => document.hidden || this.#renew(), RENEW_MS);
  }

  #listen() {
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
    this.field.addEventListener("change", () => {
      const at = Date.parse(`${this.field.value}Z`) / 1000;
      if (Number.isFinite(at)) this.goTo(Math.round(at));
    });
    this.live.addEventListener("click", () => this.leave());
    for (const [button, by] of this.steps) button.addEventListener("click", () => this.step(by));
  }

  /** @param {string} venue @param {string} symbol */
  choose(venue, symbol) {
    this.chosen = { venue, symbol };
    this.newest = 0;
    this.#shown(null);
    this.#offer(null, "asking …");
    this.#renew();
  }

  /** The live book stands at an event of this time. @param {number} ms */
  reached(ms) {
    this.newest = Math.floor(ms / 1000);
  }

  focus() {
    this.slider.focus();
  }

  leave() {
    if (this.at === null) return;
    this.#shown(null);
    if (this.span) this.slider.value = String(this.span.to);
    this.onLive();
  }

  /** Go some seconds back or on; from live, back from the newest second. @param {number} by */
  step(by) {
    if (this.span) this.goTo((this.at ?? this.span.to) + by);
  }

  /** @param {number} at seconds since 1970 */
  goTo(at) {
    if (this.span === null || this.chosen === null) return;
    const second = Math.min(this.span.to, Math.max(this.span.earliest, at));
    this.#shown(second);
    this.slider.value = String(second);
    this.onMoment(second);
    clearTimeout(this.timer);
    this.wanted.abort();
    this.wanted = new AbortController();
    this.timer = setTimeout(() => this.#fetch(second, this.wanted.signal), SETTLE_MS);
  }

  /** @param {number} at @param {AbortSignal} signal */
  async #fetch(at, signal) {
    try {
      const book = await get("/history/book", { ...this.chosen, at }, signal);
      if (!signal.aborted) this.onBook(at, book, "");
    } catch (error) {
      if (isAborted(error) || signal.aborted) return;
      this.onBook(at, null, error instanceof Problem ? error.message : String(error));
    }
  }

  async #renew() {
    const asked = this.chosen;
    if (asked === null) return;
    try {
      const found = await get("/history", asked);
      if (asked !== this.chosen) return;
      this.gaps = found.gaps ?? [];
      const archived = found.archived_from ?? null;
      const from = found.from ?? archived;
      const to = Math.max(found.to ?? 0, this.newest, found.archived_to ?? 0);
      const empty = from === null || to <= from;
      this.#offer(empty ? null : { from, to, earliest: Math.min(from, archived ?? from) }, empty ? "nothing held yet" : "");
    } catch (error) {
      if (asked !== this.chosen) return;
      const missing = error instanceof Problem && error.status === 404 && error.title === "Not found";
      this.#offer(null, missing ? "not available: this API keeps no history" : `not available: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** @param {{from: number, to: number, earliest: number}|null} span @param {string} reason why there is none */
  #offer(span, reason) {
    this.span = span;
    for (const control of [this.slider, this.field, ...this.steps.map(([button]) => button)]) control.disabled = span === null;
    if (span) {
      this.slider.min = String(span.from);
      this.slider.max = String(span.to);
      if (this.at === null) this.slider.value = String(span.to);
      this.field.min = momentText(span.earliest * 1000).replace(" ", "T");
      this.field.max = momentText(span.to * 1000).replace(" ", "T");
    }
    this.#describe(reason);
    this.surface.redraw();
  }

  /** @param {number|null} at */
  #shown(at) {
    this.at = at;
    clearTimeout(this.timer);
    this.wanted.abort();
    this.live.setAttribute("aria-pressed", String(at === null));
    if (at === null) this.field.value = "";
    else if (document.activeElement !== this.field) this.field.value = momentText(at * 1000).replace(" ", "T");
    this.#describe("");
  }

  /** @param {string} reason */
  #describe(reason) {
    if (this.span === null) {
      setText(this.note, reason || "nothing held yet");
      return;
    }
    const { from, to, earliest } = this.span;
    const holes = this.gaps.length === 0 ? "no gap" : this.gaps.length === 1 ? "1 gap" : `${this.gaps.length} gaps`;
    const archive = earliest < from ? `, archive since ${momentText(earliest * 1000)}` : "";
    const held = `${durationText((to - from) * 1000)} held, ${holes}${archive}`;
    setText(this.note, this.at === null ? held : `${momentText(this.at * 1000)} UTC · ${held}`);
    this.slider.setAttribute("aria-valuetext", this.at === null ? "live" : `${momentText(this.at * 1000)} UTC`);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {import("./canvas.js").Palette} colours */
  #marks(context, width, height, colours) {
    if (this.span === null) return;
    const { from, to } = this.span;
    const inset = 8; // half the slider's handle
    const x = (/** @type {number} */ at) => inset + ((at - from) / (to - from)) * (width - 2 * inset);
    context.fillStyle = colours.line;
    context.fillRect(inset, height - 4, width - 2 * inset, 3);
    context.fillStyle = colours.down;
    for (const gap of this.gaps) {
      const start = Math.max(from, gap.from);
      context.fillRect(x(start), height - 5, Math.max(2, x(Math.min(to, gap.to)) - x(start)), 5);
    }
  }
}
