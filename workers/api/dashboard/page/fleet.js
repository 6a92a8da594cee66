/** The fleet page: workers, symbols with their lag, gaps, audits, and the memory of Redis. */

import { reasonOf } from "./book.js";
import { byId, make, row, setText } from "./dom.js";
import { bytesText, countText, durationText, momentText } from "./format.js";
import { get } from "./rest.js";
import { auditText } from "./summary.js";
import { alertRow } from "./alerts.js";

const RENEW_MS = 2_000;
const ROWS = 50;
const OWN = new Set(["name", "role", "pid", "metrics", "beat_ms"]);

export class Fleet {
  /** @param {(venue: string, symbol: string) => string} linkTo the address of a symbol's market page */
  constructor(linkTo) {
    this.linkTo = linkTo;
    this.venue = "";
    this.symbol = "";
    this.shown = false;
    this.cards = byId("cards");
    this.trouble = byId("fleet-trouble");
    setInterval(() => this.shown && !document.hidden && this.#renew(), RENEW_MS);
  }

  /** @param {string} venue @param {string} symbol */
  choose(venue, symbol) {
    this.venue = venue;
    this.symbol = symbol;
    if (this.shown) this.#renew();
  }

  /** @param {boolean} shown */
  show(shown) {
    this.shown = shown;
    if (shown) this.#renew();
  }

  async #renew() {
    const query = { venue: this.venue || undefined, symbol: this.symbol || undefined, limit: ROWS };
    const [status, gaps, audits, alerts] = await Promise.allSettled([
      get("/status", {}, soon()), get("/gaps", query, soon()), get("/audits", query, soon()), get("/alerts", { limit: 1 }, soon()),
    ]);
    if (status.status === "fulfilled") {
      this.#cards(status.value);
      this.#workers(status.value.fleet.workers);
      this.#books(status.value.symbols);
    }
    this.trouble.hidden = status.status === "fulfilled";
    byId("fleet").classList.toggle("old", status.status === "rejected");
    if (status.status === "rejected") setText(this.trouble, `These values are old. ${messageOf(status.reason)}`);
    showAlerts(alerts);
    const name = this.symbol ? `${this.symbol} · ${this.venue}` : "";
    setText(byId("gaps-note"), gaps.status === "rejected" ? messageOf(gaps.reason) : name);
    setText(byId("audits-note"), audits.status === "rejected" ? messageOf(audits.reason) : name);
    fill("gaps", gaps.status === "fulfilled" ? gaps.value.gaps.map(gapRow) : [], "no hole was seen");
    fill("audits", audits.status === "fulfilled" ? audits.value.audits.map(auditRow) : [], "no audit yet");
  }

  /** @param {any} status */
  #cards({ fleet, symbols }) {
    const synced = symbols.filter((/** @type {any} */ one) => one.state === "synced").length;
    const missing = total(symbols, (one) => one.trades.missing);
    const waiting = total(symbols, (one) => one.lag.depth.waiting + one.lag.trades.waiting);
    const lines = fleet.workers.filter((/** @type {any} */ one) => one.role.startsWith("ingest"));
    const names = [...new Set(lines.map((/** @type {any} */ one) => one.role.slice(-1)))];
    const keeper = fleet.workers.find((/** @type {any} */ one) => one.role === "keeper") ?? {};
    const { used_memory: used, maxmemory: most, version } = fleet.redis;
    const bad = Number(keeper.audits_mismatch ?? 0);
    const venues = [...new Set(symbols.map((/** @type {any} */ one) => one.venue))];
    const away = venues.filter((venue) => symbols.some((/** @type {any} */ one) => one.venue === venue && !one.is_connected));
    this.cards.replaceChildren(
      card("Books in sync", `${synced} of ${symbols.length}`, synced < symbols.length ? "the others are withheld" : "all shown", synced < symbols.length, synced === 0),
      card("Exchange", away.length ? "away" : "connected", away.length ? `no living sockets to ${away.join(", ")}` : venues.join(", "), away.length > 0, away.length === venues.length),
      card("Lines", names.join(" + ") || "none", `${lines.length > names.length ? `${lines.length} processes, ` : ""}${countText(total(lines, (one) => one.appended))} entries appended`, names.length < 2 || names.some((name) => isPartial(lines, name))),
      card("Workers", String(fleet.workers.length), `in ${new Set(fleet.workers.map((/** @type {any} */ one) => one.role)).size} roles`, fleet.workers.length === 0),
      card("Lag", waiting === 1 ? "1 entry" : `${countText(waiting)} entries`, "waiting for the folds", waiting > 1000),
      card("Gaps", countText(total(symbols, (one) => one.gap_count)), `${countText(missing)} trades missing`, missing > 0),
      card("Audits", `${countText(Number(keeper.audits_match ?? 0))} match`, `${countText(bad)} mismatch`, bad > 0),
      this.#memory(used, most, version),
    );
  }

  /** @param {number} used @param {number} most bytes; 0: no limit @param {string} version */
  #memory(used, most, version) {
    const made = card("Redis memory", bytesText(used), most ? `of ${bytesText(most)}, version ${version}` : `no limit, version ${version}`, most > 0 && used > most * 0.8);
    if (most > 0) made.append(make("dd", {}, make("meter", { min: "0", max: String(most), high: String(most * 0.8), value: String(used), "aria-label": "Redis memory used" })));
    return made;
  }

  /** @param {Record<string, string|number>[]} workers */
  #workers(workers) {
    fill("workers", workers.map((worker) => {
      const told = Object.entries(worker).filter(([name, value]) => !OWN.has(name) && value !== "");
      const doing = told.map(([name, value]) => detailText(name, value)).join(" · ");
      return row([
        make("th", { scope: "row" }, worker.role), String(worker.name), String(worker.pid ?? "–"),
        `${durationText(Date.now() - Number(worker.beat_ms))} ago`, make("td", { class: "wide" }, doing),
      ]);
    }), "no worker lives");
  }

  /** @param {any[]} symbols */
  #books(symbols) {
    fill("books", symbols.map((one) => {
      const synced = one.state === "synced";
      const state = make("span", { class: "state", "data-state": synced && one.is_connected ? "synced" : one.state === "waiting" ? "waiting" : "withheld" }, make("b", {}, one.state));
      const reason = reasonOf(one.state, one.reason);
      if (!synced && reason) state.append(make("span", {}, reason));
      else if (!one.is_connected) state.append(make("span", {}, "no living sockets"));
      const number = (/** @type {string} */ text) => make("td", { class: "num" }, text);
      return row([
        make("th", { scope: "row" }, make("a", { href: this.linkTo(one.venue, one.symbol) }, one.symbol)),
        one.venue, make("td", {}, state), number(`${Math.round(one.trust.score * 100)}%`), number(durationText(one.age_ms)),
        number(countText(one.bids_count)), number(countText(one.asks_count)), number(countText(one.gap_count)),
        number(countText(one.lag.depth.waiting)), number(countText(one.lag.trades.waiting)),
        number(countText(one.trades.missing)), number(countText(one.history_count)), auditText(one),
        make("td", { class: "wide" }, one.trust.why.join("; ")), one.owner ?? "nobody",
      ]);
    }), "no symbol is followed");
  }
}

/** The open alerts, or why they are not known. @param {PromiseSettledResult<any>} alerts */
function showAlerts(alerts) {
  const known = alerts.status === "fulfilled";
  const { owner, open, left_out: more } = known ? alerts.value : { owner: "", open: [], left_out: 0 };
  const count = `${open.length} open${more ? `, and ${more} more without an alert of their own` : ""}`;
  setText(byId("alerts-note"), known ? (owner ? count : "no rules are set, or no worker looks") : messageOf(alerts.reason));
  fill("alerts", open.map(alertRow), known ? "no alert is open" : "not known");
}

/** An answer that takes longer than the next question is none. */
function soon() {
  return AbortSignal.timeout(RENEW_MS - 100);
}

/** @param {any} error */
function messageOf(error) {
  return error?.name === "TimeoutError" ? "No answer: the API, or Redis behind it, takes too long" : error.message;
}

/** @param {any[]} items @param {(item: any) => number} value */
function total(items, value) {
  return items.reduce((sum, item) => sum + Number(value(item) ?? 0), 0);
}

/** @param {string} title @param {string} value @param {string} remark @param {boolean} warned @param {boolean} [bad] */
function card(title, value, remark, warned, bad = false) {
  return make("div", warned ? { class: bad ? "bad" : "warn" } : {}, make("dt", {}, title), make("dd", {}, value), make("dd", {}, remark));
}

/** Fill a table unless somebody selects text in it, or walks through it: it grows old meanwhile, and is grey. @param {string} id @param {Element[]} rows @param {string} none */
function fill(id, rows, none) {
  const table = byId(id);
  const body = table.tBodies[0];
  const inUse = body.contains(document.activeElement) || selectionIn(body);
  table.classList.toggle("old", inUse);
  if (inUse) return;
  if (rows.length) body.replaceChildren(...rows);
  else body.replaceChildren(row([make("td", { colspan: String(table.tHead.rows[0].cells.length) }, none)], "empty"));
}

/** @param {Node} body */
function selectionIn(body) {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && body.contains(selection.anchorNode);
}

/** @param {any} gap */
function gapRow(gap) {
  return row([momentText(gap.time_ms), gap.channel, String(gap.first), String(gap.last), gap.reason, gap.repaired]);
}

/** @param {any} audit */
function auditRow(audit) {
  return row([
    momentText(audit.time_ms), audit.outcome, make("td", { class: "num" }, countText(audit.compared)),
    make("td", { class: "num" }, countText(audit.differing)), [audit.reason, audit.differences].filter(Boolean).join(": "),
  ]);
}

/**
 * Whether a line lacks one of its processes.
 * @param {any[]} lines heartbeats
 * @param {string} name
 */
function isPartial(lines, name) {
  const parts = lines.filter((one) => one.role.endsWith(`-${name}`));
  return parts.length < Math.max(...parts.map((one) => Number(one.processes ?? 1)));
}

/**
 * A field of a heartbeat for people: a time is a time, a large count has its commas.
 * @param {string} name
 * @param {string | number} value
 */
function detailText(name, value) {
  if (name.endsWith("_ms") && /^\d{13}$/.test(String(value))) return `${name.slice(0, -3).replaceAll("_", " ")} ${momentText(Number(value))}`;
  return `${name.replaceAll("_", " ")} ${/^\d{5,}$/.test(String(value)) ? countText(value) : value}`;
}
