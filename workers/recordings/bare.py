"""Bare frames, one a line in the order they came, as tickvault keeps them. The time is that which a frame names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from workers.errors import RecordingError
from workers.recordings.records import Received

RECOGNISED: Final = re.compile(rb"\s*[\[{]")
_TIMES: Final = (
    re.compile(rb'"(?:ts|E|microtimestamp)":\s*"?(\d{13}|\d{16})\b'),
    re.compile(rb'"localTimestamp":\s*"(\d{4}-\d\d-\d\dT[0-9:]{8})(\.\d+)?Z"'),
    re.compile(rb'"(?:timestamp|time|time_in)":\s*"(\d{4}-\d\d-\d\dT[0-9:]{8})(\.\d+)?Z"'),
)


def _time_us(frame: bytes) -> int:
    if found := _TIMES[0].search(frame):
        return int(found[1]) * (1000 if len(found[1]) == 13 else 1)
    if found := _TIMES[1].search(frame) or _TIMES[2].search(frame):
        try:
            second = datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC)
        except ValueError:
            return 0
        return int(second.timestamp()) * 1_000_000 + int((found[2] or b".0")[1:7].ljust(6, b"0"))
    return 0


def parse_line(path: str, number: int, line: bytes) -> Received:
    """The frame of one line; its time is 0 where it names none.

    Raises:
        RecordingError: it is no whole JSON value; it names the file and the line.
    """
    line = line.strip()
    if line[:1] not in (b"{", b"[") or line[-1:] not in (b"}", b"]"):
        raise RecordingError(path, number, f"it is no whole JSON value, but ends in {line[-40:]!r}")
    return Received(_time_us(line), number, line)
