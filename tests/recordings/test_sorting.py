"""Trades in any order come out by id, those of one id as they came, from memory and from files alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.model.events import Trade
from workers.recordings.sorting import TradeSorter


@given(st.lists(st.integers(0, 300), max_size=400), st.integers(1, 30), st.integers(1, 5))
def test_any_order_becomes_the_order_of_the_ids(ids: list[int], in_memory: int, most_runs: int) -> None:
    trades = [Trade("A", number, str(place), "1", 0, 0, 0, 0, False) for place, number in enumerate(ids)]
    sorter = TradeSorter(in_memory, most_runs)
    sorter.put(trades)
    found = [trade.trade_id for trade in sorter.in_order()]
    assert found == sorted(ids)


def test_rows_of_one_id_that_stand_near_keep_their_order() -> None:
    trades = [Trade("A", number // 2, str(number), "1", 0, 0, 0, 0, False) for number in range(200)]
    sorter = TradeSorter(10)
    sorter.put(trades)
    assert list(sorter.in_order()) == trades
