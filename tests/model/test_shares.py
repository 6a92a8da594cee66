"""Which process of a line follows a symbol: each exactly one, few move, and a heartbeat tells which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.model.symbols.shares import MOST_PROCESSES, Share, process_of

SYMBOLS = [f"S{number}USDT" for number in range(600)]


@given(st.text(min_size=1, max_size=12), st.integers(1, MOST_PROCESSES))
def test_each_symbol_is_of_exactly_one_process(symbol: str, processes: int) -> None:
    having = [number for number in range(processes) if Share(number, processes).has(symbol)]
    assert having == [process_of(symbol, processes)] if processes > 1 else [0]


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_one_process_more_moves_only_what_it_takes(processes: int) -> None:
    moved = {
        (process_of(symbol, processes), after)
        for symbol in SYMBOLS
        if (after := process_of(symbol, processes + 1)) != process_of(symbol, processes)
    }
    assert {after for _, after in moved} == {processes}


def test_the_shares_are_about_as_large_as_one_another() -> None:
    sizes = [sum(Share(number, 4).has(symbol) for symbol in SYMBOLS) for number in range(4)]
    assert sum(sizes) == 600
    assert min(sizes) > 110


@pytest.mark.parametrize(
    ("details", "share"),
    [
        ({}, Share(0, 1)),
        ({"process": "2", "processes": "3"}, Share(2, 3)),
        ({"process": "3", "processes": "3"}, Share(0, 0)),
        ({"process": "x", "processes": "3"}, Share(0, 0)),
        ({"process": "0", "processes": "99"}, Share(0, 0)),
        ({"process": "0", "processes": "10000000000000"}, Share(0, 0)),
    ],
)
def test_a_heartbeat_tells_it_and_rubbish_vouches_for_nothing(details: dict[str, str], share: Share) -> None:
    assert Share.from_heartbeat(details) == share
    assert Share.from_heartbeat(details).has("BTCUSDT") == (
        share == Share(0, 1) or process_of("BTCUSDT", 3) == 2 == share[0]
    )
