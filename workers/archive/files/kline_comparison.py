"""Comparing the bars held with an official file of klines. No I/O; numbers are compared as numbers, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from workers.archive.files.outcome import Outcome

COMPARED: Final = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume")


class Kline(NamedTuple):
    """One window; numbers as text, `start` in ms."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    buy_volume: str
    complete: bool = True


@dataclass
class ComparedKlines(Outcome):
    """The outcome, counted in windows."""

    incomplete: int = 0
    """Held as incomplete: what they lack is known, so they are not compared."""
    empty: int = 0
    """Windows of the file without a trade: nothing is held of those."""


def differing(one: Kline, other: Kline) -> list[str]:
    """The names of the numbers that differ. Raises: decimal.InvalidOperation."""
    return [name for name in COMPARED if Decimal(getattr(one, name)) != Decimal(getattr(other, name))]


def compare_klines(official: Iterable[Kline], held: Mapping[int, Kline]) -> ComparedKlines:
    """Compare a file's windows with those held by start. Memory: the file's windows."""
    result, by_start = ComparedKlines(), dict[int, Kline]()
    for kline in official:
        known = by_start.setdefault(kline.start, kline)
        if known is not kline:
            if differing(known, kline):
                result.note("contradictory", kline.start)
            else:
                result.repeated += 1
    result.official = len(by_start)
    first, last = min(held, default=0), max(held, default=-1)
    for start in sorted(by_start):
        kline, ours = by_start[start], held.get(start)
        if ours is None:
            if not Decimal(kline.volume):
                result.empty += 1
            elif first <= start <= last:
                result.note("missing", kline._asdict())
            else:
                result.not_held += 1
            continue
        result.held += 1
        if not ours.complete:
            result.incomplete += 1
        elif fields := differing(kline, ours):
            result.note_different(kline._asdict(), ours._asdict(), fields)
        else:
            result.equal += 1
    for start in sorted(held):
        if by_start and min(by_start) < start < max(by_start) and start not in by_start:
            result.held += 1
            result.note("extra", held[start]._asdict())
    return result
