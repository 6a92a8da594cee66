/** Exact arithmetic on decimals written as text, as the API sends them. Numbers of JavaScript would round them. */

/**
 * Decimals behind the point.
 * @param {string} text
 */
export function decimalsOf(text) {
  const point = text.indexOf(".");
  return point < 0 ? 0 : text.length - point - 1;
}

/**
 * The integer `text × 10^decimals`; digits beyond are cut off.
 * @param {string} text
 * @param {number} decimals
 * @returns {bigint}
 */
export function scaled(text, decimals) {
  const negative = text.startsWith("-");
  const [whole, fraction = ""] = (negative ? text.slice(1) : text).split(".");
  const value = BigInt(whole + fraction.slice(0, decimals).padEnd(decimals, "0"));
  return negative ? -value : value;
}

/**
 * The text of `value / 10^decimals`, with exactly that many decimals.
 * @param {bigint} value
 * @param {number} decimals
 */
export function unscaled(value, decimals) {
  const digits = (value < 0n ? -value : value).toString().padStart(decimals + 1, "0");
  const sign = value < 0n ? "-" : "";
  if (decimals === 0) return sign + digits;
  return `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}

/**
 * `a - b`, exactly.
 * @param {string} a
 * @param {string} b
 */
export function subtract(a, b) {
  const decimals = Math.max(decimalsOf(a), decimalsOf(b));
  return unscaled(scaled(a, decimals) - scaled(b, decimals), decimals);
}

/**
 * Running sums of quantities, each with the decimals of the finest one.
 * @param {string[]} quantities
 * @returns {string[]}
 */
export function runningTotals(quantities) {
  const decimals = Math.max(0, ...quantities.map(decimalsOf));
  let sum = 0n;
  return quantities.map((quantity) => unscaled((sum += scaled(quantity, decimals)), decimals));
}
