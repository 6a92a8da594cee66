"""Comparing two lists of trades that are in order of their ids: missing, extra, different. No I/O.

Numbers are compared as numbers (`84551.1` is `84551.10`), exactly. Memory: the examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from workers.archive.files.outcome import Outcome
from workers.model.events import Trade


class Claim(NamedTuple):
    """What a file says it holds all of; only a trade that surely lies in there can be `extra`."""

    start_ms: int
    end_ms: int
    """Trade times, the end excluded; equal ones: the file's name tells none."""
    first_id: int
    last_id: int
    """The lowest and the highest id in the file."""

    def covers(self, trade: Trade) -> bool:
        """Whether the file should hold a trade. Those of the very instant of midnight may be in either day's file."""
        if self.first_id < trade.trade_id < self.last_id and self.start_ms == self.end_ms:
            return True
        return self.start_ms < trade.trade_time < self.end_ms - 1


@dataclass
class Compared(Outcome):
    """The outcome, counted in trades."""

    not_market: int = 0
    """Rows of the file that are no trade (price or quantity 0), and are not held as one."""


class Comparison:
    """Feeds on held trades in id order and compares them with the official ones, as far as those are needed.

    Args:
        official: in id order.
        claim: what the file claims to hold all of.
        first, last: ids of the first and the last trade we have at all: what we claim to hold lies between.
    """

    def __init__(self, official: Iterable[Trade], claim: Claim, first: int, last: int) -> None:
        self.result = Compared()
        self._official = _by_id(official)
        self._claim = claim
        self._first = first
        self._last = last
        self._next: list[Trade] = []
        self._last_held = -1
        self._advance()

    def _advance(self) -> None:
        """The next id of the file: its different rows, the first one first."""
        result = self.result
        self._next = next(self._official, [])
        if not self._next:
            return
        result.official += 1
        different = self._next[:1]
        for row in self._next[1:]:
            if any(not differing(row, other) for other in different):
                result.repeated += 1
            else:
                different.append(row)
                result.note("contradictory", row.trade_id)
        self._next = different

    def held(self, trade: Trade) -> None:
        """The next trade we hold; one that was given already is passed over."""
        if trade.trade_id <= self._last_held:
            return
        self._last_held = trade.trade_id
        while self._next and self._next[0].trade_id < trade.trade_id:
            self._not_held(self._next[0])
        if not self._next or self._next[0].trade_id > trade.trade_id:
            if trade.is_market and self._claim.covers(trade):
                self.result.held += 1
                self.result.note("extra", shown(trade))
            return
        self.result.held += 1
        found = [differing(row, trade) for row in self._next]
        if all(found):
            self.result.note_different(shown(self._next[0]), shown(trade), found[0])
        else:
            self.result.equal += 1
        self._advance()

    def _not_held(self, official: Trade) -> None:
        if not (_number(official.price) and _number(official.quantity)):
            self.result.not_market += 1
        elif self._first <= official.trade_id <= self._last:
            self.result.note("missing", shown(official))
        else:
            self.result.not_held += 1
        self._advance()

    def finish(self) -> Compared:
        """All held trades were given."""
        while self._next:
            self._not_held(self._next[0])
        return self.result


def _by_id(trades: Iterable[Trade]) -> Iterator[list[Trade]]:
    for _, rows in groupby(trades, key=lambda trade: trade.trade_id):
        yield list(rows)


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
