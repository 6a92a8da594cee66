from __future__ import annotations

from workers.model.pauses import Pauses


def test_pauses_double_to_the_longest_and_begin_anew() -> None:
    pauses = Pauses(0.5, 30)
    assert pauses.is_first
    assert [pauses.take() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert not pauses.is_first
    pauses.reset()
    assert pauses.is_first
    assert (pauses.next_s, pauses.take(), pauses.next_s) == (0.5, 0.5, 1)


def test_no_pause_is_longer_than_the_longest() -> None:
    assert Pauses(10, 4).take() == 4
