"""What a rule may watch: each value by name, where it is read, and whether it is a number, a yes or no, a word, or
something that happens.

`SIGNALS` has those with a name of their own; a `FAMILIES` name and a field reach everything else that a hash or a
stream of a symbol serves: `stats.1m.volume`, `derivatives.funding_rate`, `book.levels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Final, Literal, NamedTuple

from workers.model.trades.windows import INTERVALS_MS

Value = float | bool | str | None
"""What is known of a signal: a number, whether it is so, or a word; None: nothing is known now."""
Kind = Literal["number", "flag", "word", "event"]
Scope = Literal["symbol", "venue", "fleet"]
"""What a signal is told of: each symbol, each venue, or the whole fleet."""


class Source(Enum):
    """Where signals are read; what no rule needs is not read."""

    SHOWN = "LIVE_ORDERBOOK"
    STATUS = "book:{S}:status"
    TRADES_STATUS = "trades:{S}:status"
    TRADES_STATE = "trades:{S}:state"
    DEPTH_GROUP = "raw:{S}:depth, group books"
    TRADES_GROUP = "raw:{S}:aggTrade, group trades"
    STATS = "stats:{S}:<interval>"
    DERIVATIVES = "derivatives:{S}"
    GAPS = "gaps:{S}"
    AUDITS = "audit:{S}"
    LIQUIDATIONS = "liquidations:{S}"
    ORDERS_STATUS = "orders:{S}:status"
    ANALYTICS = "analytics:{S}"
    ANALYTICS_EVENTS = "analytics:{S}:events"
    WORKERS = "fleet:workers:<role>"


STREAMS: Final = (Source.GAPS, Source.AUDITS, Source.LIQUIDATIONS, Source.ANALYTICS_EVENTS)
"""Those whose new entries are what happens."""


class Signal(NamedTuple):
    """One thing that a rule may watch."""

    name: str
    kind: Kind
    source: Source
    scope: Scope = "symbol"
    field: str = ""
    """In a hash or an entry: which field, where the name says one."""
    interval: str = ""
    """Of `stats`."""


def _of(source: Source, kind: Kind, *names: str, scope: Scope = "symbol") -> dict[str, Signal]:
    return {name: Signal(name, kind, source, scope) for name in names}


SIGNALS: Final[Mapping[str, Signal]] = {
    **_of(Source.SHOWN, "number", "spread", "spread_bps", "mid", "best_bid", "best_ask", "shown_age_ms"),
    **_of(Source.SHOWN, "flag", "withheld"),
    **_of(Source.STATUS, "number", "stale_ms", "behind_ms", "unheard_ms"),
    **_of(Source.STATUS, "word", "book_state"),
    **_of(Source.TRADES_STATUS, "flag", "trades_halted"),
    **_of(Source.DEPTH_GROUP, "number", "depth_waiting"),
    **_of(Source.TRADES_GROUP, "number", "trades_waiting"),
    **_of(Source.GAPS, "event", "gap", "missing_trades"),
    **_of(Source.AUDITS, "event", "audit_mismatch"),
    **_of(Source.LIQUIDATIONS, "event", "liquidation"),
    **_of(
        Source.ANALYTICS_EVENTS, "event", "wall_appeared", "wall_eaten", "iceberg_found", "iceberg_confirmed"
    ),
    **_of(Source.WORKERS, "flag", "feed_silent", scope="venue"),
    **_of(Source.WORKERS, "number", "lines_alive", scope="venue"),
    **_of(Source.WORKERS, "number", "redis_memory_mb", scope="fleet"),
}
FAMILIES: Final[Mapping[str, Source]] = {
    "book": Source.STATUS,
    "trades": Source.TRADES_STATE,
    "stats": Source.STATS,
    "derivatives": Source.DERIVATIVES,
    "orders": Source.ORDERS_STATUS,
    "analytics": Source.ANALYTICS,
    "workers": Source.WORKERS,
}


def signal_of(name: str, *, word: bool = False) -> Signal | None:
    """The signal of a name; None: there is none.

    Args:
        word: of a family, whether it is compared with a word.
    """
    if name in SIGNALS:
        return SIGNALS[name]
    family, _, field = name.partition(".")
    if family not in FAMILIES or not field:
        return None
    source = FAMILIES[family]
    kind: Kind = "word" if word else "number"
    if family == "workers":
        return Signal(name, "number", source, "fleet", field)
    if family == "stats":
        interval, _, field = field.partition(".")
        return Signal(name, kind, source, field=field, interval=interval) if (
            interval in INTERVALS_MS and field
        ) else None  # fmt: skip
    return Signal(name, kind, source, field=field)


def near(name: str) -> str:
    """The name of a signal that may have been meant; empty: none is like it."""
    names = [*SIGNALS, *(f"{family}." for family in FAMILIES)]
    return next(iter(get_close_matches(name, names, 1, 0.6)), "")
