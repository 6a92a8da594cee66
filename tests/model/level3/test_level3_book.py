"""The level-3 book against a naive twin, a list of orders, under arbitrary events; and its rules one by one."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import BadNumber
from workers.model.books.order_book import Side
from workers.model.level3.book import MOST_DOUBTS, Level3Book, Place
from workers.model.level3.phantoms import agrees
from workers.venues.bitfinex import orders as bitfinex
from workers.venues.kraken import orders as kraken


@dataclass
class TwinOrder:
    order_id: str
    side: Side
    price: str
    quantity: Decimal
    rank: int = 0


class Twin:
    """All orders in one list; those of a price, in its order, are its queue."""

    def __init__(self) -> None:
        self.orders: list[TwinOrder] = []

    def queue(self, side: Side, price: str) -> list[TwinOrder]:
        return [one for one in self.orders if one.side == side and Decimal(one.price) == Decimal(price)]

    def find(self, order_id: str) -> TwinOrder | None:
        return next((one for one in self.orders if one.order_id == order_id), None)

    def insert(self, order: TwinOrder, rank: int | None) -> None:
        queue = self.queue(order.side, order.price)
        order.rank = (queue[-1].rank if queue else 0) if rank is None else rank
        later = [one for one in queue if one.rank > order.rank]
        place = self.orders.index(later[0]) if later else len(self.orders)
        self.orders.insert(place, order)

    def remove(self, order_id: str) -> None:
        self.orders = [one for one in self.orders if one.order_id != order_id]

    def set_quantity(self, order_id: str, quantity: Decimal, *, keeps_place: bool) -> None:
        order = self.find(order_id)
        if order is None:
            return
        if not quantity:
            self.remove(order_id)
        elif quantity > order.quantity and not keeps_place:
            self.remove(order_id)
            order.quantity = quantity
            self.insert(order, None)
        else:
            order.quantity = quantity

    def prices(self, side: Side) -> list[str]:
        return sorted(
            {one.price for one in self.orders if one.side == side}, key=Decimal, reverse=side == "bid"
        )

    def in_queue_order(self, side: Side) -> list[TwinOrder]:
        return [one for price in self.prices(side) for one in self.queue(side, price)]


def twin_kraken_checksum(twin: Twin) -> int:
    text = ""
    for side in ("ask", "bid"):
        for price in twin.prices(side)[:10]:
            for order in twin.queue(side, price):
                text += price.replace(".", "").lstrip("0") + f"{order.quantity:f}".replace(".", "").lstrip(
                    "0"
                )
    return crc32(text.encode())


def twin_bitfinex_checksum(twin: Twin) -> int:
    sides = []
    for side, sign in (("bid", ""), ("ask", "-")):
        best = [
            order
            for price in twin.prices(side)
            for order in sorted(twin.queue(side, price), key=lambda order: int(order.order_id))
        ]
        sides.append([f"{order.order_id}:{sign}{order.quantity:f}" for order in best[:25]])
    figures = [side[index] for index in range(25) for side in sides if index < len(side)]
    checksum = crc32(":".join(figures).encode())
    return checksum - 2**32 if checksum >= 2**31 else checksum


ids = st.integers(1, 12).map(str)
sides = st.sampled_from(["bid", "ask"])
prices = st.integers(95, 106).map(lambda tens: f"{tens / 10:.1f}")
quantities = st.integers(1, 400).map(lambda units: f"{Decimal(units) / 100}")
ranks = st.none() | st.integers(0, 5)
events = st.one_of(
    st.tuples(st.just("add"), ids, sides, prices, quantities, ranks),
    st.tuples(st.just("set"), ids, st.just("0") | quantities, st.booleans()),
    st.tuples(st.just("reduce"), ids, quantities),
    st.tuples(st.just("move"), ids, prices, quantities, ranks),
    st.tuples(st.just("remove"), ids),
    st.tuples(st.just("keep"), st.integers(1, 6)),
)


def drive(book: Level3Book, twin: Twin, event: tuple) -> None:
    name, *rest = event
    if name == "add":
        order_id, side, price, quantity, rank = rest
        if twin.find(order_id):
            with pytest.raises(ValueError, match="is held already"):
                book.add(order_id, side, price, quantity, rank=rank)
            return
        book.add(order_id, side, price, quantity, rank=rank)
        twin.insert(TwinOrder(order_id, side, price, Decimal(quantity)), rank)
    elif name == "set":
        order_id, quantity, keeps_place = rest
        book.set_quantity(order_id, quantity, keeps_place=keeps_place)
        twin.set_quantity(order_id, Decimal(quantity), keeps_place=keeps_place)
    elif name == "reduce":
        order_id, quantity = rest
        order = twin.find(order_id)
        if order and Decimal(quantity) > order.quantity:
            with pytest.raises(ValueError, match="by more than it has"):
                book.reduce(order_id, quantity)
            return
        book.reduce(order_id, quantity)
        if order:
            left = Decimal(f"{(order.quantity - Decimal(quantity)).normalize():f}")
            twin.set_quantity(order_id, left, keeps_place=True)
    elif name == "move":
        order_id, price, quantity, rank = rest
        book.move(order_id, price, quantity, rank=rank)
        if order := twin.find(order_id):
            twin.remove(order_id)
            twin.insert(TwinOrder(order_id, order.side, price, Decimal(quantity)), rank)
    elif name == "remove":
        book.remove(*rest)
        twin.remove(*rest)
    else:
        book.keep_levels(*rest)
        for side in ("bid", "ask"):
            for price in twin.prices(side)[rest[0] :]:
                for order in twin.queue(side, price):
                    twin.remove(order.order_id)


def assert_same(book: Level3Book, twin: Twin) -> None:
    book.check()
    assert len(book) == len(twin.orders)
    for side, levels, tops in zip(("bid", "ask"), book.level2(), book.top(100, first=100), strict=True):
        assert [Decimal(price) for price, _ in levels] == [Decimal(price) for price in twin.prices(side)]
        for (price, quantity), view in zip(levels, tops, strict=True):
            queue = twin.queue(side, price)
            assert Decimal(quantity) == sum(order.quantity for order in queue)
            assert (view.price, view.quantity, view.orders) == (price, quantity, len(queue))
            assert [order.order_id for order in view.first] == [order.order_id for order in queue]
            ahead = Decimal(0)
            for position, order in enumerate(queue):
                place = book.place(order.order_id)
                assert place is not None
                assert (place.position, Decimal(place.quantity_ahead)) == (position, ahead)
                ahead += order.quantity
    bids, asks = (twin.prices(side) for side in ("bid", "ask"))
    assert book.crossed == bool(bids and asks and Decimal(bids[0]) >= Decimal(asks[0]))
    assert kraken.orders_checksum(book) == twin_kraken_checksum(twin)
    assert bitfinex.orders_checksum(book) == twin_bitfinex_checksum(twin)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=60))
def test_whatever_happens_the_book_is_the_list_of_orders(tape: list[tuple]):
    book, twin = Level3Book(), Twin()
    for event in tape:
        drive(book, twin, event)
    assert_same(book, twin)


def filled(*orders: tuple[str, str]) -> Level3Book:
    book = Level3Book()
    book.clear(whole=True)
    for order_id, quantity in orders:
        book.add(order_id, "bid", "10.0", quantity, placed_us=1_000)
    return book


def queue_of(book: Level3Book) -> list[str]:
    best = book.best("bid")
    return [order.order_id for order in best] if best else []


def test_a_decrease_keeps_its_place_and_an_increase_loses_it():
    book = filled(("a", "1"), ("b", "2"), ("c", "3"))
    book.set_quantity("a", "0.5")
    assert queue_of(book) == ["a", "b", "c"]
    book.set_quantity("a", "0.6")
    assert queue_of(book) == ["b", "c", "a"]
    book.set_quantity("b", "9", keeps_place=True)
    assert queue_of(book) == ["b", "c", "a"]
    assert book.place("a") == Place(2, "12", exact=True)


def test_one_price_in_two_spellings_is_one_level():
    book = filled(("a", "1"))
    book.add("b", "bid", "10.00", "0.00000001")
    assert book.level2() == ([("10.0", "1.00000001")], [])


def test_sums_are_exact_where_doubles_are_not():
    book = filled(("a", "0.1"), ("b", "0.2"))
    assert book.level2()[0] == [("10.0", "0.3")]


def test_a_bad_number_leaves_the_book_as_it_was():
    book = filled(("a", "1"), ("b", "2"))
    for change in (
        lambda: book.add("c", "bid", "x", "1"),
        lambda: book.add("c", "bid", "11", "1e5"),
        lambda: book.set_quantity("a", "-1"),
        lambda: book.move("a", "nan", "1"),
        lambda: book.move("a", "9", "nan"),
    ):
        with pytest.raises(BadNumber):
            change()
    book.check()
    assert queue_of(book) == ["a", "b"]


def test_what_is_not_known_is_not_told():
    book = filled(("a", "1"), ("b", "2"))
    assert book.place("b") == Place(1, "1", exact=True)
    book.doubt("bid", "10")
    assert book.place("b") == Place(1, "1", exact=False)
    assert [level.complete for level in book.top()[0]] == [False]
    assert book.place("z") is None
    assert book.age_us("a", 1_500) == 500
    book.add("s", "ask", "11", "1", seen=False)
    assert book.age_us("s", 1_500) is None
    assert book.place("s") == Place(0, "0", exact=True)


def test_a_doubt_outlives_the_level():
    book = filled(("a", "1"))
    book.doubt("bid", "10")
    book.remove("a")
    book.add("b", "bid", "10", "1")
    assert book.place("b") == Place(0, "0", exact=False)


def test_with_too_many_doubts_nothing_is_complete():
    book = filled(("a", "1"))
    for price in range(MOST_DOUBTS):
        book.doubt("ask", f"{price + 11}")
    assert book.place("a") == Place(0, "0", exact=True)
    book.doubt("ask", "10.5")
    assert book.place("a") == Place(0, "0", exact=False)


def test_the_last_level_of_a_full_window_may_be_cut():
    book = Level3Book(window=3)
    book.clear(whole=True)
    for order_id, price in (("1", "10"), ("2", "9")):
        book.add(order_id, "bid", price, "1")
    assert [level.complete for level in book.top()[0]] == [True, True]
    book.add("3", "bid", "9", "1")
    assert [level.complete for level in book.top()[0]] == [True, False]


def test_a_book_over_its_bound_says_so_and_drops_nothing():
    book = Level3Book(2)
    for order_id in ("a", "b"):
        book.add(order_id, "bid", "1", "1")
    assert not book.full
    book.add("c", "bid", "1", "1")
    assert book.full
    assert len(book) == 3


def test_an_order_moved_with_nothing_left_goes() -> None:
    book = Level3Book()
    book.add("a", "bid", "9", "1")
    assert book.move("a", "8", "0.00") is not None
    assert (len(book), book.counts) == (0, (0, 0))


def test_best_levels_agree_only_where_both_have_a_side_or_neither() -> None:
    book = Level3Book()
    assert agrees(book, None, None)
    book.add("a", "bid", "9", "1")
    assert agrees(book, ("9.0", "1.0"), None)
    assert not agrees(book, None, None)
    assert not agrees(book, ("9", "1"), ("10", "1"))
    assert not agrees(book, ("9", "2"), None)
