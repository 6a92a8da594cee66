"""What a capture file consists of, whatever its format."""

from __future__ import annotations

from typing import NamedTuple

from workers.errors import RecordingError

Market = str
"""Of Binance `spot`, `usdm` or `coinm`; of another exchange its name, with
`-<market>` where it is not its usual one."""


class Received(NamedTuple):
    """A frame that came over a websocket, byte for byte."""

    time_us: int
    """When the recorder received it, µs since 1970."""
    line: int
    """Where it stands in its file, from 1."""
    frame: bytes
    socket: str = ""
    """Which of the recorder's sockets, where the capture says so."""


class RecordedSnapshot(NamedTuple):
    """The body of a REST `depth` reply, at the time it arrived."""

    time_us: int
    line: int
    symbol: str
    """Empty where the capture does not name it."""
    body: bytes
    limit: int
    """Levels asked for per side; where the capture does not say, the levels of the longer side."""
    url: str
    """Where it was asked for; empty where the capture does not say."""


class Note(NamedTuple):
    """What feeds nothing: a frame the recorder sent, another REST reply, the configuration."""

    time_us: int
    line: int
    url: str


class Opened(NamedTuple):
    """The recorder opened a socket."""

    time_us: int
    line: int
    url: str
    socket: str = ""
    """Its name in the frames; empty where those name none, so that all of a file are taken for those of one."""


class Damage(NamedTuple):
    """A line that cannot be used, or the place from which on a file cannot be read."""

    time_us: int
    line: int
    error: RecordingError


Parsed = Received | RecordedSnapshot | Note | Opened
Record = Parsed | Damage


class Period(NamedTuple):
    """A stretch of time, ms, without its end."""

    start_ms: int
    end_ms: int
