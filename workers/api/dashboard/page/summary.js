/** The line above the panels: last price, the day's figures, and whether the book can be trusted. */

import { subtract } from "./decimal.js";
import { barTexts, priceText } from "./digits.js";
import { byId, make, setText } from "./dom.js";
import { countText, durationText, momentText } from "./format.js";

export class Summary {
  constructor() {
    this.state = byId("state");
    this.lastPrice = "";
  }

  /** @param {string} venue @param {string} symbol */
  choose(venue, symbol) {
    byId("title").replaceChildren(symbol, make("small", {}, venue));
    this.lastPrice = "";
    for (const id of ["last", "spread", "change", "high", "low", "volume", "count", "trust", "audit"]) {
      this.#set(id, "–");
      byId(id).className = "";
    }
    this.sync("waiting", "waiting", "");
  }

  /** @param {"waiting"|"synced"|"withheld"|"history"} kind @param {string} name @param {string} detail */
  sync(kind, name, detail) {
    this.state.dataset.state = kind;
    setText(this.state.querySelector("b"), name);
    const remark = this.state.querySelector("span");
    remark.setAttribute("aria-hidden", String(kind === "history")); // the slider says its second itself
    setText(remark, detail);
  }

  /** The last trade; the arrow tells the direction also without colour. @param {string} price */
  last(price) {
    if (price === this.lastPrice) return;
    const rose = this.lastPrice === "" ? 0 : Number(price) - Number(this.lastPrice);
    const element = byId("last");
    setText(element, rose === 0 ? priceText(price) : `${priceText(price)} ${rose > 0 ? "▲" : "▼"}`);
    element.className = rose === 0 ? "" : rose > 0 ? "up" : "down";
    this.lastPrice = price;
  }

  /** @param {{absolute: string, relative: string}|null} found */
  spread(found) {
    this.#set("spread", found ? `${found.absolute} · ${found.relative}` : "–");
  }

  /** The open day. @param {any} given */
  day(given) {
    const bar = barTexts(given);
    const change = priceText(subtract(bar.close, bar.open));
    const share = (Number(change) / Number(bar.open)) * 100;
    const rising = Number(change) >= 0;
    this.#set("change", `${rising ? "+" : ""}${change} (${rising ? "+" : ""}${share.toFixed(2)}%)`);
    byId("change").className = rising ? "up" : "down";
    this.#set("high", bar.high);
    this.#set("low", bar.low);
    this.#set("volume", bar.volume);
    this.#set("count", countText(bar.trades_count));
  }

  /** An element of `/status`. @param {any} status */
  status(status) {
    const { trust, last_audit: audit } = status;
    this.#set("trust", [`${Math.round(trust.score * 100)}%`, ...trust.why].join(" · "));
    byId("trust").title = trust.why.join("; ");
    this.#set("audit", auditText(status));
    byId("audit").title = audit?.time_ms ? momentText(audit.time_ms) : "";
  }

  /** @param {string} id @param {string} text */
  #set(id, text) {
    setText(byId(id), text);
  }
}

/**
 * The last comparison with the exchange; without one, what there is in its place.
 * @param {any} status an element of `/status`
 */
export function auditText({ last_audit: audit, second_source: source, checksums }) {
  if (!audit && source === "checksum") return checksums.of ? `${countText(checksums.ok)} of ${countText(checksums.of)} checksums` : "no checksum yet";
  if (!audit) return source === "rest" ? "none yet" : source === "in band" ? "none: whole books in the stream" : "none: nothing to compare with";
  return audit.time_ms ? `${audit.outcome}, ${durationText(Date.now() - audit.time_ms)} ago` : audit.outcome;
}
