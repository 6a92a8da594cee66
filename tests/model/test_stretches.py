"""What REST has of a stretch and the log has not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.model.events import Trade
from workers.model.trades.stretches import missing, reaches


def trade(number: int, ms: int | None = None, *, first: int | None = None, name: str = "") -> Trade:
    time = 1_000 + number if ms is None else ms
    ids = (number, number if first is None else first)
    return Trade("S", ids[0], "1", "1", ids[1], ids[0], time, time, False, name=name)


def named(number: int, ms: int | None = None) -> Trade:
    return trade(number, ms, name=f"n{number}")


def names(found: object) -> list[str]:
    return [row.name or str(row.trade_id) for row in found.trades]  # type: ignore[attr-defined]


def test_rest_that_does_not_have_the_later_trade_yet_says_nothing() -> None:
    rows = [trade(n) for n in (1, 2, 3)]
    assert missing(rows, trade(1), trade(5), [], rising=True) is None
    assert missing([], trade(1), trade(5), [], rising=True) is None
    assert missing([named(1), named(2)], named(1), named(5), [], rising=False) is None
    assert missing([], named(1), named(5), [], rising=False) is None


def test_a_page_that_does_not_reach_back_is_not_whole() -> None:
    rows = [trade(n) for n in (4, 5, 6, 9)]
    found = missing(rows, trade(1), trade(9), [], rising=True)
    assert found is not None
    assert (names(found), found.is_whole) == (["4", "5", "6"], False)
    found = missing([named(n) for n in (4, 5, 9)], named(1), named(9), [], rising=False)
    assert found is not None
    assert (names(found), found.is_whole) == (["n4", "n5"], False)


def test_fills_of_a_merged_trade_are_known() -> None:
    """OKX's stream has the fills of one order at one price together, and its REST each."""
    rows = [trade(n) for n in range(1, 12)]
    found = missing(rows, trade(2, first=1), trade(11, first=9), [trade(6, first=5)], rising=True)
    assert found is not None
    assert (names(found), found.is_whole) == (["3", "4", "7", "8"], True)


def test_names_go_by_place_and_by_time_where_their_place_is_unknown() -> None:
    rows = [named(1, 10), named(2, 20), named(3, 20), named(4, 20), named(5, 30), named(6, 31)]
    found = missing(rows, named(2, 20), named(5, 30), [named(4, 20)], rising=False)
    assert found is not None
    assert (names(found), found.is_whole) == (["n3"], True)
    found = missing(rows, named(99, 15), named(98, 30), [], rising=False)
    assert found is not None
    assert (names(found), found.is_whole) == (["n2", "n3", "n4", "n5"], True)


def test_both_sides_are_reached() -> None:
    assert reaches([trade(1), trade(9)], trade(1), trade(9))
    assert not reaches([trade(2), trade(9)], trade(1), trade(9))
    assert not reaches([trade(1), trade(8)], trade(1), trade(9))
    assert not reaches([], trade(1), trade(9))


@given(
    st.integers(2, 30).flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(1, size - 1)))),
    st.integers(0, 40),
    st.booleans(),
)
def test_what_was_lost_is_found_and_nothing_else(tape: tuple[int, set[int]], span: int, rising: bool) -> None:
    """Of a stretch 0..size some are lost, and REST has the newest `span` of more."""
    size, lost = tape
    make = trade if rising else named
    rows = [make(number) for number in range(-5, size + 3)][-span:] if span else []
    known = [make(number) for number in range(1, size) if number not in lost]
    found = missing(rows, make(0), make(size), known, rising=rising)
    if not rows or (rows[0].trade_id > size + 0 and not rising) or rows[-1].trade_id < size:
        return
    assert found is not None
    had = {row.trade_id for row in rows}
    assert [row.trade_id for row in found.trades] == sorted(lost & had)
    assert found.is_whole == (rows[0].trade_id <= 0)
