/** The start of the dashboard: which page, which symbol, and who is told. The address holds all of it. */

import { INTERVALS } from "./candle_series.js";
import { Connection } from "./connection.js";
import { byId, setText } from "./dom.js";
import { Fleet } from "./fleet.js";
import { watchHealth } from "./health.js";
import { Market } from "./market.js";
import { recall, remember } from "./memory.js";
import { Picker } from "./picker.js";
import { get } from "./rest.js";
import { pressedKey, startShortcuts } from "./shortcuts.js";
import { startTheme } from "./theme.js";

const SYMBOLS_MS = 30_000;

/** @typedef {{page: string, venue: string, symbol: string, interval: string}} Place */

/** `#market/usdm/BTCUSDT/1m` @param {Place} place */
function address({ page, venue, symbol, interval }) {
  return `#${[page, venue, symbol, interval].map(encodeURIComponent).join("/")}`;
}

/** A part of the address; one that was cut off within an escape says nothing. @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

/** @returns {Place} */
function placeOfAddress() {
  const [page = "", venue = "", symbol = "", interval = ""] = location.hash.slice(1).split("/").map(decoded);
  return {
    page: page === "fleet" ? "fleet" : "market",
    venue: venue.toLowerCase() || place.venue,
    symbol: symbol.replace(/[a-z]/g, (letter) => letter.toUpperCase()) || place.symbol,
    interval: [interval, place.interval].find((name) => Object.hasOwn(INTERVALS, name)) ?? "1m",
  };
}

/** @type {Place} */
let place = { page: "market", venue: "", symbol: "", interval: recall("interval", "1m") };

/** The line to the API, and what it says of what is behind it. */
var line = { state: "connecting", detail: "" };
/** @type {import("./health.js").Health} */
var health = { state: "asking", reasons: [] };
const WORDS = { open: "live", lost: "no connection", connecting: "connecting", degraded: "degraded", down: "down", silent: "no answer" };

/** Say in the header, and where it matters on the page, what works: green only where all does. */
function showHealth() {
  const behind = /** @type {const} */ ({ asking: "connecting", unknown: "silent", degraded: "degraded", down: "down", ok: "open" });
  const shown = line.state === "open" ? behind[health.state] : line.state;
  byId("link").dataset.link = shown;
  setText(byId("link"), WORDS[/** @type {keyof typeof WORDS} */ (shown)]);
  byId("link").title = line.state === "open" ? health.reasons.join("; ") : line.detail;
  const down = health.state === "down";
  const trouble = byId("trouble");
  trouble.hidden = !(down || (health.state === "degraded" && place.page === "fleet"));
  trouble.dataset.state = health.state;
  setText(trouble, `${down ? "The fleet is down" : "Not all of it works"}: ${health.reasons.join("; ")}`);
  document.documentElement.dataset.health = health.state;
}

startTheme();
const connection = new Connection(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`, (state, detail) => {
  line = { state, detail };
  showHealth();
  market?.connected(state === "open" ? "" : detail || "connecting to the API");
});
/** @type {Market|undefined} */
var market = new Market(connection, (interval) => go({ interval }));
const fleet = new Fleet((venue, symbol) => address({ ...place, page: "market", venue, symbol }));
watchHealth((found) => {
  health = found;
  showHealth();
  market?.troubled(found.reasons);
});
const picker = new Picker((venue, symbol) => go({ venue, symbol }));

/** @param {Partial<Place>} change */
function go(change) {
  location.hash = address({ ...place, ...change });
}

function arrive() {
  place = placeOfAddress();
  const { page, venue, symbol, interval } = place;
  byId("market").hidden = page !== "market";
  byId("fleet").hidden = page !== "fleet";
  for (const name of ["market", "fleet"]) {
    const link = byId(`to-${name}`);
    link.href = address({ ...place, page: name });
    if (name === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (symbol) {
    remember("interval", interval);
    remember("symbol", `${venue}:${symbol}`);
    picker.show(venue, symbol);
    market?.choose(venue, symbol, interval);
    fleet.choose(venue, symbol);
  }
  fleet.show(page === "fleet");
  showHealth();
  if (page === "fleet") document.title = "Fleet · marketfleet";
}

/** Ask which symbols there are, again and again: symbols come and go while the fleet runs. */
async function learnSymbols() {
  try {
    const { symbols, venues } = await get("/symbols");
    market?.learn(symbols);
    picker.offer(symbols, venues.map((/** @type {any} */ one) => one.venue));
    if (!place.symbol && symbols.length) {
      const [venue, symbol] = recall("symbol", ":").split(":");
      const held = symbols.find((/** @type {any} */ one) => one.venue === venue && one.symbol === symbol);
      const first = held ?? { venue: venues[0].venue, symbol: venues[0].default_symbol };
      history.replaceState(null, "", address({ ...place, ...placeOfAddress(), venue: first.venue, symbol: first.symbol }));
      arrive();
    }
  } catch {
    // The state of the connection is shown; the list is asked for again.
  }
  setTimeout(learnSymbols, place.symbol ? SYMBOLS_MS : 2_000);
}

startShortcuts([
  { key: "/", does: "search a symbol", run: () => picker.focus() },
  { key: "[", does: "the symbol before", run: () => picker.step(-1) },
  { key: "]", does: "the symbol after", run: () => picker.step(1) },
  { key: "1 – 7", does: `interval: ${Object.keys(INTERVALS).join(" ")}`, run: () => go({ interval: Object.keys(INTERVALS)[Number(pressedKey()) - 1] }) },
  { key: ",", does: "one second back", run: () => market?.history.step(-1) },
  { key: ".", does: "one second on", run: () => market?.history.step(1) },
  { key: "l", does: "back to live", run: () => market?.history.leave() },
  { key: "h", does: "to the history slider", run: () => market?.history.focus() },
  { key: "m", does: "market page", run: () => go({ page: "market" }) },
  { key: "f", does: "fleet page", run: () => go({ page: "fleet" }) },
  { key: "t", does: "theme: auto, light, dark", run: () => byId("theme").click() },
]);
addEventListener("hashchange", arrive);
arrive();
learnSymbols();
