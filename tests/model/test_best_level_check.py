"""The best levels of a book against those the exchange tells of by themselves."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import BadNumber
from workers.model.books.audit import (
    BestLevelCheck,
)
from workers.model.books.order_book import Difference


class TestBestLevelCheck:
    @pytest.mark.parametrize("ticker_first", [True, False])
    @pytest.mark.parametrize(
        ("bid", "ask", "differences"),
        [
            (("9.0", "1"), ("11", "2.00"), 0),
            (("9", "1.5"), ("11", "2"), 1),
            (("8", "1"), ("11", "2"), 2),
            (None, ("11", "2"), 1),
            (None, None, 2),
            (("9", "1.5"), ("10", "2"), 3),
        ],
    )
    def test_only_equal_ids_are_compared_and_numbers_not_spellings(self, ticker_first, bid, ask, differences):
        check = BestLevelCheck()
        check.observe_ticker(4, "1", "1", "2", "2")
        check.observe_book(6, ("3", "1"), ("4", "1"))
        if ticker_first:
            check.observe_ticker(5, "9", "1", "11", "2")
        check.observe_book(5, bid, ask)
        if not ticker_first:
            check.observe_ticker(5, "9", "1", "11", "2")
        assert check.compared == 1
        assert len(check.differences) == differences
        check.observe_ticker(5, "9", "1", "11", "2")  # the other line's copy
        check.observe_book(5, bid, ask)
        assert check.compared == 1

    def test_an_empty_side_is_a_quantity_of_zero(self):
        check = BestLevelCheck()
        check.observe_ticker(5, "0.00000000", "0.00000000", "11", "2")
        check.observe_book(5, None, ("11", "2"))
        assert (check.compared, check.disagreed) == (1, 0)

    def test_two_disagreements_in_a_row_are_certain(self):
        check = BestLevelCheck()
        for u in (1, 2):
            assert check.verdict(0) is None
            check.observe_ticker(u, "9", "1", "11", "2")
            check.observe_book(u, ("9", "4"), ("11", "2"))
        assert check.verdict(0) == "best level mismatch"
        assert check.differences == [Difference("bid", "9", "4", "1")]
        check.reset()
        assert check.verdict(10**6) is None
        assert check.disagreed == 2

    def test_one_disagreement_is_certain_when_it_stands(self):
        check = BestLevelCheck()
        check.observe_ticker(1, "9", "1", "11", "2")
        check.observe_book(1, ("9", "4"), ("11", "2"))
        assert check.verdict(5_000) is None
        assert check.verdict(5_999) is None
        assert check.verdict(6_000) == "best level mismatch"

    def test_an_agreement_clears_it(self):
        check = BestLevelCheck()
        for u, quantity in ((1, "4"), (2, "1"), (3, "4"), (4, "1")):
            check.observe_book(u, ("9", quantity), ("11", "2"))
            check.observe_ticker(u, "9", "1", "11", "2")
            assert check.verdict(0) is None
        assert check.verdict(10**6) is None

    def test_memory_is_bounded_and_numbers_are_checked(self):
        check = BestLevelCheck(remembered=10)
        for u in range(100):
            check.observe_ticker(u, "9", "1", "11", "2")
        check.observe_book(89, ("9", "1"), ("11", "2"))
        assert check.compared == 0
        check.observe_book(90, ("9", "1"), ("11", "2"))
        assert check.compared == 1
        for bad in (
            ("x", "1", "11", "2"),
            ("9", "x", "11", "2"),
            ("9", "1", "-1", "2"),
            ("9", "1", "11", "1e3"),
        ):
            with pytest.raises(BadNumber):
                check.observe_ticker(100, *bad)
        check.observe_book(100, ("9", "1"), ("11", "2"))  # what was no ticker is compared with nothing
        assert check.compared == 1

    def test_the_last_comparison_is_named(self):
        check = BestLevelCheck()
        assert check.update_id == -1
        check.observe_book(7, ("9", "4"), ("11", "2"))
        assert check.update_id == -1
        check.observe_ticker(7, "9", "1", "11", "2")
        assert check.update_id == 7

    @given(
        st.lists(
            st.tuples(st.booleans(), st.integers(0, 8), st.sampled_from(["1", "1.0", "2"])), max_size=60
        ),
        st.integers(0, 8),
    )
    def test_equals_a_naive_twin(self, messages, reset_after):
        """What is told first of an id counts; pairs are judged in the order in which they become whole."""
        check = BestLevelCheck()
        tickers, books, judged = {}, {}, []
        for number, (is_ticker, u, quantity) in enumerate(messages):
            if number == reset_after:
                check.reset()
                tickers, books, judged = {}, {}, []
                before = check.compared, check.disagreed
            mine, other = (tickers, books) if is_ticker else (books, tickers)
            if u not in mine and u in other:
                judged.append(Decimal(quantity) == Decimal(other[u]))
            mine.setdefault(u, quantity)
            if is_ticker:
                check.observe_ticker(u, "9", quantity, "11", "2")
            else:
                check.observe_book(u, ("9", quantity), ("11", "2"))
            whole = number < reset_after
            since = (0, 0) if whole else before
            assert check.compared - since[0] == len(judged)
            assert check.disagreed - since[1] == judged.count(False)
            assert (check.verdict(number) is not None) == (judged[-2:] == [False, False])
