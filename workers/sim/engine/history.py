"""Ground truth: what every book was after every change, and every trade there ever was.

A `ChangeLog` keeps the changes in blocks, each beginning with the full book, so the book after any
remembered update id costs one dictionary update. A `TradeTape` keeps trades in columns.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import mul
from typing import NamedTuple

from workers.errors import FleetError

BLOCK_CHANGES = 16_384


class TruthTooOldError(FleetError):
    """The state asked for lies before what is remembered."""

    def __init__(self, asked: int, oldest: int) -> None:
        self.asked = asked
        self.oldest = oldest
        super().__init__(f"Update id {asked} is older than the oldest remembered one, {oldest}.")


class TruthNotReachedError(FleetError):
    """The state asked for lies in the future."""

    def __init__(self, asked: int, newest: int) -> None:
        self.asked = asked
        self.newest = newest
        super().__init__(f"Update id {asked} has not been reached; the newest is {newest}.")


class _Block:
    """A full book and the changes after it. Keys are ticks, negative for asks; ids are offsets."""

    __slots__ = ("base_id", "ids", "keys", "levels", "quantities", "start", "start_keys", "start_quantities")

    def __init__(self, base_id: int, start: int, levels: Iterable[tuple[int, int]]) -> None:
        self.base_id = base_id
        self.start = start
        pairs = list(levels)
        self.start_keys = array("i", [key for key, _ in pairs])
        self.start_quantities = array("q", [quantity for _, quantity in pairs])
        self.ids = array("I")
        self.keys = array("i")
        self.quantities = array("q")


class ChangeLog:
    """Every change of one book by update id, oldest blocks forgotten beyond `limit` changes."""

    def __init__(self, first_id: int, levels: Iterable[tuple[int, int]], limit: int) -> None:
        self._limit = limit
        self._blocks = [_Block(first_id, 0, levels)]
        self.first_id = first_id
        self.last_id = first_id

    @property
    def position(self) -> int:
        """Number of changes so far; with it `since` finds the later ones."""
        block = self._blocks[-1]
        return block.start + len(block.keys)

    @property
    def oldest_id(self) -> int:
        """The earliest update id `book_at` can answer."""
        return self._blocks[0].base_id

    def append(self, update_id: int, key: int, quantity: int) -> None:
        """Add a change: the quantity now at the level `key`, 0 for none."""
        block = self._blocks[-1]
        block.ids.append(update_id - block.base_id)
        block.keys.append(key)
        block.quantities.append(quantity)
        self.last_id = update_id

    def roll(self, levels: Iterable[tuple[int, int]]) -> None:
        """Start a new block with the book as it is now; to be called when `full`."""
        self._blocks.append(_Block(self.last_id, self.position, levels))
        while len(self._blocks) > 2 and self.position - self._blocks[1].start >= self._limit:
            del self._blocks[0]

    @property
    def full(self) -> bool:
        """Whether the newest block has all the changes it should have."""
        return len(self._blocks[-1].keys) >= BLOCK_CHANGES

    def id_at(self, position: int) -> int:
        """The update id of the change at a position."""
        block = next(self._blocks_from(position))
        if position - block.start >= len(block.ids):
            return self.last_id
        return block.base_id + block.ids[position - block.start]

    def since(self, position: int) -> dict[int, int]:
        """The last quantity of each level changed at or after a position."""
        merged: dict[int, int] = {}
        for block in self._blocks_from(position):
            offset = max(0, position - block.start)
            merged.update(zip(block.keys[offset:], block.quantities[offset:], strict=True))
        return merged

    def _blocks_from(self, position: int) -> Iterator[_Block]:
        first = len(self._blocks) - 1
        while first and self._blocks[first].start > position:
            first -= 1
        return iter(self._blocks[first:])

    def book_at(self, update_id: int) -> tuple[int, dict[int, int]]:
        """The largest change id not above `update_id`, and all levels after that change.

        Raises TruthTooOldError or TruthNotReachedError.
        """
        if update_id > self.last_id:
            raise TruthNotReachedError(update_id, self.last_id)
        if update_id < self.oldest_id:
            raise TruthTooOldError(update_id, self.oldest_id)
        number = bisect_right(self._blocks, update_id, key=lambda block: block.base_id) - 1
        block = self._blocks[number]
        count = bisect_right(block.ids, update_id - block.base_id)
        levels = dict(zip(block.start_keys, block.start_quantities, strict=True))
        levels.update(zip(block.keys[:count], block.quantities[:count], strict=True))
        change_id = block.base_id + block.ids[count - 1] if count else block.base_id
        return change_id, {key: quantity for key, quantity in levels.items() if quantity}


class Fill(NamedTuple):
    """One fill. Price in ticks, quantity in steps, time in ms; `category` is the wire's `X`."""

    trade_id: int
    price: int
    quantity: int
    time: int
    buyer_is_maker: bool
    category: str
    retail: bool


class AggregateTrade(NamedTuple):
    """Fills of one taker at one price. `normal_quantity` leaves out retail price improvement fills."""

    aggregate_id: int
    price: int
    quantity: int
    normal_quantity: int
    first_id: int
    last_id: int
    time: int
    buyer_is_maker: bool


class Day(NamedTuple):
    """Fills since a time: prices in ticks, quantities in steps, `notional` in ticks times steps; -1 for no id."""

    first_id: int
    last_id: int
    fills: int
    open: int
    high: int
    low: int
    close: int
    last_quantity: int
    quantity: int
    notional: int


DAY_MS = 86_400_000
NO_TRADES = Day(-1, -1, 0, 0, 0, 0, 0, 0, 0, 0)
CATEGORIES = ("MARKET", "INSURANCE_FUND", "ADL", "NA")


class TradeTape:
    """All fills and all aggregate trades of one symbol, with contiguous ids.

    Args:
        former: the tape before the ids of aggregate trades began anew.
    """

    def __init__(self, first_trade_id: int, first_aggregate_id: int, former: TradeTape | None = None) -> None:
        self._former = former
        self.first_trade_id = first_trade_id
        self.first_aggregate_id = first_aggregate_id
        self._prices, self._quantities, self._times = array("i"), array("q"), array("q")
        self._flags = array("b")
        self._aggregate_prices, self._aggregate_times = array("i"), array("q")
        self._aggregate_quantities, self._normal_quantities = array("q"), array("q")
        self._first_ids, self._last_ids = array("q"), array("q")
        self._makers = array("b")

    @property
    def next_trade_id(self) -> int:
        """The id the next fill will get."""
        return self.first_trade_id + len(self._prices)

    @property
    def next_aggregate_id(self) -> int:
        """The id the next aggregate trade will get."""
        return self.first_aggregate_id + len(self._aggregate_prices)

    def add_trade(self, trade: Fill) -> None:
        """Remember a fill; its id must be `next_trade_id`."""
        self._prices.append(trade.price)
        self._quantities.append(trade.quantity)
        self._times.append(trade.time)
        category = CATEGORIES.index(trade.category)
        self._flags.append(trade.buyer_is_maker | trade.retail << 1 | category << 2)

    def add_aggregate(self, trade: AggregateTrade) -> None:
        """Remember an aggregate trade; its id must be `next_aggregate_id`."""
        self._aggregate_prices.append(trade.price)
        self._aggregate_quantities.append(trade.quantity)
        self._normal_quantities.append(trade.normal_quantity)
        self._first_ids.append(trade.first_id)
        self._last_ids.append(trade.last_id)
        self._aggregate_times.append(trade.time)
        self._makers.append(trade.buyer_is_maker)

    def trades(self, from_id: int, limit: int) -> list[Fill]:
        """Up to `limit` fills with ids from `from_id` on."""
        start = max(0, from_id - self.first_trade_id)
        stop = min(len(self._prices), start + limit)
        return [
            Fill(
                self.first_trade_id + index,
                self._prices[index],
                self._quantities[index],
                self._times[index],
                bool(self._flags[index] & 1),
                CATEGORIES[self._flags[index] >> 2],
                bool(self._flags[index] & 2),
            )
            for index in range(start, stop)
        ]

    def day(self, now_ms: float) -> Day:
        """What was traded in the last 24 hours. Cost: O(fills since then)."""
        start = bisect_right(self._times, now_ms - DAY_MS)
        prices, quantities = self._prices[start:], self._quantities[start:]
        if not prices:
            return NO_TRADES
        return Day(
            self.first_trade_id + start,
            self.next_trade_id - 1,
            len(prices),
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            quantities[-1],
            sum(quantities),
            sum(map(mul, prices, quantities)),
        )

    def aggregates(self, from_id: int, limit: int) -> list[AggregateTrade]:
        """Up to `limit` aggregate trades with ids from `from_id` on."""
        start = max(0, from_id - self.first_aggregate_id)
        stop = min(len(self._aggregate_prices), start + limit)
        return [
            AggregateTrade(
                self.first_aggregate_id + index,
                self._aggregate_prices[index],
                self._aggregate_quantities[index],
                self._normal_quantities[index],
                self._first_ids[index],
                self._last_ids[index],
                self._aggregate_times[index],
                bool(self._makers[index]),
            )
            for index in range(start, stop)
        ]

    def begun_anew(self, first_aggregate_id: int) -> TradeTape:
        """The tape that goes on after this one with other aggregate ids."""
        return TradeTape(self.next_trade_id, first_aggregate_id, self)

    def aggregates_ever(self, from_id: int, limit: int) -> list[AggregateTrade]:
        """Up to `limit` aggregate trades from an id on, or from the beginning, over all that began anew meanwhile.

        An id that there was more than once is that of the newest tape.
        """
        if self._former is None or self.first_aggregate_id <= from_id <= self.next_aggregate_id:
            return self.aggregates(from_id, limit)
        before = self._former.aggregates_ever(from_id, limit)
        return [*before, *self.aggregates(self.first_aggregate_id, limit - len(before))]

    def first_aggregate_after(self, time: float) -> int:
        """The id of the first aggregate trade with a trade time later than `time` (ms)."""
        return self.first_aggregate_id + bisect_right(self._aggregate_times, time)
