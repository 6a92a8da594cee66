"""The range in which a book is complete, and the newer snapshot that moves it."""

from __future__ import annotations

import pytest
from test_order_book import ASKS, BIDS, contents, loaded, refreshed, snapshot

from workers.model.books.order_book import Difference, OrderBook
from workers.model.events import Level


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
