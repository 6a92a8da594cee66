/**
 * How many decimals the chosen symbol's prices and quantities have. An exchange may write 2803.59000000 where the tick
 * is 0.01: zeros beyond the tick are left out. A digit that is not zero is never left out.
 */

const shown = { price: Infinity, quantity: Infinity };

/**
 * Take the decimals of a symbol.
 * @param {{tick_size?: string, step_size?: string}|undefined} info undefined or empty: texts stay as they are
 * @returns {boolean} whether anything changed
 */
export function useDigitsOf(info) {
  const price = needed(info?.tick_size);
  const quantity = needed(info?.step_size);
  if (price === shown.price && quantity === shown.quantity) return false;
  shown.price = price;
  shown.quantity = quantity;
  return true;
}

/** @param {string} text */
export function priceText(text) {
  return trimmed(text, shown.price);
}

/** @param {string} text */
export function quantityText(text) {
  return trimmed(text, shown.quantity);
}

/**
 * @template {import("./candle_series.js").Bar} Kind
 * @param {Kind} bar
 * @returns {Kind}
 */
export function barTexts(bar) {
  const { open, high, low, close, volume } = bar;
  return {
    ...bar,
    open: priceText(open),
    high: priceText(high),
    low: priceText(low),
    close: priceText(close),
    volume: quantityText(volume),
  };
}

/** Decimals a step has, without its trailing zeros. @param {string|undefined} step */
function needed(step) {
  if (!step) return Infinity;
  const [, fraction = ""] = step.split(".");
  return fraction.replace(/0+$/, "").length;
}

/** @param {string} text @param {number} decimals kept in any case */
function trimmed(text, decimals) {
  const point = text.indexOf(".");
  if (point < 0) return text;
  let end = text.length;
  while (end > point + 1 + decimals && text[end - 1] === "0") end -= 1;
  return text.slice(0, end === point + 1 ? point : end);
}
