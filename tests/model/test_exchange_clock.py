"""The exchange's time is estimated late, never early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.model.exchange_clock import WINDOW_MS, ExchangeClock


def test_nothing_is_known_before_the_first_message() -> None:
    clock = ExchangeClock()
    assert clock.now(5) is None
    clock.observe(1_000, 1_200)
    assert clock.now(2_000) == 1_800


def test_a_clock_of_ours_that_is_behind_gives_a_negative_offset() -> None:
    clock = ExchangeClock()
    clock.observe(10_000, 8_730)
    assert clock.offset_ms == -1_270


@given(st.integers(-5_000, 5_000), st.lists(st.tuples(st.integers(0, 900), st.integers(0, 300)), min_size=1))
def test_it_is_never_ahead_of_the_exchange(offset: int, messages: list[tuple[int, int]]) -> None:
    clock, event = ExchangeClock(), 1_000_000
    for step, delay in messages:
        event += step
        received = event + offset + delay
        clock.observe(event, received)
        estimated = clock.now(received)
        assert estimated is not None
        assert estimated <= received - offset


def test_an_old_minimum_is_forgotten_when_the_clocks_drift() -> None:
    clock = ExchangeClock()
    clock.observe(0, 5)
    for second in range(1, 3 * WINDOW_MS // 1000):
        clock.observe(second * 1000, second * 1000 + 80)
    assert clock.offset_ms == 80
