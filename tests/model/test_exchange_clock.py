"""The exchange's time is estimated late, never early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.model.trades.exchange_clock import MOST_AHEAD_MS, WINDOW_MS, ClockCeiling, ExchangeClock


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
        assert clock.offset_ms == 5 or second * 1000 > 1.5 * WINDOW_MS
    assert clock.offset_ms == 80


def test_our_clock_is_the_ceiling() -> None:
    ceiling = ClockCeiling()
    for ms in range(0, 6_000, 60):
        ahead = 590_000 if ms % 600 == 0 else -30
        assert ceiling.believed(ms + ahead, ms) == (ms if ahead > 0 else ms - 30)


def test_it_is_raised_by_what_our_clock_is_behind_but_not_for_a_few_messages() -> None:
    ceiling = ClockCeiling()
    for number in range(200):
        ms = 60 * number
        ahead = 590_000 if number % 7 == 3 else -30 if number % 7 in (0, 2, 5) else 1_500 + number % 40
        found = ceiling.believed(ms + ahead, ms)
        assert found <= ms + 1_700
        assert number < 32 or ahead > 2_000 or found == ms + ahead


@given(st.lists(st.tuples(st.integers(-90_000_000, 600_000), st.integers(0, 500)), max_size=300))
def test_nothing_is_believed_that_is_further_ahead_than_seconds_or_later_than_said(
    messages: list[tuple[int, int]],
) -> None:
    ceiling, now_ms = ClockCeiling(), 10**12
    for lead, pause in messages:
        now_ms += pause
        believed = ceiling.believed(now_ms + lead, now_ms)
        assert believed <= min(now_ms + lead, now_ms + MOST_AHEAD_MS)
        assert lead > 0 or believed == now_ms + lead


@pytest.mark.parametrize("ahead", [1_500, 590_000, 3_600_000])
def test_one_message_alone_moves_the_clock_nowhere(ahead: int) -> None:
    clock, seen = ExchangeClock(), 1_000_000
    for number in range(200):
        seen += 50
        wrong = ahead if number in (0, 57, 130) else 0
        clock.observe(seen - 20 + wrong, seen)
        if number:
            assert clock.now(seen) == seen - 20


@pytest.mark.parametrize(("step_ms", "late_by"), [(1_000, 0), (3_000, 1)])
def test_what_two_messages_say_counts(step_ms: int, late_by: int) -> None:
    """After a backlog the clock is late until the newest messages are reached; by one, where they are far apart."""
    clock = ExchangeClock()
    clock.observe(0, 90_000)
    for number in range(1, 90):
        clock.observe(number * step_ms, 90_001 + number)
    assert clock.now(90_090) == pytest.approx((89 - late_by) * step_ms, abs=2)
