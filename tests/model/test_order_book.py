"""OrderBook: numbers, levels, known range, refresh, and a naive twin."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import BadNumber
from workers.model.books.order_book import Difference, OrderBook, parse_changes, price_key, quantity_value
from workers.model.events import Level, Snapshot

BIDS: list[Level] = [("9.9", "1"), ("9.8", "2"), ("9.7", "3")]
ASKS: list[Level] = [("10.1", "4"), ("10.2", "5"), ("10.3", "6")]


def snapshot(bids: list[Level], asks: list[Level], limit: int = 0, last_update_id: int = 1) -> Snapshot:
    return Snapshot("BTCUSDT", last_update_id, bids, asks, limit=limit)


def loaded(limit: int = 3, max_levels: int = 5000) -> OrderBook:
    book = OrderBook(max_levels)
    book.load(snapshot(BIDS, ASKS, limit))
    return book


def refreshed(
    book: OrderBook, newest: Snapshot, events: list[tuple[list[Level], list[Level]]]
) -> list[Difference]:
    """Have it succeeded by a snapshot and the changes after it, which it has applied already."""
    newer = OrderBook(book.max_levels)
    newer.load(newest)
    for bids, asks in events:
        newer.apply(bids, asks)
    return book.succeed(newer)


def contents(book: OrderBook) -> tuple[list[Level], list[Level], str, str]:
    return list(book.levels("bid")), list(book.levels("ask")), book.known_low, book.known_high


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("1", 1.0),
            ("0.00001234", 0.00001234),
            ("61837.63000000", 61837.63),
            ("900000000.00000000", 900000000.0),
            ("0.000000123456789012345", 1.23456789012345e-07),
            ("123456789012345", 123456789012345.0),
            ("1234567890123450000", 1234567890123450000.0),
            ("007.5", 7.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("0." + "0" * 23 + "1" * 15, 1.11111111111111e-24),
        ],
    )
    def test_price_of_at_most_15_significant_digits_is_exact(self, text, key):
        assert price_key(text) == key
        assert parse_changes([(text, "1")], []) == ([key], [1.0])
        assert parse_changes([], [(text, "1")])[0] == [-key]

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "nan",
                "inf",
                "-1",
                "+1",
                "0",
                "0.000",
                "",
                ".",
                "1.2.3",
                "1e5",
                "1_0",
                " 1",
                "1 ",
                "1\n",
                "0x1",
                "١",
            ),
            *("1,2", "--1", "1]", '"1"', "\ud800", "null"),
            *("1234567890123456", "1.0000000000000001", "0.1234567890123456", "1" + "0" * 40),
        ],
    )
    def test_anything_else_is_no_price(self, text):
        with pytest.raises(BadNumber, match="price"):
            price_key(text)
        for bids, asks in (
            ([(text, "1")], []),
            ([], [(text, "1")]),
            ([("1", "1")], [("2", "1"), (text, "1")]),
        ):
            with pytest.raises(BadNumber):
                parse_changes(bids, asks)

    @pytest.mark.parametrize(
        "text", ["0", "0.0", "0.000", "0.00000000", "00", ".0", "0.", "0E-8", "-0", "+0.0", "0e10"]
    )
    def test_every_spelling_of_zero_deletes(self, text):
        book = loaded()
        book.apply([("9.9", text)], [("10.10", text)])
        assert book.best_bid == ("9.8", "2")
        assert book.best_ask == ("10.2", "5")

    @pytest.mark.parametrize(
        "text", ["-1", "nan", "inf", "-inf", "", ".", "1.1.1", "1e3", "1_0", " 1", "9" * 41, "0x0", "--0"]
    )
    def test_anything_else_is_no_quantity(self, text):
        with pytest.raises(BadNumber, match="quantity"):
            quantity_value(text)
        for bids, asks in (([("1", text)], []), ([], [("1", text)])):
            with pytest.raises(BadNumber):
                parse_changes(bids, asks)

    def test_quantity_at_the_cap_of_binance(self):
        book = loaded()
        book.apply([("9.95", "92233720368.54775807")], [])
        assert book.best_bid == ("9.95", "92233720368.54775807")

    @given(
        st.lists(
            st.tuples(
                st.text("0123456789.,-+eE_ nif١", max_size=20) | st.decimals(0, 10**6, places=2).map(str),
                st.text("0123456789.,-+eE_ nif١", max_size=20) | st.decimals(0, 10**6, places=3).map(str),
            ),
            max_size=4,
        ),
        st.integers(0, 4),
    )
    def test_all_at_once_equals_one_by_one(self, changes, cut):
        bids, asks = changes[:cut], changes[cut:]
        try:
            keys = [price_key(price) for price, _ in bids] + [-price_key(price) for price, _ in asks]
            zero = [quantity_value(quantity) == 0 for _, quantity in changes]
        except BadNumber:
            with pytest.raises(BadNumber):
                parse_changes(bids, asks)
            return
        parsed, quantities = parse_changes(bids, asks)
        assert (parsed, [quantity == 0 for quantity in quantities]) == (keys, zero)

    @given(st.integers(1, 10**15 - 1), st.integers(1, 10**15 - 1), st.integers(0, 12))
    def test_key_orders_and_separates_like_the_decimal(self, one, two, places):
        texts = [
            str(Decimal(digits).scaleb(-places).quantize(Decimal(1).scaleb(-places))) for digits in (one, two)
        ]
        keys = [price_key(text) for text in (format(Decimal(text), "f") for text in texts)]
        assert (keys[0] < keys[1], keys[0] == keys[1]) == (one < two, one == two)


class TestLevels:
    def test_best_first(self):
        book = loaded()
        assert book.top(2) == (BIDS[:2], ASKS[:2])
        assert book.top() == (BIDS, ASKS)
        assert book.top(0) == ([], [])
        assert (book.best_bid, book.best_ask) == (BIDS[0], ASKS[0])
        assert book.counts == book.known_counts == (3, 3)

    def test_order_is_numeric_across_a_power_of_ten(self):
        book = OrderBook()
        book.load(
            snapshot([("99999.95", "1"), ("100000.00", "2")], [("100000.05", "3"), ("99999.99", "4")], 5)
        )
        assert book.best_bid == ("100000.00", "2")
        assert book.best_ask == ("99999.99", "4")
        assert book.crossed

    def test_last_spelling_of_a_price_wins(self):
        book = loaded()
        book.apply([("9.90", "7")], [("10.100", "0.5")])
        assert book.top(1) == ([("9.90", "7")], [("10.100", "0.5")])
        assert book.counts == (3, 3)
        book.check()

    def test_last_change_of_a_price_in_one_event_wins(self):
        book = loaded()
        book.apply([("9.9", "0"), ("9.9", "8"), ("9.8", "8"), ("9.80", "0")], [])
        assert list(book.levels("bid")) == [("9.9", "8"), ("9.7", "3")]
        book.check()

    def test_delete_of_an_unknown_level_is_normal(self):
        book = loaded()
        book.apply([("9.75", "0")], [("12", "0.000")])
        assert contents(book)[:2] == (BIDS, ASKS)

    def test_empty_event_and_empty_book(self):
        book = OrderBook()
        book.apply([], [])
        assert (book.best_bid, book.best_ask, book.crossed) == (None, None, False)
        assert book.top() == ([], [])
        assert book.nearest_level("1") is None
        book.check()

    def test_unsorted_snapshot_with_zero_and_repeated_levels(self):
        book = OrderBook()
        book.load(snapshot([("1", "1"), ("3", "1"), ("2", "0"), ("3.0", "2")], [], 5))
        assert list(book.levels("bid")) == [("3.0", "2"), ("1", "1")]
        book.check()

    @pytest.mark.parametrize("bad", [("10.5", "x"), ("-1", "1"), ("10.5", "-1"), ("1.0000000000000001", "1")])
    @pytest.mark.parametrize("side", [0, 1])
    def test_bad_number_leaves_the_book_as_it_was(self, bad, side):
        book = loaded()
        before = contents(book)
        changes: list[list[Level]] = [[("9.9", "0"), ("9.85", "1")], [("10.1", "0"), ("10.4", "1")]]
        changes[side].append(bad)
        with pytest.raises(BadNumber):
            book.apply(*changes)
        with pytest.raises(BadNumber):
            book.load(snapshot(*changes, 10))
        with pytest.raises(BadNumber):
            refreshed(book, snapshot(*changes, 10), [])
        assert contents(book) == before
        book.check()

    def test_clear(self):
        book = loaded()
        book.clear()
        assert contents(book) == ([], [], "inf", "0")
        assert book.quantity_at("bid", "9.9") is None
        assert not book.covers("10")
        assert book.edge_distance() == 0.0

    def test_nearest_level(self):
        book = loaded()
        assert book.nearest_level("9.8") == ("bid", ("9.8", "2"))
        assert book.nearest_level("9.76") == ("bid", ("9.8", "2"))
        assert book.nearest_level("10") == ("bid", ("9.9", "1"))
        assert book.nearest_level("10.04") == ("ask", ("10.1", "4"))
        assert book.nearest_level("10.15") == ("ask", ("10.1", "4"))
        assert book.nearest_level("500") == ("ask", ("10.3", "6"))
        assert book.nearest_level("0.01") == ("bid", ("9.7", "3"))

    def test_needs_room_for_a_level(self):
        with pytest.raises(ValueError, match="max_levels"):
            OrderBook(0)


PRICES = st.integers(1, 60).flatmap(
    lambda n: st.sampled_from([f"{n / 10:.1f}", f"{n / 10:.2f}", f"{n / 10:.4f}"])
)
QUANTITIES = st.sampled_from(["0", "0.0", "0.000", "1", "2.5", "3.00", "0.00000001"])
CHANGES = st.lists(st.tuples(PRICES, QUANTITIES), max_size=8)


@settings(max_examples=80, deadline=None)
@given(
    CHANGES,
    CHANGES,
    st.lists(st.tuples(CHANGES, CHANGES), max_size=12),
    st.integers(1, 20),
    st.integers(1, 8),
)
def test_equals_a_plain_dict_of_decimals(bids, asks, events, max_levels, limit):
    """What is held is true; what is known is all of the truth inside the range."""
    truth: list[dict[Decimal, Level]] = [{}, {}]

    def change(sides: tuple[list[Level], list[Level]]) -> None:
        for side, changes in zip(truth, sides, strict=True):
            for price, quantity in changes:
                side.pop(Decimal(price), None)
                if Decimal(quantity):
                    side[Decimal(price)] = (price, quantity)

    change((bids, asks))
    best = [sorted(truth[0], reverse=True), sorted(truth[1])]
    window = [[truth[i][price] for price in best[i][:limit]] for i in (0, 1)]
    book = OrderBook(max_levels)
    book.load(snapshot(window[0], window[1], limit))
    for sides in [([], []), *events]:
        change(sides)
        book.apply(*sides)
        book.check()
        for i, side in enumerate(("bid", "ask")):
            ordered = sorted(truth[i], reverse=side == "bid")
            held = list(book.levels(side))
            assert held == book.top(1000)[i]
            assert len(held) == book.counts[i] <= max_levels
            assert [level for level in (truth[i][price] for price in ordered) if level in held] == held
            edge = Decimal(book.known_low if side == "bid" else book.known_high)
            known = [
                truth[i][price] for price in ordered if (price >= edge if side == "bid" else price <= edge)
            ]
            assert list(book.known_levels(side)) == known
            assert len(known) == book.known_counts[i]
            for n in range(1, 61, 4):
                price = Decimal(n) / 10
                inside = price >= edge if side == "bid" else price <= edge
                assert book.quantity_at(side, str(price)) == (
                    truth[i].get(price, ("", "0"))[1] if inside else None
                )
