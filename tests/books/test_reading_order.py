"""Which streams a round reads while books are left alone until they may be published."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.books.reading import FEWEST_AT_ONCE, PARTS, SHORT_ROUND_S, BookReading
from workers.settings.schema import BookSettings

NOW = 1_000.0


def reading_of(left_alone: list[float]) -> tuple[BookReading, dict[str, float]]:
    """Streams that are left alone until some time; 0: they are not."""
    until = {f"raw:S{number}": at for number, at in enumerate(left_alone)}
    nothing: Any = None
    books: Any = until
    reading = BookReading(nothing, books, nothing, nothing, BookSettings(), nothing, nothing, nothing)
    for key, at in until.items():
        if at:
            reading.leave_alone(key, at)
    return reading, until


@given(
    st.lists(st.sampled_from([0.0, NOW - 3, NOW - 2, NOW - 1, NOW, NOW + 1, NOW + 2])),
    st.sampled_from([0.0, SHORT_ROUND_S, 1.0]),
)
def test_those_due_longest_come_first_and_a_part_at_once(left_alone: list[float], last_s: float) -> None:
    reading, until = reading_of(left_alone)
    wanted = reading._wanted(list(until), NOW, last_s)
    free = [key for key, at in until.items() if not at]
    due = [key for key, at in until.items() if 0 < at <= NOW]
    most = max(FEWEST_AT_ONCE, sum(at > 0 for at in left_alone) // PARTS)
    if last_s >= SHORT_ROUND_S:
        most = len(due)  # or a slow worker would read each book once in six rounds, and let it fall behind
    assert wanted[: len(free)] == free
    chosen = wanted[len(free) :]
    assert len(set(chosen)) == len(chosen) == min(most, len(due))
    left = set(due) - set(chosen)
    assert reading.has_due == bool(left)
    assert all(until[key] <= until[other] for key in chosen for other in left)
    assert reading.unwanted_until == (min(left_alone, default=0.0))


def test_all_are_read_in_a_few_rounds() -> None:
    reading, until = reading_of([NOW - 1] * 100)
    rounds, read = 0, set[str]()
    while rounds == 0 or reading.has_due:
        rounds += 1
        for key in reading._wanted(list(until), NOW, 0.0):
            read.add(key)
            reading.leave_alone(key, NOW + 1)
    assert read == set(until)
    assert rounds == -(-100 // (100 // PARTS))
