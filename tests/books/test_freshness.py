"""When a book in sync may be outdated though its stream says nothing."""

from __future__ import annotations

import pytest

from workers.model.books.freshness import Freshness, LivingLine

NOW, STALE_MS = 1_000_000, 10_000


def judged(fresh: Freshness, lines: list[LivingLine], silent_ms: int = 0, now_ms: int = NOW) -> bool:
    fresh.judge(lines, now_ms, silent_ms, STALE_MS)
    return fresh.stale


@pytest.mark.parametrize(
    ("silent_ms", "lives", "stale"), [(10_000, False, False), (10_001, False, True), (99_999, True, False)]
)
def test_silence_counts_only_while_no_line_lives(silent_ms: int, lives: bool, stale: bool) -> None:
    fresh = Freshness()
    assert not fresh.judged
    assert judged(fresh, [LivingLine(NOW, 0)] * lives, silent_ms) == stale
    assert fresh.judged
    assert not judged(fresh, [LivingLine(NOW, 0)], silent_ms), "a line lives again"


def recovered(last_event_ms: int) -> Freshness:
    fresh = Freshness()
    fresh.recovered(NOW, last_event_ms)
    return fresh


def test_a_line_that_has_lived_since_the_last_event_proves_it() -> None:
    began_later, has_lived = LivingLine(NOW + 1, NOW - 50), LivingLine(NOW + 1, NOW - 200)
    fresh = recovered(NOW - 100)
    assert judged(fresh, [began_later])
    assert fresh.to_confirm
    assert not judged(fresh, [began_later, has_lived])
    assert not judged(fresh, [began_later]), "once proven it stays so"


def test_a_line_that_has_told_nothing_since_the_recovery_proves_nothing() -> None:
    fresh = recovered(NOW - 20_000)
    assert not judged(fresh, [LivingLine(NOW, 0)]), "nothing is known of the lines yet"
    assert not fresh.to_confirm
    assert judged(fresh, []), "and the book is old"
    assert judged(fresh, [LivingLine(NOW, 0)]), "so it stays withheld until one has told"


@pytest.mark.parametrize("how", ["event", "snapshot"])
def test_an_event_that_the_line_may_have_brought_or_a_snapshot_proves_it_too(how: str) -> None:
    line, fresh = LivingLine(NOW + 1, NOW - 50), recovered(NOW - 100)
    assert judged(fresh, [line])
    fresh.event(NOW - 60)
    assert judged(fresh, [line]), "that one is older than the line"
    fresh.event(NOW - 50) if how == "event" else fresh.proven()
    assert not judged(fresh, [line])
    assert not fresh.to_confirm
