"""Which books are served under overload: never none, the most important first, and all again when there is time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.books.attention import QUICK_ROUNDS, SLOW_ROUNDS, Attention

KEYS = [f"S{number}" for number in range(12)]
SECONDS = st.sampled_from([0.001, 0.1, 0.5, 1.5, 40.0])


@given(st.lists(st.tuples(SECONDS, st.booleans(), st.integers(1, len(KEYS))), max_size=60))
def test_the_most_important_are_served_whatever_happens(rounds: list[tuple[float, bool, int]]) -> None:
    attention = Attention(behind_s=2.0)
    for seconds, caught_up, count in rounds:
        keys = KEYS[:count]
        attention.round_took(keys, seconds)
        attention.check()
        served = attention.served(keys)
        assert served[0] == keys[0]
        if caught_up:
            attention.returned()
        attention.check()


def test_slow_rounds_leave_few_and_quick_ones_take_all_back_one_by_one() -> None:
    attention = Attention(behind_s=2.0)
    for _ in range(40):
        attention.round_took(KEYS, 3.0)
    assert attention.served(KEYS) == KEYS[:1]
    back = []
    for _ in range(QUICK_ROUNDS + 2 * len(KEYS)):
        attention.round_took(KEYS, 0.01)
        if attention.returning is not None:
            back.append(attention.returning)
            attention.returned()
    assert back == KEYS[1:]
    assert attention.served(KEYS) == KEYS


def test_one_slow_round_costs_nobody_anything() -> None:
    attention = Attention(behind_s=2.0)
    for _ in range(SLOW_ROUNDS - 1):
        assert not attention.round_took(KEYS, 9.0)
    attention.round_took(KEYS, 0.01)
    assert attention.served(KEYS) == KEYS


def test_a_round_that_is_neither_slow_nor_quick_changes_nothing() -> None:
    attention = Attention(behind_s=2.0)
    for _ in range(SLOW_ROUNDS):
        attention.round_took(KEYS, 3.0)
    served = attention.served(KEYS)
    for _ in range(20):
        attention.round_took(KEYS, 0.6)
    assert attention.served(KEYS) == served
    assert attention.returning is None
