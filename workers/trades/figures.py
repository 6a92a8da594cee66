"""How exact and how current the trades of each owned symbol are, as metrics of the symbol and of its windows.

The labels of a symbol go when the symbol does. A symbol's counters are of this worker and begin anew with every
takeover; what a fleet needs is their sum.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import Counter, Gauge

from workers.model.trades.fold import Applied
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.ownership import Claim
from workers.store.trades.fold import TradeStore, WindowFigures

SEEN = Counter(
    "fleet_symbol_trades_seen_total",
    "Trades this worker folded: from the stream or over REST",
    ["venue", "symbol"],
)
MISSING = Counter(
    "fleet_symbol_trades_missing_total", "Trades of a symbol the exchange did not give", ["venue", "symbol"]
)
REPAIRED = Counter(
    "fleet_symbol_trades_repaired_total", "Trades of a symbol filled in over REST", ["venue", "symbol"]
)
DOUBLED = Counter(
    "fleet_symbol_trades_doubled_total",
    "Trades of a symbol that came again and changed nothing",
    ["venue", "symbol"],
)
LATE = Counter(
    "fleet_symbol_trades_late_total",
    "Trades of a symbol that came after one of their windows was over",
    ["venue", "symbol"],
)
RATE = Gauge(
    "fleet_symbol_trades_per_second", "Trades folded a second, over the last seconds", ["venue", "symbol"]
)
HOLE_OPEN = Gauge(
    "fleet_trade_hole_open_seconds",
    "How long the hole at which the trades of a symbol stand has been open; 0: there is none",
    ["venue", "symbol"],
)
LAG = Gauge(
    "fleet_window_lag_seconds",
    "How long the open window has been over without being closed; 0: it is not over, or it is closed",
    ["venue", "symbol", "interval"],
)
WINDOW_TRADES = Gauge("fleet_window_trades", "Trades in the newest window", ["venue", "symbol", "interval"])
WINDOW_MISSING = Gauge(
    "fleet_window_missing",
    "Ids between the first and the last of the newest window that are not in it",
    ["venue", "symbol", "interval"],
)
WINDOW_COMPLETE = Gauge(
    "fleet_window_complete",
    "1: no trade of the newest window is known to be missing",
    ["venue", "symbol", "interval"],
)

UNREADABLE = Counter("fleet_figures_unreadable_total", "Times the windows could not be read", ["venue"])

_OF_SYMBOLS: Final = (SEEN, MISSING, REPAIRED, DOUBLED, LATE, RATE, HOLE_OPEN)
_OF_WINDOWS: Final = (LAG, WINDOW_TRADES, WINDOW_MISSING, WINDOW_COMPLETE)


def lag_s(window: WindowFigures, length_ms: int, now_ms: int) -> float:
    """How long the window has been over without being closed, seconds."""
    if window.closed:
        return 0.0
    return max(0, now_ms - window.start - length_ms) / 1000


class SymbolFigures:
    """The figures of one owned symbol: show them with `refresh`, end with `remove`.

    Args:
        claim: the symbol.
    """

    def __init__(self, claim: Claim) -> None:
        self._labels = (claim.context.name, claim.symbol)
        self._seen, self._missing, self._repaired, self._doubled, self._late = (
            counter.labels(*self._labels) for counter in (SEEN, MISSING, REPAIRED, DOUBLED, LATE)
        )
        self._rate = RATE.labels(*self._labels)
        self._hole_open = HOLE_OPEN.labels(*self._labels)
        self._hole_since: float | None = None
        self._folded = 0
        self._folded_before = 0
        self._since = time.monotonic()
        self._removed = False

    def applied(self, result: Applied) -> None:
        """Count what became of a batch."""
        folded = result.applied + result.not_market
        self._folded += folded
        self._seen.inc(folded)
        if result.repeated:
            self._doubled.inc(result.repeated)
        if result.late:
            self._late.inc(result.late)

    def repaired(self, trades: int) -> None:
        """Count trades that were filled in."""
        self._repaired.inc(trades)

    def missing(self, trades: int) -> None:
        """Count trades that will never come."""
        self._missing.inc(trades)

    def hole(self, *, is_open: bool) -> None:
        """A hole was come upon, or is filled."""
        self._hole_since = time.monotonic() if is_open else None

    def refresh(self, windows: Mapping[str, WindowFigures], now_ms: int | None) -> None:
        """Show the rate since the last call, and the newest window of each interval.

        Args:
            windows: by interval; those that never were are left out.
            now_ms: the exchange's time; None while it is not known, and the lag is not shown.
        """
        if self._removed:
            return
        now = time.monotonic()
        self._rate.set((self._folded - self._folded_before) / max(now - self._since, 1e-3))
        self._folded_before, self._since = self._folded, now
        self._hole_open.set(now - self._hole_since if self._hole_since is not None else 0.0)
        for interval, window in windows.items():
            labels = (*self._labels, interval)
            if now_ms is not None:
                LAG.labels(*labels).set(lag_s(window, INTERVALS_MS[interval], now_ms))
            WINDOW_TRADES.labels(*labels).set(window.trades)
            WINDOW_MISSING.labels(*labels).set(window.missing)
            WINDOW_COMPLETE.labels(*labels).set(window.complete)

    def remove(self) -> None:
        """Take the symbol's labels away; nothing is shown of it afterwards."""
        self._removed = True
        for metric in _OF_SYMBOLS:
            metric.remove(*self._labels)
        for metric in _OF_WINDOWS:
            metric.remove_by_labels({"venue": self._labels[0], "symbol": self._labels[1]})


async def refresh(store: TradeStore, figures: Mapping[str, SymbolFigures], now_ms: int | None) -> None:
    """Show the figures of one venue's symbols. Cost: one round trip for every hundred symbols.

    Raises:
        RedisError: Redis went away.
    """
    names: Sequence[str] = list(figures)
    for at in range(0, len(names), 100):
        for symbol, windows in (await store.windows(names[at : at + 100])).items():
            figures[symbol].refresh(windows, now_ms)
