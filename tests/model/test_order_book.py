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
        assert (book.mid, book.spread) == (Decimal("10.0"), Decimal("0.2"))
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
        assert (book.best_bid, book.best_ask, book.mid, book.spread, book.crossed) == (
            None,
            None,
            None,
            None,
            False,
        )
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


class TestKnownRange:
    def test_full_side_is_known_to_its_last_level(self):
        book = loaded(limit=3)
        assert (book.known_low, book.known_high) == ("9.7", "10.3")
        assert book.quantity_at("bid", "9.8") == "2"
        assert book.quantity_at("bid", "9.75") == "0"
        assert book.quantity_at("bid", "9.6") is None
        assert book.quantity_at("ask", "10.31") is None
        assert book.quantity_at("ask", "9.6") == "0"
        assert [book.covers(price) for price in ("9.69", "9.7", "10", "10.3", "10.31")] == [
            False,
            True,
            True,
            True,
            False,
        ]

    def test_short_side_is_complete_to_its_end(self):
        book = OrderBook()
        book.load(snapshot(BIDS, ASKS[:2], 4))
        assert (book.known_low, book.known_high) == ("9.7", "inf")
        assert book.quantity_at("ask", "1000") == "0"
        book.load(snapshot([], ASKS, 3))
        assert (book.known_low, book.known_high) == ("0", "10.3")
        assert book.quantity_at("bid", "0.1") == "0"

    @pytest.mark.parametrize(
        ("bids", "asks", "known"),
        [
            (1000, 1000, (False, False)),
            (1000, 999, (False, False)),  # one that the exchange does not show was left out
            (1000, 501, (False, False)),
            (1000, 500, (False, True)),
            (37, 36, (True, True)),
            (37, 37, (True, True)),
            (1, 1, (True, True)),
            (0, 1000, (True, False)),
            (500, 500, (False, False)),  # as if cut by another limit than the one asked for
            (100, 100, (False, False)),
        ],
    )
    def test_an_open_end_needs_proof(self, bids: int, asks: int, known: tuple[bool, bool]):
        book = OrderBook()
        levels = [(f"{5000 - n}", "1") for n in range(bids)], [(f"{5001 + n}", "1") for n in range(asks)]
        book.load(snapshot(*levels, 1000))
        assert (book.known_low == "0", book.known_high == "inf") == known
        assert known[1] or book.known_high == f"{5000 + asks}"
        assert book.quantity_at("ask", "9000") == ("0" if known[1] else None)
        book.check()

    def test_a_snapshot_that_reaches_as_far_and_proves_no_end_closes_an_open_one(self):
        book = loaded(limit=100)
        assert (book.known_low, book.known_high) == ("0", "inf")
        assert refreshed(book, snapshot(BIDS, ASKS, 4), []) == []
        assert contents(book) == (BIDS, ASKS, "9.7", "10.3")
        book = loaded(limit=100)
        assert refreshed(book, snapshot(BIDS[:2], ASKS, 2), []) == []  # it was cut before what the book has
        assert contents(book) == (BIDS, ASKS, "0", "10.3")
        assert refreshed(book, snapshot(BIDS, ASKS, 6), []) == []
        assert contents(book) == (BIDS, ASKS, "0", "inf")

    def test_what_lay_open_and_was_not_empty_is_a_difference(self):
        book = loaded(limit=100)
        longer = [*ASKS, *((f"{11 + n}", "1") for n in range(5))]
        assert [found.price for found in refreshed(book, snapshot(BIDS, longer, 8), [])] == [
            price for price, _ in longer[3:]
        ]

    def test_unknown_limit_claims_only_what_is_there(self):
        assert contents(loaded(limit=0))[2:] == ("9.7", "10.3")

    def test_level_outside_is_held_not_known(self):
        book = loaded(limit=3)
        book.apply([("9.0", "1")], [("11.0", "1")])
        assert book.counts == (4, 4)
        assert book.known_counts == (3, 3)
        assert list(book.known_levels("bid")) == BIDS
        assert list(book.levels("ask"))[-1] == ("11.0", "1")
        assert book.quantity_at("bid", "9.0") is None
        assert book.nearest_level("9.0") == ("bid", ("9.7", "3"))

    def test_beyond_max_levels_the_farthest_go_and_the_range_shrinks(self):
        book = loaded(limit=6, max_levels=3)
        assert (book.known_low, book.known_high) == ("0", "inf")
        book.apply([("9.6", "1")], [("10.05", "1")])
        assert list(book.levels("bid")) == BIDS
        assert list(book.levels("ask")) == [("10.05", "1"), *ASKS[:2]]
        assert (book.known_low, book.known_high) == ("9.7", "10.2")
        assert book.quantity_at("ask", "10.3") is None
        book.check()

    def test_dropping_what_was_not_known_shrinks_nothing(self):
        book = loaded(limit=3, max_levels=3)
        book.apply([("9.0", "1")], [("12", "1")])
        assert contents(book) == (BIDS, ASKS, "9.7", "10.3")

    def test_snapshot_deeper_than_max_levels(self):
        assert contents(loaded(limit=3, max_levels=2)) == (BIDS[:2], ASKS[:2], "9.8", "10.2")

    def test_edge_distance(self):
        book = OrderBook()
        bids = [(f"{100 - i}", "1") for i in range(11)]
        asks = [(f"{101 + i}", "1") for i in range(11)]
        book.load(snapshot(bids, asks, 11))
        assert book.edge_distance() == 1.0
        book.apply([(f"{100 - i}", "0") for i in range(4)], [("97", "1")])
        assert book.edge_distance() == pytest.approx(0.6)
        book.apply([(f"{100 - i}", "0") for i in range(10)], [])
        assert book.edge_distance() == 0.0
        book.load(snapshot(bids, asks, 100))
        book.apply(bids and [(price, "0") for price, _ in bids], [])
        assert book.edge_distance() == 1.0, "a side complete to its end has no edge"

    def test_restore(self):
        book = loaded(limit=3)
        book.apply([("9.0", "1"), ("9.9", "0")], [("11.0", "1")])
        for size in (5000, 3):
            copy = OrderBook(size)
            copy.restore(
                *map(list, (book.levels("bid"), book.levels("ask"))),
                (book.known_low, book.known_high),
                book.proven_best,
            )
            assert copy.top(3) == book.top(3)
            assert copy.edge_distance() == book.edge_distance()
            assert (copy.known_low, copy.known_high) == ("9.7", "10.3")
            copy.check()
        copy = OrderBook(1)
        copy.restore(BIDS, ASKS, ("0", "inf"), (9.9, 10.1))
        assert (copy.known_low, copy.known_high) == ("9.9", "10.1")


class TestRefresh:
    def test_takes_the_newer_range_and_keeps_what_is_still_known_beyond_it(self):
        book = loaded(limit=3)
        later: tuple[list[Level], list[Level]] = ([("10.05", "9")], [("10.1", "0"), ("11", "1"), ("20", "1")])
        book.apply(*later)
        newer = snapshot(
            [("9.9", "1"), ("9.8", "2")], [("10.1", "4"), ("10.2", "5"), ("10.3", "6"), ("11", "2")]
        )
        assert refreshed(book, newer, [later]) == []
        assert list(book.levels("bid")) == [("10.05", "9"), *BIDS], "9.7 is known from before"
        assert list(book.levels("ask")) == [*ASKS[1:], ("11", "1")], "20 is known to neither"
        assert (book.known_low, book.known_high) == ("9.7", "11")
        book.check()

    def test_reports_differences_and_changes_nothing(self):
        book = loaded(limit=3)
        before = contents(book)
        newer = snapshot(
            [("9.9", "1.0"), ("9.8", "7")], [("10.1", "4"), ("10.15", "1"), ("10.3", "6"), ("11", "1")], 4
        )
        assert refreshed(book, newer, []) == [
            Difference("bid", "9.8", "2", "7"),
            Difference("bid", "9.7", "3", "0"),
            Difference("ask", "10.15", "0", "1"),
            Difference("ask", "10.2", "5", "0"),
        ]
        assert contents(book) == before

    def test_difference_outside_either_range_is_none(self):
        book = loaded(limit=3)
        book.apply([("9.0", "1")], [])
        assert refreshed(book, snapshot([*BIDS, ("9.0", "5")], ASKS, 4), []) == []
        assert book.quantity_at("bid", "9.0") == "5"

    def test_of_a_complete_book_stays_complete(self):
        book = loaded(limit=10)
        assert refreshed(book, snapshot(BIDS[:1], ASKS[:1], 1), []) == []
        assert contents(book) == (BIDS, ASKS, "0", "inf")


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
