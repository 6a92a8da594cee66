"""What stands in Redis as JSON and is none: every reader says so, and none fails of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from workers.model.alerts.records import decode_alert, decode_comment, decode_past
from workers.model.books.top_of_book import decode_top
from workers.model.level3.top import decode_orders_top
from workers.postgres.rows import Source
from workers.store.alerts.book import alert_entries
from workers.store.analytics.reading import events_in

DAMAGED = [
    b'{"id":"\xff"}',
    b'["\xff"]',
    b'[["\xff"]]',
    b'{"other":' + b"[" * 5_000,
    b"[{" * 5_000,
    b"\xff",
    b"",
]
VENUE: Any = None


@pytest.mark.parametrize("payload", DAMAGED)
def test_what_is_no_text_or_nested_for_ever_is_none_of_ours(payload: bytes):
    for decode in (decode_top, decode_orders_top, decode_alert, decode_comment, decode_past):
        with pytest.raises(msgspec.MsgspecError):
            decode(payload)
    fields = {b"event": b"fired", b"data": payload}
    assert alert_entries([(b"1-1", fields)]) == []
    assert events_in(fields) == []
    for table in ("top_of_book", "analytics_events"):
        decoded = Source(table, "", "").decode(VENUE, "BTCUSDT", 1, b"1-1", fields)
        assert (decoded.rows, bool(decoded.problem)) == ((), True)
