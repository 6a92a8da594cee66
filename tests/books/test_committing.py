"""Whose checkpoints are stored in one round."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from workers.books.committing import PARTS, part_of


class Book(NamedTuple):
    committed_at: float
    commit_urgent: bool


BOOKS = st.lists(st.builds(Book, st.floats(0, 100), st.booleans()), max_size=40)


@given(BOOKS)
def test_a_round_stores_the_urgent_ones_or_a_part_that_waited_longest(due: list[Book]) -> None:
    chosen = part_of(due)
    urgent = [book for book in due if book.commit_urgent]
    assert len(chosen) == max(len(urgent), -(-len(due) // PARTS))
    assert [book for book in chosen if book.commit_urgent] == sorted(urgent)
    others = sorted(book for book in due if not book.commit_urgent)
    assert [book for book in chosen if not book.commit_urgent] == others[: len(chosen) - len(urgent)]


def test_the_last_of_many_waits_for_few_rounds() -> None:
    due, rounds = [Book(float(number), False) for number in range(600)], 0
    while due:
        rounds += 1
        chosen = set(part_of(due))
        due = [book for book in due if book not in chosen]
    assert rounds <= 5 * PARTS
