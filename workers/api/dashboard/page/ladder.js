/** The order book as a table: asks above, bids below, the best of both beside the spread. */

import { runningTotals, subtract } from "./decimal.js";
import { priceText, quantityText } from "./digits.js";
import { byId, make, setText } from "./dom.js";

export const ROWS = 20;

/** What the reasons of a withheld book mean, in a sentence. */
const MEANING = {
  gap: "An update is missing. A new snapshot has been asked for.",
  crossed: "The best bid is at or above the best ask, so one of them is wrong.",
  stale: "The stream is silent and no line to the exchange lives.",
  "stream dead": "Other streams have gone on without this one.",
  unconfirmed: "No second snapshot has agreed with the first one yet.",
  "beyond range": "The market has left the prices that the last snapshot proved.",
  "audit mismatch": "An independent snapshot had other quantities.",
  "snapshot mismatch": "Two snapshots disagree with the stream between them.",
  "ids restarted": "The exchange began to count anew.",
  waiting: "No snapshot has been joined to the stream yet.",
  confirming: "The stream has not reached the snapshot yet.",
  behind: "Its owner has not come to what the exchange sent last.",
  rebuilding: "This server is following the book anew.",
  unreadable: "What is stored of it cannot be read.",
  unknown: "It is not known what is true now.",
  "not owned": "No worker keeps the book; the fleet may have stopped.",
  unheard: "The worker that keeps the book has said nothing of it for 10 s or longer.",
  withdrawn: "Its owner has just taken it back.",
};

export class Ladder {
  constructor() {
    const table = byId("ladder");
    this.table = table;
    this.asks = rowsOf(table.querySelector(".asks"));
    this.bids = rowsOf(table.querySelector(".bids"));
    const [, spread, relative] = table.querySelector(".middle tr").children;
    this.spread = spread;
    this.relative = relative;
    this.block = byId("withheld");
  }

  /**
   * @param {import("./book.js").Levels} levels
   * @param {Map<number, {kind: string, text: string}>} [marks] what is said of prices
   */
  show(levels, marks) {
    this.block.hidden = true;
    this.table.hidden = false;
    const asks = levels.asks.slice(0, ROWS).map(levelText);
    const bids = levels.bids.slice(0, ROWS).map(levelText);
    const most = Math.max(...asks.map(quantityOf), ...bids.map(quantityOf), Number.MIN_VALUE);
    fill(this.asks.toReversed(), asks, most);
    fill(this.bids, bids, most);
    for (const cells of [...this.asks, ...this.bids]) mark(cells, marks?.get(Number(cells[0].textContent || NaN)));
    const found = spreadOf(asks, bids);
    setText(this.spread, found.absolute);
    setText(this.relative, found.relative);
  }

  /**
   * Show that the book is withheld, and why, instead of numbers.
   * @param {string} title
   * @param {string} reason
   * @param {string} [state] tells why where there is no reason
   */
  withhold(title, reason, state = "") {
    for (const cells of [...this.asks, ...this.bids]) write(cells, "", "", "", 0);
    setText(this.spread, "");
    setText(this.relative, "");
    this.table.hidden = true;
    this.block.hidden = false;
    setText(this.block.querySelector("h3"), title);
    setText(this.block.querySelector("p"), explained(reason, state));
  }
}

/**
 * The spread as price and in basis points of the mid price.
 * @param {import("./book.js").Level[]} asks
 * @param {import("./book.js").Level[]} bids
 */
export function spreadOf(asks, bids) {
  if (asks.length === 0 || bids.length === 0) return { absolute: "–", relative: "–", mid: NaN };
  const absolute = priceText(subtract(asks[0][0], bids[0][0]));
  const mid = (Number(asks[0][0]) + Number(bids[0][0])) / 2;
  return { absolute, relative: `${((Number(absolute) / mid) * 10_000).toFixed(2)} bp`, mid };
}

/** @param {string} reason @param {string} state */
function explained(reason, state) {
  const meanings = /** @type {Record<string, string>} */ (MEANING);
  const meaning = meanings[reason || state] ?? "";
  if (reason) return `Reason: ${reason}${/[.!?]$/.test(reason) ? "" : "."} ${meaning}`.trim();
  return meaning || "Its owner has not said why yet.";
}

/** @param {import("./book.js").Level} level @returns {import("./book.js").Level} */
function levelText([price, quantity]) {
  return [priceText(price), quantityText(quantity)];
}

/** @param {import("./book.js").Level} level */
function quantityOf(level) {
  return Number(level[1]);
}

/** @param {HTMLElement} body @returns {HTMLTableCellElement[][]} */
function rowsOf(body) {
  return Array.from({ length: ROWS }, () => {
    const line = make("tr", {}, make("td"), make("td"), make("td"));
    body.append(line);
    return /** @type {HTMLTableCellElement[]} */ ([...line.children]);
  });
}

/**
 * @param {HTMLTableCellElement[][]} rows best first
 * @param {import("./book.js").Level[]} levels best first
 * @param {number} most the quantity of a full bar
 */
function fill(rows, levels, most) {
  const totals = runningTotals(levels.map((level) => level[1]));
  rows.forEach((cells, index) => {
    const level = levels[index];
    if (level) write(cells, level[0], level[1], totals[index], quantityOf(level) / most);
    else write(cells, "", "", "", 0);
  });
}

/** @param {HTMLTableCellElement[]} cells @param {{kind: string, text: string}} [said] of the price */
function mark(cells, said) {
  const line = /** @type {HTMLElement} */ (cells[0].parentElement);
  const { kind, text } = said ?? { kind: "", text: "" };
  if ((line.dataset.mark ?? "") !== kind) line.dataset.mark = kind;
  if (line.title !== text) line.title = text;
}

/** @param {HTMLTableCellElement[]} cells */
function write(cells, /** @type {string} */ price, /** @type {string} */ quantity, /** @type {string} */ total, /** @type {number} */ share) {
  setText(cells[0], price);
  setText(cells[1], quantity);
  setText(cells[2], total);
  /** @type {HTMLElement} */ (cells[0].parentElement).style.setProperty("--size", `${(share * 100).toFixed(1)}%`);
}
