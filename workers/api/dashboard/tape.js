/** The trades as they come, newest first. */

import { byId, make, row, setText } from "./dom.js";
import { timeText } from "./format.js";

const KEPT = 60;

/** @typedef {{id: number, price: string, quantity: string, time_ms: number, is_buyer_maker: boolean}} Trade */

export class Tape {
  constructor() {
    this.body = byId("tape").tBodies[0];
    this.note = byId("tape-note");
    this.newestId = -1;
  }

  clear() {
    this.body.replaceChildren();
    this.newestId = -1;
    setText(this.note, "");
  }

  /** @param {string} text */
  say(text) {
    setText(this.note, text);
  }

  /**
   * Add trades that are newer than those shown.
   * @param {Trade[]} trades in any order
   */
  add(trades) {
    const fresh = trades.filter((trade) => trade.id > this.newestId).sort((a, b) => b.id - a.id).slice(0, KEPT);
    if (fresh.length === 0) return;
    this.newestId = fresh[0].id;
    this.body.prepend(...fresh.map(line));
    while (this.body.rows.length > KEPT) this.body.deleteRow(-1);
  }

  /** Say that the API left trades out because this page was too slow. @param {number} count */
  dropped(count) {
    this.body.prepend(make("tr", { class: "notice" }, make("td", { colspan: "3" }, `${count} trades left out`)));
  }
}

/** @param {Trade} trade */
function line(trade) {
  const time = make("time", { datetime: new Date(trade.time_ms).toISOString() }, timeText(trade.time_ms, 3));
  return row([trade.price, trade.quantity, make("td", {}, time)], trade.is_buyer_maker ? "sell" : "buy");
}
