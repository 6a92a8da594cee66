"""Whether the exchange has gone on while a book's stream stands still."""

from __future__ import annotations

import pytest

from workers.books.overtaking import DEAD_S, Overtaking, same_level


def test_what_is_ahead_of_a_silent_stream_proves_it_dead_after_a_while() -> None:
    book = Overtaking()
    assert not book.judge(100, silent_s=90)  # silence alone is a quiet market
    book.ahead("trades went on", 100, event_ms=5_000)
    assert not book.judge(100 + DEAD_S - 0.1, 90)
    assert not book.judge(100 + DEAD_S, DEAD_S - 0.1)
    assert book.judge(100 + DEAD_S, DEAD_S)
    assert book.evidence == "trades went on"


def test_it_lives_again_once_an_event_has_brought_the_book_there() -> None:
    book = Overtaking()
    book.ahead("a snapshot is ahead", 0, update_id=50)
    assert book.judge(DEAD_S, DEAD_S)
    book.moved(49, 0)
    assert book.judge(DEAD_S + 0.1, 0.1)
    book.moved(50, 0)
    assert not book.judge(DEAD_S + 0.2, 0.1)


def test_a_stream_that_moves_is_late_and_not_dead() -> None:
    book = Overtaking()
    for second in range(60):
        book.ahead("a bookTicker is ahead", second, update_id=1_000 + second)
        book.moved(second, 0)
        assert not book.judge(second, 0.0)


def test_best_levels_that_came_back_are_no_proof() -> None:
    book = Overtaking()
    book.ahead("a bookTicker is ahead", 0, update_id=50)
    book.agreed()
    assert not book.judge(100, 100)
    book.ahead("trades went on", 100, event_ms=5_000)
    book.agreed()  # says nothing of the levels behind the best
    assert book.judge(100 + DEAD_S, DEAD_S)


def test_losing_the_book_ends_it() -> None:
    book = Overtaking()
    book.ahead("a snapshot is ahead", 0, update_id=50)
    book.judge(10, 10)
    book.forget()
    assert not book.judge(100, 100)


@pytest.mark.parametrize(
    ("held", "other", "same"),
    [
        (("1.0", "2"), ("1.00", "2.0"), True),
        (("1.0", "2"), ("1.0", "3"), False),
        (("1.0", "2"), ("1.1", "2"), False),
        (None, ("1.0", "0.000"), True),
        (None, None, True),
        (("1.0", "2"), None, False),
    ],
)
def test_levels_are_compared_as_numbers(held, other, same: bool) -> None:
    assert same_level(held, other) is same
