"""Book engine: apply one depth event and read the top 10 of both sides, without decoding.

Run: `python bench/order_book.py`. The changes are mixed as in a recording of USD-M BTCUSDT: 59 % change a
held level, 20 % insert, 17 % delete, 4 % delete what is not there; most near the best. All texts are new
objects, as a decoder makes them. The quietest of several rounds counts: a shared machine only ever adds time.

Measured on a 2 vCPU VM with Python 3.11, µs, changes per event on both sides:

                                              10+10    50+50
    1,000 levels a side   OrderBook            19.7     68.7
                          dict + list          19.9     68.3
                          dict + SortedList    25.8     88.5
                          SortedDict           34.3    116.2
    5,000 levels a side   OrderBook            21.8     86.5
                          dict + list          21.6     83.4
                          dict + SortedList    32.0    117.6
                          SortedDict           41.5    146.7

So a plain list with bisect holds the prices: up to far more levels than a book has, the memmove of an insert
is cheaper than a list of lists, and with the best at the end most changes move little.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sortedcontainers import SortedDict, SortedList

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workers.model.books.checkpoint import decode_checkpoint, encode_checkpoint
from workers.model.books.order_book import OrderBook, parse_changes
from workers.model.books.sync import BookSync, SequenceRule
from workers.model.events import DepthEvent, Level, Snapshot

Changes = list[Level]
TICK_TEXT = "{:.2f}"


class SortedListSide:
    """A dict of levels and a SortedList of prices."""

    def __init__(self) -> None:
        self.levels: dict[float, Level] = {}
        self.keys = SortedList()

    def apply(self, changes: Changes, prices: list[float], quantities: list[float]) -> None:
        for level, price, quantity in zip(changes, prices, quantities, strict=False):
            if quantity:
                if price not in self.levels:
                    self.keys.add(price)
                self.levels[price] = level
            elif price in self.levels:
                del self.levels[price]
                self.keys.remove(price)

    def top(self, n: int) -> Changes:
        return [self.levels[key] for key in reversed(self.keys[-n:])]


class SortedDictSide:
    """A SortedDict from price to level."""

    def __init__(self) -> None:
        self.levels = SortedDict()

    def apply(self, changes: Changes, prices: list[float], quantities: list[float]) -> None:
        for level, price, quantity in zip(changes, prices, quantities, strict=False):
            if quantity:
                self.levels[price] = level
            else:
                self.levels.pop(price, None)

    def top(self, n: int) -> Changes:
        return [self.levels[key] for key in self.levels.keys()[: -n - 1 : -1]]


class BisectSide:
    """A dict of levels and a plain list of prices with bisect: what OrderBook does."""

    def __init__(self) -> None:
        self.levels: dict[float, Level] = {}
        self.keys: list[float] = []

    def apply(self, changes: Changes, prices: list[float], quantities: list[float]) -> None:
        for level, price, quantity in zip(changes, prices, quantities, strict=False):
            if quantity:
                if price not in self.levels:
                    insort(self.keys, price)
                self.levels[price] = level
            elif price in self.levels:
                del self.levels[price]
                del self.keys[bisect_left(self.keys, price)]

    def top(self, n: int) -> Changes:
        return [self.levels[key] for key in self.keys[: -n - 1 : -1]]


class TwoSides:
    """Any side, twice, behind the two calls that are measured (asks as negative prices)."""

    def __init__(self, side: type) -> None:
        self.bids, self.asks = side(), side()

    def apply(self, bids: Changes, asks: Changes) -> None:
        keys, quantities = parse_changes(bids, asks)
        n = len(bids)
        self.bids.apply(bids, keys, quantities)
        self.asks.apply(asks, keys[n:], quantities[n:])

    def top(self, n: int) -> tuple[Changes, Changes]:
        return self.bids.top(n), self.asks.top(n)


def make_side(
    rng: random.Random, levels: int, events: int, size: int, sign: int
) -> tuple[Changes, list[Changes]]:
    """A full side and `events` lists of changes that keep it at about `levels` levels."""
    places = range(2 * levels)
    held = set(rng.sample(places, levels))
    price = {place: TICK_TEXT.format(60_000 + sign * (place + 1) / 10) for place in places}
    first = [(price[place], "1.000") for place in sorted(held)]
    batches = []
    for _ in range(events):
        batch: Changes = []
        for _ in range(size):
            kind = rng.random()
            want_held = kind < 0.59 or kind >= 0.83
            kind_deletes = kind >= 0.79
            place = 0
            for _ in range(50):
                place = min(int(rng.expovariate(8 / levels)), 2 * levels - 1)
                if (place in held) == want_held:
                    break
            (held.discard if kind_deletes else held.add)(place)
            batch.append((price[place], "0.000" if kind_deletes else f"{rng.uniform(0.001, 9):.3f}"))
        batches.append(batch)
    return first, batches


def fresh(changes: Changes) -> Changes:
    return [
        (str(bytes(price, "ascii"), "ascii"), str(bytes(quantity, "ascii"), "ascii"))
        for price, quantity in changes
    ]


def make_tape(levels: int, size: int, events: int) -> tuple[Changes, list[Changes], Changes, list[Changes]]:
    rng = random.Random(7)
    return *make_side(rng, levels, events, size, -1), *make_side(rng, levels, events, size, 1)


def measure(
    book: OrderBook | TwoSides, levels: int, tape: tuple[Changes, list[Changes], Changes, list[Changes]]
) -> float:
    """p50 in µs of applying one event and reading the top 10."""
    bids, bid_batches, asks, ask_batches = tape
    if isinstance(book, OrderBook):
        book.load(Snapshot("X", 1, bids, asks, limit=levels))
    else:
        book.apply(bids, asks)
    taken = []
    for bid_batch, ask_batch in zip(bid_batches, ask_batches, strict=True):
        one, two = fresh(bid_batch), fresh(ask_batch)
        start = time.perf_counter_ns()
        book.apply(one, two)
        book.top(10)
        taken.append(time.perf_counter_ns() - start)
    taken.sort()
    return taken[len(taken) // 2] / 1000


def measure_checkpoint(levels: int) -> tuple[float, float, int]:
    """Encode and decode in µs (best of 9), and bytes."""
    rng = random.Random(7)
    bids, _ = make_side(rng, levels, 0, 0, -1)
    asks, _ = make_side(rng, levels, 0, 0, 1)
    bids, asks = (
        [(price, f"{rng.expovariate(2) + 0.001:.3f}") for price, _ in side] for side in (bids, asks)
    )
    sync = BookSync("X", SequenceRule.SPOT)
    sync.on_event(DepthEvent("X", 1, 2, -1, 1, 0, [], []), 0)
    sync.on_snapshot(Snapshot("X", 2, bids, asks, limit=levels), 0)
    times: list[tuple[int, int]] = []
    data = b""
    for _ in range(9):
        start = time.perf_counter_ns()
        data = encode_checkpoint(sync.checkpoint("1-1"))
        middle = time.perf_counter_ns()
        decode_checkpoint(data)
        times.append((middle - start, time.perf_counter_ns() - middle))
    return min(one for one, _ in times) / 1000, min(two for _, two in times) / 1000, len(data)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Apply one depth event and read the top 10, without decoding."
    )
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=15)
    settings = parser.parse_args()
    candidates: dict[str, Callable[[], Any]] = {
        "OrderBook": OrderBook,
        "dict + list + bisect": lambda: TwoSides(BisectSide),
        "dict + SortedList": lambda: TwoSides(SortedListSide),
        "SortedDict": lambda: TwoSides(SortedDictSide),
    }
    print(f"µs, p50 of the quietest of {settings.rounds} rounds    10+10   50+50")
    for levels in (1000, 5000):
        best = {name: [float("inf")] * 2 for name in candidates}
        for index, size in enumerate((10, 50)):
            tape = make_tape(levels, size, settings.events)
            for _ in range(settings.rounds):
                for name, make in candidates.items():
                    best[name][index] = min(best[name][index], measure(make(), levels, tape))
        for name, (small, large) in best.items():
            print(f"{levels:5d} levels, {name:22s} {small:12.1f} {large:7.1f}")
    for levels in (1000, 5000):
        encode, decode, size = measure_checkpoint(levels)
        print(f"{levels:5d} levels, checkpoint: encode {encode:.0f} µs, decode {decode:.0f} µs, {size} bytes")


if __name__ == "__main__":
    main()
