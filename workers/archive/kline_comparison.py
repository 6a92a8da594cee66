"""Comparing the bars held with an official file of klines. No I/O; numbers are compared as numbers, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

EXAMPLES: Final = 10
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
class ComparedKlines:
    """The outcome, counted in windows."""

    official: int = 0
    held: int = 0
    equal: int = 0
    missing: int = 0
    """In the file with volume, between the first and the last window we have, and not held."""
    extra: int = 0
    """Held within the file's windows, and not in the file."""
    different: int = 0
    incomplete: int = 0
    """Held as incomplete: what they lack is known, so they are not compared."""
    empty: int = 0
    """Windows of the file without a trade: nothing is held of those."""
    not_held: int = 0
    """In the file, but before the first or after the last window we have."""
    repeated: int = 0
    contradictory: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def differences(self) -> int:
        """What keeps the two from being the same."""
        return self.missing + self.extra + self.different + self.contradictory

    def note(self, what: str, example: Any) -> None:
        """Count something and keep the first examples of it."""
        setattr(self, what, getattr(self, what) + 1)
        kept = self.examples.setdefault(what, [])
        if len(kept) < EXAMPLES:
            kept.append(example)


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
            for name in fields:
                result.fields[name] = result.fields.get(name, 0) + 1
            result.note("different", {"official": kline._asdict(), "held": ours._asdict(), "fields": fields})
        else:
            result.equal += 1
    for start in sorted(held):
        if by_start and min(by_start) < start < max(by_start) and start not in by_start:
            result.held += 1
            result.note("extra", held[start]._asdict())
    return result
