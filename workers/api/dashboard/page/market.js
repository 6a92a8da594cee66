/** The market page: one symbol, its live channels, and the second of the past that is shown instead. */

import { Analytics } from "./analytics.js";
import { Book, boundary, reasonOf } from "./book.js";
import { CandleChart } from "./candles.js";
import { INTERVALS } from "./candle_series.js";
import { DepthChart } from "./depth.js";
import { priceText, useDigitsOf } from "./digits.js";
import { byId, choices, setText } from "./dom.js";
import { durationText, momentText } from "./format.js";
import { History } from "./history.js";
import { Ladder, ROWS, spreadOf } from "./ladder.js";
import { Queues } from "./queues.js";
import { get, isAborted, Problem } from "./rest.js";
import { Summary } from "./summary.js";
import { Tape } from "./tape.js";

const DEPTH_MS = 2_000;
const BARS = 400;
const TAPE = 60;
const ATTEMPTS = 25;
const RETRY_MS = 400;
/** How far back trades are looked for, one after the other. */
const PAST_SECONDS = [3, 60, 1800];
const PAST_MOST = 2_000;

export class Market {
  /**
   * @param {import("./connection.js").Connection} connection
   * @param {(interval: string) => void} onInterval
   */
  constructor(connection, onInterval) {
    this.connection = connection;
    this.venue = "";
    this.symbol = "";
    this.interval = "1m";
    /** @type {any[]} */
    this.infos = [];
    this.book = new Book();
    this.summary = new Summary();
    this.ladder = new Ladder();
    this.depth = new DepthChart();
    this.candles = new CandleChart((before) => this.#loadBars(before));
    this.tape = new Tape();
    this.queues = new Queues();
    this.analytics = new Analytics(() => this.#show());
    this.history = new History(
      (at) => this.#travelled(at),
      (at, book, reason) => this.#past(at, book, reason),
      () => this.#returned(),
    );
    this.chooseInterval = choices(byId("intervals"), "interval", Object.keys(INTERVALS).map((name) => [name, name]), onInterval);
    /** What is withheld, and why; null while the book is shown. @type {{state: string, reason: string}|null} */
    this.withheld = { state: "waiting", reason: "" };
    this.lost = "";
    /** @type {string[]} */
    this.troubles = [];
    this.wanted = new AbortController();
    this.loading = false;
    /** Whose loading of trades is under way. @type {AbortSignal|null} */
    this.loadingTrades = null;
    /** Trades after this id come live. */
    this.liveAfter = -1;
    this.drawn = false;
    /** @type {(() => void)[]} */
    this.endings = [];
    /** @type {(() => void)|null} */
    this.endBars = null;
    /** @type {(() => void)|null} */
    this.endBook = null;
    this.heardAt = 0;
    setInterval(() => this.#renewDepth(), DEPTH_MS);
    setInterval(() => this.#age(), 500);
  }

  /** What the exchange says of the symbols. @param {any[]} infos */
  learn(infos) {
    this.infos = infos;
    if (!this.#useDigits()) return;
    this.candles.series.renew();
    this.candles.changed();
    this.tape.renew();
    this.#show();
  }

  #useDigits() {
    return useDigitsOf(this.infos.find((one) => one.symbol === this.symbol && one.venue === this.venue));
  }

  /** @param {string} venue @param {string} symbol @param {string} interval */
  choose(venue, symbol, interval) {
    const moved = venue !== this.venue || symbol !== this.symbol;
    if (moved) this.#chooseSymbol(venue, symbol);
    if (moved || interval !== this.interval) this.#chooseInterval(interval);
  }

  /** The line to the API: without it no number is live. @param {string} reason empty: it is there */
  connected(reason) {
    this.lost = reason;
    byId("market").classList.toggle("lost", reason !== "");
    if (reason) this.#forgetBook();
    if (reason) this.queues.lost(reason);
    if (reason) this.analytics.lost(reason);
    if (reason && this.history.at === null) this.tape.say("no connection");
    this.#show();
  }

  /** @param {string} venue @param {string} symbol */
  #chooseSymbol(venue, symbol) {
    this.venue = venue;
    this.symbol = symbol;
    this.#useDigits();
    this.wanted.abort();
    this.wanted = new AbortController();
    for (const end of this.endings.splice(0)) end();
    this.endBook?.();
    this.summary.choose(venue, symbol);
    this.#forgetBook();
    this.tape.clear();
    this.queues.choose(venue, symbol);
    this.analytics.choose();
    this.liveAfter = -1;
    this.history.choose(venue, symbol);
    this.#returned();
    const symbols = [`${venue}:${symbol}`];
    this.#subscribeBook();
    this.endings.push(
      this.connection.subscribe({ channel: "trades", symbols }, (message) => this.#takeTrades(message)),
      this.connection.subscribe({ channel: "orders", symbols }, (message) => this.queues.take(message)),
      this.connection.subscribe({ channel: "analytics", symbols }, (message) => this.analytics.take(message)),
      this.connection.subscribe({ channel: "status", symbols }, ({ status }) => status && this.summary.status(status)),
      this.connection.subscribe({ channel: "stats", symbols, interval: "1d" }, ({ stats }) => stats && this.summary.day(stats)),
    );
    this.#loadDay();
  }

  #forgetBook() {
    this.book.clear();
    this.withheld = { state: "waiting", reason: "" };
  }

  #subscribeBook() {
    this.endBook?.();
    const request = { channel: "book", symbols: [`${this.venue}:${this.symbol}`], depth: ROWS, mode: "diffs" };
    this.endBook = this.connection.subscribe(request, (message) => this.#takeBook(message));
  }

  /** @param {string} interval */
  #chooseInterval(interval) {
    this.interval = interval;
    this.chooseInterval(interval);
    this.endBars?.();
    this.candles.restart(interval, "loading …");
    const symbols = [`${this.venue}:${this.symbol}`];
    this.loading = false;
    this.endBars = this.connection.subscribe({ channel: "bars", symbols, interval }, ({ type, bar, title }) => {
      if (type === "subscribed" || type === "dropped") this.#loadBars(undefined); // some did not come live
      if (type === "error") this.candles.say(title);
      if (bar) this.candles.add([bar]);
    });
  }

  /** @param {any} message */
  #takeBook(message) {
    if (message.type === "subscribed") return;
    this.heardAt = performance.now();
    const outcome = message.type === "error" ? "withheld" : this.book.apply(message);
    if (outcome === "waiting") return;
    if (outcome === "changed") this.history.reached(message.E);
    if (outcome === "resync") this.#subscribeBook();
    const returns = this.withheld !== null && outcome === "changed";
    const state = message.state ?? message.title ?? "waiting";
    this.withheld = outcome === "changed" ? null : { state, reason: reasonOf(state, message.reason ?? message.detail ?? "") };
    this.#show();
    if (returns) this.#renewDepth();
  }

  /** @param {any} message */
  #takeTrades(message) {
    if (message.type === "subscribed") {
      this.liveAfter = message.after?.[`${this.venue}:${this.symbol}`] ?? -1;
      this.#loadTrades();
    }
    if (message.repaired && this.history.at === null) this.#loadTrades();
    if (message.repaired) return;
    if (message.type === "dropped") this.tape.dropped(message.count);
    const trades = message.trades ?? [];
    if (trades.length === 0) return;
    this.summary.last(trades[trades.length - 1].price);
    if (this.history.at === null && !this.tape.add(trades)) this.#loadTrades();
  }

  /** Draw the live book once a frame, unless the past is shown. */
  #show() {
    if (this.drawn) return;
    this.drawn = true;
    requestAnimationFrame(() => {
      this.drawn = false;
      this.#draw();
    });
  }

  #draw() {
    const held = this.lost ? { state: "no connection", reason: this.lost } : this.withheld;
    const past = this.history.at !== null;
    const { levels } = this.book;
    const found = levels && !held ? spreadOf(levels.asks, levels.bids) : null;
    if (!past) {
      this.summary.spread(found);
      if (held) this.summary.sync(held.state === "waiting" ? "waiting" : "withheld", held.state, held.reason);
      else this.summary.sync("synced", "synced", "");
      if (levels && !held) this.ladder.show(levels, this.analytics.marks);
      else this.#withhold(held ?? { state: "waiting", reason: "" });
      if (held) this.depth.withhold(`withheld, ${held.state}`);
    }
    const name = found && !Number.isNaN(found.mid) && levels ? `${priceText(levels.bids[0][0])} – ${priceText(levels.asks[0][0])} ` : "";
    document.title = `${name}${this.symbol} · marketfleet`;
  }

  /** @param {{state: string, reason: string}} held where it gives no reason, the fleet's troubles may be one */
  #withhold({ state, reason }) {
    const title = state === "waiting" ? "Waiting for the book" : `Withheld: ${state}`;
    this.ladder.withhold(title, reason || (this.lost ? "" : this.troubles.join("; ")), state);
  }

  /** What does not work behind the API. @param {string[]} reasons */
  troubled(reasons) {
    if (this.troubles.join() === reasons.join()) return;
    this.troubles = reasons;
    if (this.withheld) this.#show();
  }

  #age() {
    if (this.history.at !== null) return;
    const { levels } = this.book;
    const shown = levels && !this.lost && !this.withheld;
    setText(byId("ladder-age"), shown ? `last change ${durationText(performance.now() - this.heardAt)} ago` : "");
  }

  async #renewDepth() {
    if (document.hidden || !this.symbol || this.withheld || this.history.at !== null || byId("market").hidden) return;
    const { signal } = this.wanted;
    try {
      const found = await get("/orderbook", { venue: this.venue, symbol: this.symbol }, signal);
      if (signal.aborted || this.history.at !== null || this.withheld || this.lost) return;
      this.depth.show(levelsOf(found));
    } catch (error) {
      if (isAborted(error) || signal.aborted || this.history.at !== null) return;
      this.depth.withhold(/** @type {Error} */ (error).message);
    }
  }

  async #loadDay() {
    const { signal } = this.wanted;
    const found = await get("/stats", { venue: this.venue, symbol: this.symbol }, signal).catch(() => null);
    if (found?.stats?.["1d"] && !signal.aborted) this.summary.day(found.stats["1d"]);
  }

  /** The newest trades, until they reach those that come live: the fold may be behind the stream a little. */
  async #loadTrades() {
    const { signal } = this.wanted;
    if (this.loadingTrades === signal) return;
    this.loadingTrades = signal;
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const { trades } = await get("/trades", { venue: this.venue, symbol: this.symbol, limit: TAPE }, signal);
        if (signal.aborted || this.history.at !== null) return;
        const whole = this.tape.restart(trades) && (this.tape.trades[0]?.id ?? -1) >= this.liveAfter;
        if (trades.length && !this.summary.lastPrice) this.summary.last(trades[trades.length - 1].price);
        if (whole) return;
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    } catch (error) {
      if (!isAborted(error) && !signal.aborted) this.tape.say(/** @type {Error} */ (error).message);
    } finally {
      if (this.loadingTrades === signal) this.loadingTrades = null;
    }
  }

  /** The trades before a second: of the seconds just before it, of more of them where the market was quiet. */
  async #loadPastTrades(/** @type {number} */ at) {
    const { signal } = this.wanted;
    const current = () => !signal.aborted && this.history.at === at;
    try {
      /** @type {import("./tape.js").Trade[]} */
      let trades = [];
      for (const seconds of PAST_SECONDS) {
        const query = { venue: this.venue, symbol: this.symbol, from: (at - seconds) * 1000, to: at * 1000 + 1, limit: PAST_MOST };
        ({ trades } = await get("/trades", query, signal));
        if (!current()) return;
        if (trades.length >= TAPE) break;
      }
      this.tape.clear();
      this.tape.add(trades);
      this.tape.say(`until ${momentText(at * 1000).slice(11)}`);
    } catch (error) {
      if (current()) this.tape.say(/** @type {Error} */ (error).message);
    }
  }

  /** @param {number|undefined} before ms; undefined: the newest */
  async #loadBars(before) {
    if (this.loading && before !== undefined) return;
    this.loading = true;
    const { series } = this.candles;
    const { signal } = this.wanted;
    const reached = series.bars.at(-1)?.start_ms ?? Infinity;
    const range = before === undefined ? {} : { from: before - BARS * series.stepMs, to: before };
    const query = { venue: this.venue, symbol: this.symbol, limit: BARS, ...range };
    try {
      const { bars } = await get(`/bars/${series.interval}`, query, signal);
      if (series !== this.candles.series) return;
      if (before === undefined && bars.length && reached < bars[0].start_ms) series.forgetBefore(bars[0].start_ms);
      const known = series.bars.length;
      series.add(bars);
      if (!series.isLoaded) this.candles.fit();
      series.isLoaded = true;
      if (before !== undefined && series.bars.length === known) series.reachedStart = true;
      this.candles.say("no trade yet");
    } catch (error) {
      if (isAborted(error) || series !== this.candles.series) return;
      series.reachedStart = true;
      this.candles.say(error instanceof Problem ? error.message : String(error));
    } finally {
      if (series === this.candles.series) this.loading = false;
    }
  }

  /** A second was chosen: nothing live may stand beside it. @param {number} at */
  #travelled(at) {
    byId("market").classList.add("past");
    this.summary.sync("history", "history", `${momentText(at * 1000)} UTC`);
    this.candles.mark(at * 1000);
  }

  /** @param {number} at @param {import("./history.js").HeldBook|null} book @param {string} reason */
  #past(at, book, reason) {
    setText(byId("ladder-age"), `at ${momentText(at * 1000).slice(11)} UTC`);
    if (book === null) {
      this.summary.spread(null);
      this.ladder.withhold("Unknown second", reason);
      this.depth.withhold(reason);
    } else {
      const levels = levelsOf(book);
      this.summary.spread(spreadOf(levels.asks, levels.bids));
      this.ladder.show(levels);
      this.depth.show(levels);
    }
    this.#loadPastTrades(at);
  }

  #returned() {
    byId("market").classList.remove("past");
    this.candles.mark(null);
    this.tape.clear();
    setText(byId("ladder-age"), "");
    this.depth.withhold("loading …");
    this.#loadTrades();
    this.#show();
    this.#renewDepth();
  }
}

/** An answer of `/orderbook` or `/history/book`. @param {any} found @returns {import("./book.js").Levels} */
function levelsOf(found) {
  return {
    bids: found.bids,
    asks: found.asks,
    updateId: found.last_update_id,
    eventMs: found.event_time_ms,
    low: Number(found.known_low ?? 0),
    high: boundary(found.known_high),
  };
}
