"""Fills that come twice, in part or whole; that no trade names; that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.model.events import Trade
from workers.model.trades.fills import MOST_RANGES, Fills, Oddity

T0 = 1_782_777_660_000


def trade(number: int, first: int, last: int, *, is_market: bool = True) -> Trade:
    return Trade(
        "BTCUSDT", number, "60000.00", "1.0", first, last, T0 + number, T0 + number, False, is_market
    )


def told(*ranges: tuple[int, int], known: tuple[int, int] | None = None) -> list[Oddity | None]:
    """What is said of trades with consecutive ids and these fills."""
    fills = Fills(known)
    return [fills.follow(trade(100 + n, first, last)) for n, (first, last) in enumerate(ranges)]


def test_fills_that_follow_each_other_are_in_order() -> None:
    assert told((500, 500), (501, 507), (508, 508)) == [None] * 3


def test_fills_of_the_trade_before_the_last_are_repeated_and_what_follows_is_in_order() -> None:
    assert told((1817, 1817), (1818, 1818), (1817, 1817), (1819, 1819)) == [
        None, None, Oddity(repeated=1), None,
    ]  # fmt: skip


def test_fills_that_overlap_are_repeated_as_far_as_they_do() -> None:
    assert told((500, 509), (505, 512), (500, 513)) == [None, Oddity(repeated=5), Oddity(repeated=13)]


def test_fills_between_two_trades_are_unnamed_and_no_repeat_when_they_come() -> None:
    assert told((504, 504), (507, 507), (505, 506), (508, 508)) == [None, Oddity(unnamed=2), None, None]


def test_a_hole_of_trades_says_nothing_of_fills() -> None:
    fills = Fills()
    assert fills.follow(trade(100, 500, 500)) is None
    assert fills.follow(trade(110, 530, 531)) is None
    assert fills.follow(trade(111, 531, 532)) == Oddity(repeated=1)


@pytest.mark.parametrize("wrong", [(505, 504), (-1, 504), (1, 2**53)])
def test_ids_of_no_fills_shut_out_nothing_that_follows(wrong: tuple[int, int]) -> None:
    assert told((504, 504), wrong, (506, 506), (507, 507)) == [None, Oddity(impossible=True), None, None]


def test_fills_far_ahead_are_impossible_until_others_follow_them() -> None:
    far = 2**52
    assert told((504, 504), (far, far), (505, 505), (506, 506)) == [
        None, Oddity(impossible=True), None, None,
    ]  # fmt: skip
    assert told((504, 504), (far, far), (far + 1, far + 1)) == [None, Oddity(impossible=True), None]


def test_a_venue_without_fills_and_trades_outside_the_market_are_passed_over() -> None:
    assert told((-1, -1), (-1, -1)) == [None, None]
    fills = Fills()
    assert fills.follow(trade(1, 10, 10)) is None
    assert fills.follow(trade(2, 10, 11, is_market=False)) is None
    assert fills.follow(trade(3, 12, 12)) is None
    assert fills.follow(trade(4, 11, 11)) is None, "the trade that had it is in no sum"
    assert fills.follow(trade(5, 20, 19, is_market=False)) is None


def test_what_an_earlier_owner_knew_is_known() -> None:
    assert told((1817, 1817), (1819, 1819), known=(1700, 1818)) == [Oddity(repeated=1), None]
    for impossible in ((1, 2**53), (-5, 1818)):
        assert told((1817, 1817), known=impossible) == [None], "a range that cannot be shuts out nothing"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)), max_size=40))
def test_what_is_repeated_is_what_a_set_of_all_fills_says(steps: list[tuple[int, int]]) -> None:
    fills, seen, before = Fills(), set[int](), -1
    for number, (first, more) in enumerate(steps):
        these = set(range(first, first + more + 1))
        between = set(range(before + 1, first)) - seen if before >= 0 else set[int]()
        odd = fills.follow(trade(number, first, first + more)) or Oddity()
        assert (odd.repeated, odd.unnamed) == (len(these & seen), len(between))
        seen |= these
        before = first + more


def test_the_past_is_bounded_and_the_newest_stays() -> None:
    fills = Fills()
    for number in range(3 * MOST_RANGES):
        fills.follow(trade(number, 10 * number, 10 * number))
    assert len(fills._ranges) == MOST_RANGES
    newest = 10 * (3 * MOST_RANGES - 1)
    assert fills.follow(trade(9_999, newest, newest)) == Oddity(repeated=1)
    assert fills.follow(trade(10_000, 0, 0)) is None, "forgotten"


def test_fills_that_rise_are_compared_with_no_range_however_many_holes_there_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every trade of a market in which holes are common would cost a look at each of them."""
    fills = Fills((1, 9))
    monkeypatch.setattr(fills, "_common", lambda *_: pytest.fail("looked at every range"))
    for number in range(2 * MOST_RANGES):
        hole = number % 3
        odd = fills.follow(trade(number, 10 * number + 10, 10 * number + 19 - hole))
        before = (number - 1) % 3 if number else 0
        assert odd == (Oddity(unnamed=before) if before else None)
