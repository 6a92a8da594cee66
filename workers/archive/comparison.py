"""Comparing two lists of trades that are in order of their ids: missing, extra, different. No I/O.

Numbers are compared as numbers (`84551.1` is `84551.10`), exactly. Memory: the examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from workers.model.events import Trade

EXAMPLES: Final = 10


@dataclass
class Compared:
    """The outcome; ids of examples are the first that came up."""

    official: int = 0
    """Different ids in the official file."""
    held: int = 0
    """Different ids held within the file's period and our range."""
    equal: int = 0
    missing: int = 0
    """In the file, within our range, and not held."""
    extra: int = 0
    """Held, and not in the file."""
    different: int = 0
    not_held: int = 0
    """In the file, but before the first or after the last trade we have at all."""
    repeated: int = 0
    """Rows of the file that repeat an earlier one."""
    contradictory: int = 0
    """Rows of the file with the id of an earlier one and other content."""
    unordered: int = 0
    """Rows so far behind their place that they could not be compared."""
    fields: dict[str, int] = field(default_factory=dict)
    """How often each field differs."""
    examples: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def differences(self) -> int:
        """What keeps the two from being the same."""
        return self.missing + self.extra + self.different + self.contradictory + self.unordered

    def note(self, what: str, example: Any) -> None:
        """Count something and keep the first examples of it."""
        setattr(self, what, getattr(self, what) + 1)
        kept = self.examples.setdefault(what, [])
        if len(kept) < EXAMPLES:
            kept.append(example)


class Comparison:
    """Feeds on held trades in id order and compares them with the official ones, as far as those are needed.

    Args:
        official: in id order.
        first, last: ids of the first and the last trade we have at all: what we claim to hold lies between.
    """

    def __init__(self, official: Iterator[Trade], first: int, last: int) -> None:
        self.result = Compared()
        self._official = official
        self._first = first
        self._last = last
        self._next: Trade | None = None
        self._previous: Trade | None = None
        self._last_held = -1
        self._advance()

    def _advance(self) -> None:
        result = self.result
        for trade in self._official:
            previous = self._previous
            if previous is None or trade.trade_id > previous.trade_id:
                self._previous = self._next = trade
                result.official += 1
                return
            if trade.trade_id < previous.trade_id:
                result.note("unordered", trade.trade_id)
            elif differing(previous, trade):
                result.note("contradictory", trade.trade_id)
            else:
                result.repeated += 1
        self._next = None

    def held(self, trade: Trade) -> None:
        """The next trade we hold; one that was given already is passed over."""
        if trade.trade_id <= self._last_held:
            return
        self._last_held = trade.trade_id
        self.result.held += 1
        while self._next is not None and self._next.trade_id < trade.trade_id:
            self._not_held(self._next)
        official = self._next
        if official is None or official.trade_id > trade.trade_id:
            self.result.note("extra", shown(trade))
            return
        fields = differing(official, trade)
        if fields:
            for name in fields:
                self.result.fields[name] = self.result.fields.get(name, 0) + 1
            self.result.note(
                "different", {"official": shown(official), "held": shown(trade), "fields": fields}
            )
        else:
            self.result.equal += 1
        self._advance()

    def _not_held(self, official: Trade) -> None:
        if self._first <= official.trade_id <= self._last:
            self.result.note("missing", shown(official))
        else:
            self.result.not_held += 1
        self._advance()

    def finish(self) -> Compared:
        """All held trades were given."""
        while self._next is not None:
            self._not_held(self._next)
        return self.result


def differing(one: Trade, other: Trade) -> list[str]:
    """The names of the fields in which two trades of one id differ."""
    found = [
        name
        for name in ("first_trade_id", "last_trade_id", "trade_time", "is_buyer_maker")
        if getattr(one, name) != getattr(other, name)
    ]
    if one.price != other.price and _number(one.price) != _number(other.price):
        found.append("price")
    if one.quantity != other.quantity and _number(one.quantity) != _number(other.quantity):
        found.append("quantity")
    return found


@lru_cache(1 << 14)
def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return text


def shown(trade: Trade) -> dict[str, Any]:
    """A trade for a report."""
    return {
        "agg_trade_id": trade.trade_id,
        "price": trade.price,
        "quantity": trade.quantity,
        "first_trade_id": trade.first_trade_id,
        "last_trade_id": trade.last_trade_id,
        "trade_time": trade.trade_time,
        "is_buyer_maker": trade.is_buyer_maker,
    }
