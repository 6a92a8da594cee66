"""Where a row lies in the archive: kinds, stream ids, folders, file names. No I/O.

    <url>/venue=usdm/kind=trades/symbol=BTCUSDT/date=2026-11-20/<first id>_<last id>.parquet
    <url>/venue=usdm/kind=bars/symbol=BTCUSDT/date=2026-11-20/interval=1m/<first id>_<last id>.parquet
    <url>/venue=usdm/kind=raw/symbol=BTCUSDT/date=2026-11-20/channel=markPrice%401s/<first id>_<last id>.parquet
    <url>/_incomplete/usdm/BTCUSDT/aggTrade-<fencing number>.tmp

The date is the UTC day of the row's event time. A name from outside is percent-encoded, so that every character of
it survives every file system and URL, and can be read back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote

from workers.store.keys import DEPTH, TRADES, Keys

Kind = Literal["trades", "bars", "depth", "raw", "history"]
KINDS: Final[tuple[Kind, ...]] = ("trades", "bars", "depth", "raw")
"""Those that are streams; `history` is what the books of every second are read from."""
INCOMPLETE: Final = "_incomplete"
DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
_NAME: Final = re.compile(r"(\d+)-(\d+)_(\d+)-(\d+)\.parquet")


class StreamId(NamedTuple):
    """A stream entry's id; ids compare as the entries stand in their stream."""

    ms: int
    sequence: int

    @classmethod
    def parse(cls, text: bytes | str) -> StreamId:
        """`1790000000000-42`."""
        ms, sequence = (text.decode() if isinstance(text, bytes) else text).split("-")
        return cls(int(ms), int(sequence))

    def __str__(self) -> str:
        return f"{self.ms}-{self.sequence}"


START: Final = StreamId(0, 0)
"""Before every entry."""


class Source(NamedTuple):
    """One stream of one symbol, as the archive files it."""

    venue: str
    symbol: str
    kind: Kind
    interval: str = ""
    """Of bars; else empty."""
    channel: str = ""
    """Of the kind `raw`: a further channel of the settings; else empty."""

    @property
    def name(self) -> str:
        """What the stream is called where its symbol is known: `aggTrade`, `depth`, `bars:1m`, `markPrice@1s`."""
        if self.kind == "raw":
            return self.channel
        if self.kind == "history":
            return self.kind
        if self.kind == "bars":
            return f"bars:{self.interval}"
        return TRADES if self.kind == "trades" else DEPTH

    def key(self, keys: Keys) -> str:
        """Its key in Redis."""
        if self.kind == "history":
            return keys.history(self.symbol)
        return (
            keys.bars(self.symbol, self.interval) if self.kind == "bars" else keys.raw(self.symbol, self.name)
        )

    @property
    def folder(self) -> str:
        """The folder above its dates."""
        return f"venue={encoded(self.venue)}/kind={self.kind}/symbol={encoded(self.symbol)}"

    def day_folder(self, day: int) -> str:
        """The folder of its rows of one day."""
        inner = "".join(f"/{name}={encoded(value)}" for name, value in self.within)
        return f"{self.folder}/date={day_text(day)}{inner}"

    @property
    def within(self) -> list[tuple[str, str]]:
        """What names it among the streams of its kind and symbol: the interval of bars, the channel."""
        return [
            (name, value) for name, value in (("interval", self.interval), ("channel", self.channel)) if value
        ]

    @property
    def incomplete_folder(self) -> str:
        """Where its files are while they are written; other streams of the symbol use it too."""
        return f"{INCOMPLETE}/{encoded(self.venue)}/{encoded(self.symbol)}"

    @property
    def incomplete_prefix(self) -> str:
        """How the names of its files begin while they are written."""
        return f"{encoded(self.name.replace(':', '.'))}-"

    def incomplete(self, token: str) -> str:
        """The file that the owner with this fencing number writes."""
        return f"{self.incomplete_folder}/{self.incomplete_prefix}{token}.tmp"


class FileRange(NamedTuple):
    """The entries a file holds: every entry of its stream from the first to the last id."""

    first: StreamId
    last: StreamId

    @classmethod
    def parse(cls, name: str) -> FileRange | None:
        """Of a file's name; None for a file that is not of the archive."""
        found = _NAME.fullmatch(name)
        if not found:
            return None
        first_ms, first_sequence, last_ms, last_sequence = map(int, found.groups())
        return cls(StreamId(first_ms, first_sequence), StreamId(last_ms, last_sequence))

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.first}_{self.last}.parquet"


def encoded(name: str) -> str:
    """A venue's or symbol's name as part of a path: letters, digits, `_`, `-`, `.`, `~`, else `%` and hex."""
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


def decoded(part: str) -> str:
    """The name behind such a part of a path."""
    return unquote(part, errors="strict")


def day_of(ms: int) -> int:
    """The UTC day of a time in ms, counted from 1970-01-01."""
    return ms // DAY_MS


def day_text(day: int) -> str:
    """`2026-11-20`."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def day_of_folder(name: str) -> int | None:
    """The day of a folder `date=2026-11-20`; None for another folder."""
    if not name.startswith("date="):
        return None
    try:
        return (date.fromisoformat(name.removeprefix("date=")) - _EPOCH).days
    except ValueError:
        return None


def iso_text(ms: int) -> str:
    """A time in ms as people read it: `2026-11-20T12:00:00.123Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sources_of(
    venue: str, symbol: str, kinds: Sequence[str], intervals: Sequence[str], channels: Iterable[str] = ()
) -> list[Source]:
    """The streams of a symbol that the settings want archived."""
    found: list[Source] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        if kind == "raw":
            found += [Source(venue, symbol, kind, channel=channel) for channel in channels]
        else:
            found += [Source(venue, symbol, kind, name) for name in (intervals if kind == "bars" else [""])]
    return found
