/** The symbol picker: an editable combobox with a list (the pattern of the ARIA Authoring Practices Guide). */

import { byId, make } from "./dom.js";
import { recall, remember } from "./memory.js";

const MOST = 100;

/** @typedef {{venue: string, symbol: string, base_asset: string, quote_asset: string}} Listed */

export class Picker {
  /** @param {(venue: string, symbol: string) => void} onChoice */
  constructor(onChoice) {
    this.onChoice = onChoice;
    this.input = byId("symbol");
    this.list = byId("symbols");
    this.venue = byId("venue");
    /** @type {Listed[]} */
    this.known = [];
    /** @type {Listed[]} */
    this.found = [];
    this.active = -1;
    /** The venue whose symbols alone are offered; empty: all. */
    this.within = recall("within", "");
    this.current = { venue: "", symbol: "" };
    this.#listen();
  }

  /** @param {Listed[]} symbols @param {string[]} venues */
  offer(symbols, venues) {
    this.known = symbols;
    this.venue.replaceChildren(make("option", { value: "" }, "All venues"), ...venues.map((name) => make("option", { value: name }, name)));
    if (!venues.includes(this.within)) this.within = "";
    this.venue.value = this.within;
    if (!this.list.hidden) this.#filter();
  }

  /** Show what is chosen, without calling back. @param {string} venue @param {string} symbol */
  show(venue, symbol) {
    this.current = { venue, symbol };
    if (this.within && this.within !== venue) this.#narrow(venue); // an address of another venue was followed
    if (document.activeElement !== this.input) this.input.value = symbol;
  }

  focus() {
    this.input.focus();
  }

  /** Choose the symbol before or after the current one. @param {1|-1} by */
  step(by) {
    const offered = this.#offered();
    if (offered.length === 0) return;
    const at = offered.findIndex((one) => one.symbol === this.current.symbol && one.venue === this.current.venue);
    const next = at < 0 && by < 0 ? offered.length - 1 : (at + by + offered.length) % offered.length;
    this.onChoice(offered[next].venue, offered[next].symbol);
  }

  /** The symbols among which is chosen. */
  #offered() {
    return this.known.filter(({ venue }) => !this.within || venue === this.within);
  }

  /** @param {string} venue the only one whose symbols are offered from now on; empty: all */
  #narrow(venue) {
    this.within = venue;
    this.venue.value = venue;
    remember("within", venue);
  }

  #listen() {
    this.input.addEventListener("focus", () => {
      this.input.select();
      this.#open("");
    });
    this.input.addEventListener("input", () => this.#open(this.input.value));
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.venue.addEventListener("change", () => {
      this.#narrow(this.venue.value);
      if (this.within && this.within !== this.current.venue) this.step(1);
    });
    this.list.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      event.preventDefault(); // the input keeps the focus
      const item = /** @type {HTMLElement} */ (event.target).closest("li[data-at]");
      if (item) this.#choose(Number(/** @type {HTMLElement} */ (item).dataset.at));
    });
    byId("picker").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const moves = /** @type {Record<string, () => void>} */ ({
      ArrowDown: () => (this.list.hidden ? this.#open("") : this.#mark(this.active + 1)),
      ArrowUp: () => this.#mark(this.active - 1),
      Enter: () => (this.list.hidden ? this.#leave() : this.#choose(Math.max(0, this.active))),
      Escape: () => this.#leave(),
    });
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  }

  /** @param {string} text */
  #open(text) {
    this.sought = text.trim().toUpperCase();
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#filter();
  }

  /** Close, and give the focus to the page: the next key is a shortcut, not a letter of a name. */
  #leave() {
    this.#close();
    byId("main").focus({ preventScroll: true });
  }

  #close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.input.value = this.current.symbol;
  }

  #filter() {
    const sought = this.sought ?? "";
    const names = (/** @type {Listed} */ one) => `${one.symbol} ${one.base_asset}/${one.quote_asset}`.toUpperCase();
    this.found = this.#offered()
      .filter((one) => names(one).includes(sought))
      .sort((a, b) => Number(b.symbol.startsWith(sought)) - Number(a.symbol.startsWith(sought)))
      .slice(0, MOST);
    this.list.replaceChildren(
      ...this.found.map((one, at) =>
        make("li", { id: `symbol-${at}`, role: "option", "data-at": String(at), "aria-selected": "false" },
          make("b", {}, one.symbol), make("span", {}, one.venue)),
      ),
    );
    if (this.found.length === 0) this.list.append(make("li", { class: "none", role: "option", "aria-disabled": "true" }, "No symbol of that name"));
    const current = this.found.findIndex((one) => one.symbol === this.current.symbol && one.venue === this.current.venue);
    this.#mark(sought ? 0 : Math.max(0, current));
  }

  /** @param {number} at */
  #mark(at) {
    if (this.found.length === 0) return;
    this.active = (at + this.found.length) % this.found.length;
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.active)));
    const item = this.list.children[this.active];
    item.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", item.id);
  }

  /** @param {number} at */
  #choose(at) {
    const chosen = this.found[at];
    if (!chosen || this.list.hidden) return;
    this.current = { venue: chosen.venue, symbol: chosen.symbol };
    this.#leave();
    this.onChoice(chosen.venue, chosen.symbol);
  }
}
