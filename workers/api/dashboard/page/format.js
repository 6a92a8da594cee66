/** Times, durations and sizes as text. All times are UTC, as in the keys and the API. */

const two = (/** @type {number} */ value) => String(value).padStart(2, "0");

/** `2026-11-25` @param {number} ms */
export function dateText(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

/** `01:22:33`, with `parts` = 3 decimals `01:22:33.123` @param {number} ms @param {number} [parts] */
export function timeText(ms, parts = 0) {
  const text = new Date(ms).toISOString().slice(11, 23);
  return parts ? text : text.slice(0, 8);
}

/** `2026-11-25 01:22:33` @param {number} ms */
export function momentText(ms) {
  return `${dateText(ms)} ${timeText(ms)}`;
}

/**
 * A label of a time axis: as fine as the step between two labels needs it.
 * @param {number} ms
 * @param {number} stepMs
 */
export function tickText(ms, stepMs) {
  const at = new Date(ms);
  if (stepMs >= 86_400_000) return `${at.toISOString().slice(8, 10)} ${MONTHS[at.getUTCMonth()]}`;
  if (ms % 86_400_000 === 0) return `${two(at.getUTCDate())} ${MONTHS[at.getUTCMonth()]}`;
  if (stepMs >= 60_000) return timeText(ms).slice(0, 5);
  return stepMs >= 1000 ? timeText(ms) : timeText(ms, 3).slice(0, 10);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `340 ms`, `12 s`, `5 min`, `3 h` @param {number|null|undefined} ms */
export function durationText(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}

/** `12.3 MB` @param {number|null|undefined} bytes */
export function bytesText(bytes) {
  if (bytes === null || bytes === undefined || !Number.isFinite(bytes)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Whole numbers in groups of three @param {number|string|null|undefined} value */
export function countText(value) {
  return value === null || value === undefined || value === "" ? "–" : Number(value).toLocaleString("en-US");
}

/** `12.3k`, `4.56M` for axes @param {number} value */
export function shortText(value) {
  const size = Math.abs(value);
  for (const [limit, unit] of /** @type {[number, string][]} */ ([[1e9, "B"], [1e6, "M"], [1e3, "k"]])) {
    if (size >= limit) return `${Number((value / limit).toPrecision(3))}${unit}`;
  }
  return String(Number(value.toPrecision(3)));
}
