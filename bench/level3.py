"""Level-3 books: events a second, memory of an order, seeding, checkpoints; and what else could hold prices and queues.

Run: `python bench/level3.py`. 100,000 orders at some 32,000 prices, six of ten of them within some 100 ticks of the
best. The tape has the mix of Bitstamp's recording (50 % created, 49 % deleted, 1 % changed), so the book keeps its
size. Time is CPU time of the process; the quietest of several rounds counts, since a shared machine only ever adds.

`events`: `OrderSync.on_message` of messages that are decoded (chain, book, crossing), and the top 10 every 100 of them;
the same from Bitstamp's frames. `seed`: `OrderSync.on_seed` of all orders. Memory is what the book holds (tracemalloc),
the texts of ids, prices and quantities included.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
from sortedcontainers import SortedDict, SortedList

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workers.model.books.order_book import Side
from workers.model.level3 import book as book_module
from workers.model.level3.checkpoint import decode_orders, encode_orders
from workers.model.level3.events import OrderChange, OrderMessage, OrderSeed
from workers.model.level3.queue import Order, PriceQueue
from workers.model.level3.sync import OrderSync
from workers.venues.bitstamp.orders import SEEDED, order_message

BEST = {"bid": 7_964_000, "ask": 7_964_001}
"""Cents."""


class Tape:
    """A seed and messages that follow it, made once from a seeded generator."""

    def __init__(self, orders: int, events: int) -> None:
        self.rng = random.Random(7)
        self.next_id = 2_043_024_875_446_273
        self.live: list[tuple[str, Side, str]] = []
        self.near: list[tuple[str, Side, str]] = []
        self.seed = OrderSeed(1, [self._created() for _ in range(orders)])
        self.messages = [
            OrderMessage(number, [self._change()], f"{number:016x}", f"{number - 1:016x}", position=number)
            for number in range(2, events + 2)
        ]

    def _created(self) -> OrderChange:
        side: Side = self.rng.choice(("bid", "ask"))
        close = self.rng.random() < 0.6
        distance = int(self.rng.expovariate(1 / 40 if close else 1 / 20_000))
        cents = BEST[side] + (distance if side == "ask" else -distance)
        self.next_id += self.rng.randrange(1, 10_000)
        order = (str(self.next_id), side, f"{max(cents, 1) / 100:.2f}")
        (self.near if close else self.live).append(order)
        return OrderChange(
            "add", *order, f"{self.rng.randint(1, 10**9) / 1e8:.8f}", time_us=self.next_id // 1000
        )

    def _picked(self, *, remove: bool) -> tuple[str, Side, str]:
        orders = self.near if self.near and self.rng.random() < 0.6 else self.live
        index = self.rng.randrange(len(orders))
        if remove:
            orders[index], orders[-1] = orders[-1], orders[index]
            return orders.pop()
        return orders[index]

    def _change(self) -> OrderChange:
        kind = self.rng.random()
        if kind < 0.495:
            return self._created()
        if kind < 0.99:
            return OrderChange("remove", *self._picked(remove=True), ending="cancelled")
        return OrderChange("set", *self._picked(remove=False), f"{self.rng.randint(1, 10**6) / 1e8:.8f}")

    def frames(self) -> list[bytes]:
        """The messages as Bitstamp's frames."""
        names = {"add": "order_created", "remove": "order_deleted", "set": "order_changed"}
        frames = []
        for message in self.messages:
            change = message.changes[0]
            ids = [f"{number:016x}" for number in (message.position, message.position - 1)]
            event_id, before = (f"{text[:8]}-{text[8:12]}-{text[12:]}-0000-000101000020" for text in ids)
            data = {
                "id": int(change.order_id), "id_str": change.order_id, "order_type": int(change.side == "ask"),
                "order_subtype": 5, "datetime": "1787620345", "microtimestamp": "1787620344640000",
                "amount": float(change.quantity or 0), "amount_str": change.quantity or "0.00000001",
                "amount_traded": "0", "amount_at_create": "0.25000000", "price": float(change.price),
                "price_str": change.price, "is_liquidation": False,
            }  # fmt: skip
            frames.append(
                msgspec.json.encode(
                    {
                        "data": data, "channel": "live_orders_btcusd", "event": names[change.kind],
                        "event_id": event_id, "pre_event_id": before, "order_source": "orderbook",
                    }
                )
            )  # fmt: skip
        return frames


class DictQueue(PriceQueue):
    """A queue that is a dict of orders: what it gives up is the order by rank, and a head that is found in O(1)."""

    __slots__ = ("orders",)

    def __init__(self, side: Side, price: str, key: float) -> None:
        super().__init__(side, price, key)
        self.orders: dict[str, Order] = {}

    def __iter__(self) -> Iterator[Order]:
        return iter(self.orders.values())

    def insert(self, order: Order, rank: int | None) -> None:
        self.orders[order.order_id] = order
        self.units += order.units
        self.count += 1

    def detach(self, order: Order) -> None:
        del self.orders[order.order_id]
        self.units -= order.units
        self.count -= 1

    def first(self, n: int) -> tuple[Order, ...]:
        return tuple(list(self.orders.values())[:n])


def queue_type() -> type[PriceQueue]:
    """What a queue is built of at this moment."""
    return cast(type[PriceQueue], vars(book_module)["PriceQueue"])


def build_of(side: type[book_module._OrderSide], queue: type[PriceQueue]) -> None:
    """What the books that are made from now on are built of."""
    vars(book_module).update(_OrderSide=side, PriceQueue=queue)


class SortedListSide(book_module._OrderSide):
    """A dict of queues and a SortedList of prices."""

    def __init__(self, side: Side, window: int) -> None:
        super().__init__(side, window)
        self.keys = SortedList()

    def queue_at(self, price: str) -> PriceQueue:
        key = self.sign * book_module._cached_price_key(price)
        queue = self.levels.get(key)
        if queue is None:
            queue = self.levels[key] = queue_type()(self.side, price, key)
            cast(Any, self.keys).add(key)
        return queue

    def drop(self, queue: PriceQueue) -> None:
        del self.levels[queue.key]
        self.keys.remove(queue.key)


class SortedDictSide(book_module._OrderSide):
    """A SortedDict from price to queue."""

    def __init__(self, side: Side, window: int) -> None:
        super().__init__(side, window)
        self.levels = SortedDict()
        self.keys = cast(Any, self.levels.keys())

    def queue_at(self, price: str) -> PriceQueue:
        key = self.sign * book_module._cached_price_key(price)
        queue = self.levels.get(key)
        if queue is None:
            queue = self.levels[key] = queue_type()(self.side, price, key)
        return queue

    def drop(self, queue: PriceQueue) -> None:
        del self.levels[queue.key]


def seconds(work: Callable[[], object]) -> float:
    """CPU time of the process. The collector runs as it does in a worker."""
    start = time.process_time()
    work()
    return time.process_time() - start


def begun() -> OrderSync:
    """One that waits for its seed."""
    sync = OrderSync("BTC-USD", SEEDED)
    sync.on_message(OrderMessage(1, [], f"{1:016x}", position=1))
    return sync


def seeded(seed: OrderSeed) -> OrderSync:
    sync = begun()
    sync.on_seed(seed)
    assert sync.synced, sync.reason
    return sync


def fresh(change: OrderChange) -> OrderChange:
    """With texts of its own, as a decoder makes them."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(change), type=OrderChange)


def run(sync: OrderSync, messages: list[OrderMessage]) -> None:
    for number, message in enumerate(messages):
        sync.on_message(message)
        if number % 100 == 0:
            sync.book.top(10)


def measure(tape: Tape, rounds: int) -> tuple[float, float]:
    """Events a second, and seconds of seeding."""
    best, seeding = float("inf"), float("inf")
    for _ in range(rounds):
        seed = OrderSeed(1, [fresh(change) for change in tape.seed.orders])
        sync = begun()
        seeding = min(seeding, seconds(partial(sync.on_seed, seed)))
        best = min(best, seconds(partial(run, sync, tape.messages)))
        assert sync.synced, sync.reason
        assert not sync.counts["unknown"]
        assert len(sync.book) == len(tape.live) + len(tape.near)
    return len(tape.messages) / best, seeding


def measure_wire(tape: Tape, rounds: int) -> float:
    """Events a second from Bitstamp's frames."""
    frames = tape.frames()
    best = float("inf")
    for _ in range(rounds):
        sync = seeded(tape.seed)
        sync.last_id = f"{'0' * 8}-0000-0001-0000-000101000020"
        best = min(best, seconds(partial(run_wire, sync, frames)))
        assert sync.synced, sync.reason
        assert not sync.counts["unknown"]
    return len(frames) / best


def run_wire(sync: OrderSync, frames: list[bytes]) -> None:
    for frame in frames:
        sync.on_message(order_message("bitstamp", frame))


def measure_memory(tape: Tape) -> float:
    """Bytes an order."""
    data = msgspec.msgpack.encode(tape.seed)
    gc.collect()
    tracemalloc.start()
    sync = seeded(msgspec.msgpack.decode(data, type=OrderSeed))
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(sync.book)


def main() -> None:
    parser = argparse.ArgumentParser(description="Events a second, memory and seeding of a level-3 book.")
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    settings = parser.parse_args()
    tape = Tape(settings.orders, settings.events)
    sync = seeded(tape.seed)
    print(f"{len(sync.book)} orders at {sum(sync.book.counts)} prices")
    own = book_module._OrderSide
    candidates: dict[str, tuple[type[book_module._OrderSide], type[PriceQueue]]] = {
        "list of prices, linked queues (Level3Book)": (own, PriceQueue),
        "SortedList of prices, linked queues": (SortedListSide, PriceQueue),
        "SortedDict of prices, linked queues": (SortedDictSide, PriceQueue),
        "list of prices, dict queues": (own, DictQueue),
    }
    figures = {name: (0.0, float("inf"), 0.0) for name in candidates}
    for _ in range(settings.rounds):
        for name, (side, queue) in candidates.items():
            build_of(side, queue)
            rate, seeding = measure(tape, 1)
            memory = figures[name][2] or measure_memory(tape)
            figures[name] = max(figures[name][0], rate), min(figures[name][1], seeding), memory
    for name, (rate, seeding, memory) in figures.items():
        print(f"{name:45s} {rate:9,.0f} events/s  seed {seeding:5.2f} s  {memory:5.0f} bytes an order")
    build_of(own, PriceQueue)
    print(f"from Bitstamp's frames {measure_wire(tape, settings.rounds):,.0f} events/s")
    large = Tape(110_000, 0)
    seeding = min(seconds(lambda: seeded(large.seed)) for _ in range(settings.rounds))
    print(f"110,000 orders seeded in {seeding:.2f} s")
    encode = min(seconds(lambda: encode_orders(sync, "1-1")) for _ in range(settings.rounds))
    data = encode_orders(sync, "1-1")
    decode = min(seconds(lambda: decode_orders(data, SEEDED)) for _ in range(settings.rounds))
    print(f"checkpoint: encode {encode * 1000:.0f} ms, decode {decode * 1000:.0f} ms, {len(data):,} bytes")


if __name__ == "__main__":
    main()
