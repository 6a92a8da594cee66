/** The best levels of one book, kept from snapshots and diffs. */

/**
 * @typedef {[string, string]} Level price and quantity, the exchange's own text
 * @typedef {{bids: Level[], asks: Level[], updateId: number, eventMs: number, low: number, high: number}} Levels
 */

/** Books in these states are in sync: the reason that is told beside them is that of an earlier loss. */
const IN_SYNC = new Set(["unconfirmed", "crossed", "behind", "stale", "beyond range"]);

/** Why a book is withheld now, as far as its owner says; empty: its state says all. @param {string} state @param {string} reason */
export function reasonOf(state, reason) {
  return IN_SYNC.has(state) && reason !== "stream dead" ? "" : reason;
}

export class Book {
  constructor() {
    /** @type {Levels|null} null: nothing that may be shown */
    this.levels = null;
  }

  clear() {
    this.levels = null;
  }

  /**
   * Apply a message of the `book` channel.
   * @param {any} message
   * @returns {"changed"|"withheld"|"resync"|"waiting"} `resync`: the message does not follow on what is held, a
   *   snapshot is needed; `waiting`: that snapshot has not come yet
   */
  apply(message) {
    if (message.type === "withheld") {
      this.levels = null;
      return "withheld";
    }
    if (message.type === "diff") {
      if (this.levels === null) return "waiting";
      if (message.prev_u !== this.levels.updateId) {
        this.levels = null;
        return "resync";
      }
      this.levels.bids = merged(this.levels.bids, message.b, -1);
      this.levels.asks = merged(this.levels.asks, message.a, 1);
    } else {
      this.levels = { bids: message.b, asks: message.a, updateId: 0, eventMs: 0, low: 0, high: Infinity };
    }
    this.levels.updateId = message.u;
    this.levels.eventMs = message.E;
    if (message.known_low !== undefined) this.levels.low = Number(message.known_low);
    if (message.known_high !== undefined) this.levels.high = boundary(message.known_high);
    return "changed";
  }
}

/**
 * An upper end of a known range: `inf` or nothing means to the end.
 * @param {string|number|null} value
 */
export function boundary(value) {
  return value === null || value === undefined || value === "inf" ? Infinity : Number(value);
}

/**
 * @param {Level[]} held best first
 * @param {Level[]} changes quantity zero deletes
 * @param {1|-1} order 1: ascending prices
 * @returns {Level[]}
 */
function merged(held, changes, order) {
  if (changes.length === 0) return held;
  const found = new Map(held.map((level) => [Number(level[0]), level]));
  for (const [price, quantity] of changes) {
    if (Number(quantity) === 0) found.delete(Number(price));
    else found.set(Number(price), [price, quantity]);
  }
  return [...found.entries()].sort((a, b) => order * (a[0] - b[0])).map((entry) => entry[1]);
}
