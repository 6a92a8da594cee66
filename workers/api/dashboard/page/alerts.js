/** Alerts as rows of a table. What rules, symbols and machines say is text, whatever it looks like. */

import { make, row } from "./dom.js";
import { momentText } from "./format.js";

/** @param {{alert: any, comment: any}} opened */
export function alertRow({ alert, comment }) {
  const market = alert.symbol ? `${alert.symbol} · ${alert.venue}` : alert.venue || "fleet";
  const about = alert.symbol === "*" ? `${alert.left_out} more` : market;
  const severity = make("span", { class: "severity", "data-severity": alert.severity }, alert.severity);
  if (alert.silenced) severity.append(" (silenced)");
  if (alert.flapping) severity.append(alert.met ? " (flapping)" : " (flapping, not met now)");
  return row([
    momentText(alert.fired_ms), make("td", {}, severity), make("th", { scope: "row" }, alert.rule), about, alert.condition,
    make("td", { class: "num" }, valueText(alert.last_value)),
    make("td", { class: "wide" }, comment ? `${comment.model}: ${comment.text}` : ""),
  ]);
}

/** @param {number | boolean | string | null} value */
function valueText(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(Number(value.toPrecision(8)));
  return value ?? "–";
}
