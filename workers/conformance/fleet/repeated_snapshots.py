"""How often a book had to be asked for again, through no fault of the reader, as the workers' logs tell.

A second snapshot that is the copy of the first one bears nothing out: where nothing was traded for half a second REST
gives the same again. And on a busy machine an answer may come later than anybody waits.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

COPY: Final = b'"SAME"'
LATE: Final = b"TimeoutError: no whole answer"


class Line(msgspec.Struct):
    """What of a log line matters here."""

    event: str = ""
    venue: str = ""
    symbol: str = ""
    outcome: str = ""
    error: str = ""


def repeated_snapshots(logs: Path) -> Counter[tuple[str, str]]:
    """By venue and symbol, how many snapshots came too late, or as a copy of the one before.

    Args:
        logs: the folder of the workers' logs, one JSON object a line.
    """
    found: Counter[tuple[str, str]] = Counter()
    for path in logs.glob("books-*.log"):
        for text in path.read_bytes().splitlines():
            if COPY not in text and LATE not in text:
                continue
            with suppress(msgspec.MsgspecError):
                line = msgspec.json.decode(text, type=Line)
                copy = line.event == "snapshot" and line.outcome == "SAME"
                late = line.event == "snapshot_failed" and LATE.decode() in line.error
                found[line.venue, line.symbol] += copy or late
    return found
