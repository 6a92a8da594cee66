"""Entries of a log of what the exchange does not number, as its lines append them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from workers.model.events import Kind
from workers.store.log.streams import RawEntry

BOOK = "raw:{BTC-USD}:depth"
TRADES = "raw:{BTC-USD}:aggTrade"
KEPT = {BOOK: 10**12, TRADES: 10**12}
NEVER, AT_ONCE = 10**9, -1
"""How long a writer must have been silent: it has not been, or has."""
SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def change(
    number: int,
    kind: Kind = "update",
    turn: str = "t1",
    line: str = "a",
    received: int = 0,
    data: bytes = b"{}",
) -> RawEntry:
    ms = 1_000 + number
    return RawEntry(BOOK, ms, 0, data, received or 1_000 * ms, line, kind, turn, number)


def trade(name: str, ms: int, line: str = "a") -> RawEntry:
    return RawEntry(TRADES, ms, 0, name.encode(), 1_000 * ms, line, name=name)
