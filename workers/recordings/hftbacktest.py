"""Captures of hftbacktest's collector: one frame a line, after the time it was received.

    1723161255030314667 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,…}}
    1723161255319702468 {"lastUpdateId":5123107852948,"E":…,"T":…,"bids":[["61800.20","2.909"]],"asks":[…]}

The time is in ns since 1970; older collectors, and people who convert captures, write µs or ms: the number of digits
tells. The second kind is the body of a REST `depth` reply.
"""

from __future__ import annotations

import re
from typing import Final

from workers.errors import RecordingError
from workers.recordings.records import Parsed, Received, RecordedSnapshot
from workers.recordings.snapshots import is_snapshot, snapshot_head

RECOGNISED: Final = re.compile(rb"(?:\d{13}|\d{16}|\d{19}) \{")
_PER_US: Final = {13: (1000, 1), 16: (1, 1), 19: (1, 1000)}
"""By the digits of a time from 2001 to 2286 (ms, µs, ns): what makes µs of it, a factor and a divisor."""


def parse_line(path: str, number: int, line: bytes) -> Parsed:
    """What one line holds.

    Raises:
        RecordingError: nothing that can be used; it names the file and the line.
    """
    if line[-1:] == b"\r":
        line = line[:-1]
    stamp, _, payload = line.partition(b" ")
    unit = _PER_US.get(len(stamp)) if stamp.isdigit() else None
    if unit is None:
        problem = f"it does not begin with a time in ns, µs or ms, but with {stamp[:40]!r}"
        raise RecordingError(path, number, problem)
    if payload[:1] != b"{" or payload[-1:] != b"}":
        raise RecordingError(path, number, f"no whole JSON object follows the time, but {payload[-40:]!r}")
    time_us = int(stamp) * unit[0] // unit[1]
    if is_snapshot(payload):
        head = snapshot_head(path, number, payload)
        levels = max(len(head.bids), len(head.asks))
        return RecordedSnapshot(time_us, number, head.symbol, payload, levels, "")
    return Received(time_us, number, payload)
