/** The trades as they come, newest first. */

import { priceText, quantityText } from "./digits.js";
import { byId, make, row, setText } from "./dom.js";
import { timeText } from "./format.js";

const KEPT = 60;

/** @typedef {{id: number, price: string, quantity: string, time_ms: number, is_buyer_maker: boolean}} Trade */

export class Tape {
  constructor() {
    this.body = byId("tape").tBodies[0];
    this.note = byId("tape-note");
    /** @type {Trade[]} newest first */
    this.trades = [];
  }

  clear() {
    this.trades = [];
    this.body.replaceChildren();
    this.say("");
  }

  /** @param {string} text */
  say(text) {
    setText(this.note, text);
    this.note.title = text; // it is cut where it is too long
  }

  /**
   * Trades as they come; those that are not newer than the ones shown are already there.
   * @param {Trade[]} trades in any order
   * @returns {boolean} whether they go on from those shown; if not, there is a hole between
   */
  add(trades) {
    const newest = this.trades[0]?.id ?? -1;
    const fresh = trades.filter((trade) => trade.id > newest).sort(newestFirst);
    if (fresh.length === 0) return true;
    const follows = newest < 0 || fresh[fresh.length - 1].id === newest + 1;
    fresh.splice(KEPT);
    this.trades = [...fresh, ...this.trades].slice(0, KEPT);
    this.body.prepend(...fresh.map(line));
    while (this.body.rows.length > KEPT) this.body.deleteRow(-1);
    return follows;
  }

  /**
   * The newest trades by another way; of those that came live only newer ones stay, so that none is left out between.
   * @param {Trade[]} trades without a hole
   * @returns {boolean} whether they reach what came live; if not, there is a hole, and newer ones must be asked for
   */
  restart(trades) {
    const last = Math.max(-1, ...trades.map((trade) => trade.id));
    const live = this.trades.filter((trade) => trade.id > last);
    this.clear();
    this.add([...live, ...trades]);
    return trades.length === 0 || live.length === 0 || live[live.length - 1].id === last + 1;
  }

  /** Write all anew: how numbers are written has changed. */
  renew() {
    this.body.replaceChildren(...this.trades.map(line));
  }

  /** Say that the API left trades out because this page was too slow. @param {number} count */
  dropped(count) {
    this.body.prepend(make("tr", { class: "notice" }, make("td", { colspan: "3" }, `${count} trades left out`)));
  }
}

/** @param {Trade} a @param {Trade} b */
function newestFirst(a, b) {
  return b.id - a.id;
}

/** @param {Trade} trade */
function line(trade) {
  const time = make("time", { datetime: new Date(trade.time_ms).toISOString() }, timeText(trade.time_ms, 3));
  return row([priceText(trade.price), quantityText(trade.quantity), make("td", {}, time)], trade.is_buyer_maker ? "sell" : "buy");
}
