"""A small deterministic market for the model level: the truth at every update id, and the messages that tell it.

Prices are counted in hundredths and quantities in thousandths; the messages have the wire form of Binance.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

Rule = Literal["spot", "futures"]
RULES: Final[tuple[Rule, ...]] = ("spot", "futures")
"""How events chain: contiguous ids, or ids with holes and `pu`."""

Ticks = dict[int, int]

BEGIN_MS: Final = 1_700_000_000_000
EVENT_MS: Final = 100
FIRST_LEVELS: Final = 30
FARTHEST: Final = 12
"""Levels farther from the middle than so many times the reach are taken away."""


@dataclass
class WireEvent:
    """One `depthUpdate` as an object, which a scenario may spoil before it is sent."""

    body: dict[str, Any] = field(default_factory=dict)

    @property
    def last_id(self) -> int:
        """`u`."""
        return int(self.body["u"])

    def encoded(self) -> bytes:
        """The bytes on the wire."""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


class ModelMarket:
    """The book of one symbol as the exchange has it.

    Args:
        rule: how its events chain.
        reach: how far from the middle levels lie, in ticks.
        begins_empty: a symbol that never traded, instead of a full book.
    """

    def __init__(
        self, symbol: str, rule: Rule, seed: str, *, middle: int, reach: int, begins_empty: bool = False
    ) -> None:
        self.symbol = symbol
        self.rule = rule
        self.random = random.Random(seed)  # noqa: S311 -- a repeatable market, not a secret
        self.middle = middle
        self.reach = reach
        self.grid = 1
        self.decimals = 2
        self.sides: tuple[Ticks, Ticks] = ({}, {})
        self.last_id = self.event_id = 10_000
        self.event_ms = BEGIN_MS
        self.empty_side: int | None = None
        self._changes: list[tuple[int, int, int, int]] = []
        self._told_ids = [self.last_id]
        self._told_books: list[tuple[int, Ticks, Ticks]] = [(0, {}, {})]
        self.never_traded = begins_empty
        if not begins_empty:
            for _ in range(4 * FIRST_LEVELS):
                self._touch(set(), set())
            self._remember()

    def _step(self) -> int:
        return 1 if self.rule == "spot" else self.random.randint(1, 9)

    def _set(self, side: int, price: int, quantity: int, touched: tuple[set[int], set[int]]) -> None:
        book = self.sides[side]
        if quantity:
            book[price] = quantity
        else:
            book.pop(price, None)
        touched[side].add(price)
        self.last_id += self._step()
        self._changes.append((self.last_id, side, price, quantity))

    def _remember(self) -> None:
        """Keep the book as it is at the end of an event; changes within one are replayed when asked for."""
        self.event_id = self.last_id
        self._told_ids.append(self.last_id)
        self._told_books.append((len(self._changes), dict(self.sides[0]), dict(self.sides[1])))

    def _touch(self, bids: set[int], asks: set[int]) -> None:
        side = self.random.randint(0, 1)
        if side == self.empty_side:
            side = 1 - side
        away = 1 + min(int(self.random.expovariate(2 / self.reach)), 10 * self.reach)
        price = self.middle + (away if side else -away)
        price -= price % self.grid
        if side and price <= self.middle:
            price += self.grid
        known = self.sides[side].get(price)
        removed = known is not None and len(self.sides[side]) > 5 and self.random.random() < 0.4
        quantity = 0 if removed else self.random.randint(1, 99_999)
        self._set(side, max(1, price), quantity, (bids, asks))

    def event(self, changes: int = 6, drift: int = 0) -> WireEvent:
        """Let the market change and say so: final quantities of what was touched, in any order."""
        first = len(self._changes)
        touched: tuple[set[int], set[int]] = (set(), set())
        self.middle += drift
        self._clear(touched)
        while len(self._changes) - first < changes:
            self._touch(*touched)
        return self._told(first, touched)

    def _clear(self, touched: tuple[set[int], set[int]]) -> None:
        """Take away what the market has passed, and what it has left far behind."""
        farthest = FARTHEST * self.reach
        for side, book in enumerate(self.sides):
            away = {price: price - self.middle if side else self.middle - price for price in book}
            gone = [price for price, ticks in away.items() if not 0 < ticks <= farthest]
            for price in gone:
                self._set(side, price, 0, touched)
            if side != self.empty_side and not book and not self.never_traded:
                price = self.middle + (self.grid if side else -self.grid)
                self._set(side, price - price % self.grid, self.random.randint(1, 99_999), touched)

    def empty(self, side: int) -> WireEvent:
        """Take every level of a side away (0: bids, 1: asks); it stays away until `empty_side` is None."""
        first = len(self._changes)
        touched: tuple[set[int], set[int]] = (set(), set())
        self.empty_side = side
        for price in list(self.sides[side]):
            self._set(side, price, 0, touched)
        return self._told(first, touched)

    def restart_ids(self) -> None:
        """The exchange begins to count anew, a minute later."""
        self.last_id = 50
        self._changes, self._told_ids, self._told_books = [], [], []
        self._remember()
        self.event_ms += 60_000

    def _told(self, first: int, touched: tuple[set[int], set[int]]) -> WireEvent:
        previous = self.event_id
        self._remember()
        self.event_ms += EVENT_MS
        self.never_traded = False
        spot = self.rule == "spot"
        levels = [
            [[self.price(price), self.quantity(book.get(price, 0))] for price in sorted(prices)]
            for prices, book in zip(touched, self.sides, strict=True)
        ]
        body: dict[str, Any] = {"e": "depthUpdate", "E": self.event_ms}
        if not spot:
            body["T"] = self.event_ms - 3
        body |= {"s": self.symbol, "U": previous + 1 if spot else self._changes[first][0], "u": self.last_id}
        if not spot:
            body["pu"] = previous
        return WireEvent(body | {"b": levels[0], "a": levels[1]})

    def price(self, ticks: int) -> str:
        """A price as the exchange spells it now."""
        return f"{ticks // 100}.{ticks % 100:02d}" + "0" * (self.decimals - 2)

    @staticmethod
    def quantity(steps: int) -> str:
        """A quantity as the exchange spells it."""
        return f"{steps // 1000}.{steps % 1000:03d}"

    def truth(self, update_id: int) -> tuple[Ticks, Ticks]:
        """Both sides as after the last change not later than an update id."""
        number = max(0, bisect_right(self._told_ids, update_id) - 1)
        start, bids, asks = self._told_books[number]
        if number + 1 == len(self._told_ids) or update_id == self._told_ids[number]:
            return bids, asks
        sides = (dict(bids), dict(asks))
        for changed_id, side, price, quantity in islice(self._changes, start, None):
            if changed_id > update_id:
                break
            if quantity:
                sides[side][price] = quantity
            else:
                sides[side].pop(price, None)
        return sides

    def id_between(self, event: WireEvent) -> int:
        """An update id inside an event, where it has more than one."""
        inside = [one for one, *_ in self._changes if event.body["U"] <= one < event.last_id]
        return inside[len(inside) // 2] if inside else event.last_id

    def snapshot(self, update_id: int, limit: int) -> bytes:
        """The reply to `GET depth` with the book as it was at an update id."""
        if update_id == -1:
            return b'{"lastUpdateId":-1,"bids":[],"asks":[]}'
        bids, asks = self.truth(update_id)
        chosen = (sorted(bids, reverse=True)[:limit], sorted(asks)[:limit])
        sides = [
            [[self.price(price), self.quantity(book[price])] for price in prices]
            for prices, book in zip(chosen, (bids, asks), strict=True)
        ]
        times = {} if self.rule == "spot" else {"E": self.event_ms, "T": self.event_ms}
        body = {"lastUpdateId": update_id, **times, "bids": sides[0], "asks": sides[1]}
        return json.dumps(body).encode()
