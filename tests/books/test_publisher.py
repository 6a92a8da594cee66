"""When a book is published, and what the payload looks like."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from workers.model.books.top_of_book import Pace, TopOfBook, decode_top, encode_top


def test_the_payload_has_its_first_four_keys_first_and_keeps_the_text() -> None:
    top = TopOfBook("币安人生USDT", [("1.0", "2.50")], [("1.10", "0.001")], 7, 8, 0, 9, 10, 11)
    text = encode_top(top).decode()
    assert text.startswith(
        '{"s":"币安人生USDT","b":[["1.0","2.50"]],"a":[["1.10","0.001"]],"u":7,"E":8,"T":0,'
    )
    assert list(json.loads(text))[4:] == ["E", "T", "synced_at", "received", "published"]
    assert decode_top(text) == top


def test_leading_edge_at_once_trailing_edge_after_the_interval() -> None:
    pace = Pace(100)
    assert not pace.due(0)
    pace.changed()
    assert pace.due(0)
    pace.published(0)
    pace.changed()
    assert not pace.due(99)
    assert pace.waiting
    assert pace.due(100)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_never_more_often_than_the_interval_and_the_last_change_always_goes_out(gaps: list[int]) -> None:
    changes, now = set(), 0
    for gap in gaps:
        now += gap
        changes.add(now)
    pace, published, seen = Pace(100), [], 0
    for ms in range(now + 201):
        if ms in changes:
            pace.changed()
            seen = ms
        if pace.due(ms):
            pace.published(ms)
            published.append((ms, seen))
    times = [ms for ms, _ in published]
    assert all(later - earlier >= 100 for earlier, later in zip(times, times[1:], strict=False))
    assert published[-1][1] == max(changes)
    for change in changes:
        assert any(change <= ms <= change + 100 for ms in times)
