"""One capture file: its format, what it holds, and its records in order; and several merged by time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from workers.errors import RecordingError
from workers.recordings import cryptofeed, hftbacktest
from workers.recordings.lines import numbered_lines
from workers.recordings.partial import PartialBooks
from workers.recordings.records import Damage, Market, Note, Received, Record, RecordedSnapshot
from workers.recordings.streams import Stream, market_shown_by, stream_of

NAMED: Final = b'{"stream"'
"""How frames begin that say which stream they are of."""
LINES_TRIED: Final = 100
"""Lines of which one must show the format."""


class _Format(NamedTuple):
    name: str
    recognises: Callable[[bytes], object]
    parse_line: Callable[[str, int, bytes], Received | RecordedSnapshot | Note]


_FORMATS: Final = (
    _Format("hftbacktest", hftbacktest.RECOGNISED.match, hftbacktest.parse_line),
    _Format("cryptofeed", cryptofeed.RECOGNISED.match, cryptofeed.parse_line),
)


class Recording:
    """A capture file, looked through once.

    Args:
        path: plain, `.gz` or `.zst`.
        market: instead of the one its URLs or messages show.

    Raises:
        RecordingError: it cannot be read at all, or holds no Binance messages.
    """

    def __init__(self, path: Path, market: Market | None = None) -> None:
        self.path = path
        self._format = self._recognised()
        self.streams: dict[Stream, int] = {}
        """How many frames each stream has."""
        self.snapshots: Counter[str] = Counter()
        self.snapshot_limit = 0
        """The least number of levels a snapshot was asked for; 0 without snapshots."""
        self.records_found = 0
        self.partial = PartialBooks()
        self._urls: dict[str, int] = {}
        self._shown: dict[bool, Market] = {}
        for record in self._records():
            self._look_at(record)
        self.market: Market = market or self._market_found()
        if not self.streams and not self.snapshots:
            raise RecordingError(str(path), 1, "it holds no message of Binance")

    @property
    def symbols(self) -> list[str]:
        """The symbols of its depth and trade streams, in order of appearance."""
        wanted = [
            stream for stream in self.streams if stream.is_depth or stream.kind in ("trade", "aggTrade")
        ]
        return list(dict.fromkeys(stream.symbol for stream in wanted))

    def _recognised(self) -> _Format:
        is_empty = True
        for _, line in islice(numbered_lines(self.path), LINES_TRIED):
            is_empty = False
            for known in _FORMATS:
                if known.recognises(line):
                    return known
        if is_empty:
            raise RecordingError(str(self.path), 0, "the file is empty")
        names = " nor ".join(known.name for known in _FORMATS)
        raise RecordingError(str(self.path), 1, f"this is neither a capture of {names}")

    def _look_at(self, record: Record) -> None:
        self.records_found += 1
        if isinstance(record, Received):
            stream = stream_of(record.frame)
            if stream is not None:
                count = self.streams.get(stream, 0)
                self.streams[stream] = count + 1
                if stream.is_depth and not record.frame.startswith(NAMED):
                    self.partial.look_at(stream, record.frame)
                if count == 0 and (shown := market_shown_by(stream, record.frame)) is not None:
                    self._shown.setdefault(stream.is_depth, shown)
        elif isinstance(record, RecordedSnapshot):
            self.snapshots[record.symbol] += 1
            self.snapshot_limit = min(self.snapshot_limit or record.limit, record.limit)
            self._urls.setdefault(record.url, record.line)
        elif isinstance(record, Note):
            self._urls.setdefault(record.url, record.line)

    def _market_found(self) -> Market:
        found: dict[Market, str] = {}
        for url, line in self._urls.items():
            if not url:
                continue
            market = cryptofeed.market_of(url)
            if market is None:
                host = url.split("/")[2] if url.count("/") > 1 else url
                problem = f"this is a capture of {host}; only captures of Binance can be replayed"
                raise RecordingError(str(self.path), line, problem)
            found.setdefault(market, url)
        if len(found) > 1:
            raise RecordingError(str(self.path), 1, f"it mixes the markets {', '.join(found)} in one file")
        if found:
            return next(iter(found))
        return self._shown.get(True) or self._shown.get(False) or "spot"

    def records(self) -> Iterator[Record]:
        """The records in the order of the file, snapshots with their symbol."""
        only = self.symbols[0] if len(self.symbols) == 1 else ""
        for record in self._records():
            if isinstance(record, RecordedSnapshot) and not record.symbol:
                if only:
                    yield record._replace(symbol=only)
                else:
                    problem = (
                        f"whose snapshot this is is not said, and the file has {len(self.symbols)} symbols"
                    )
                    error = RecordingError(str(self.path), record.line, problem)
                    yield Damage(record.time_us, record.line, error)
            else:
                yield record

    def _records(self) -> Iterator[Record]:
        path, parse_line = str(self.path), self._format.parse_line
        time_us, number = 0, 0
        try:
            for number, line in numbered_lines(self.path):
                if not line:
                    continue
                try:
                    record = parse_line(path, number, line)
                except RecordingError as error:
                    yield Damage(time_us, number, error)
                else:
                    time_us = record.time_us or time_us
                    yield record
        except RecordingError as error:
            yield Damage(time_us, error.line, error)


def merged(recordings: Sequence[Recording]) -> Iterator[tuple[Recording, Record]]:
    """The records of all files by time; those of one file stay in its order."""
    if len(recordings) == 1:
        only = recordings[0]
        return ((only, record) for record in only.records())

    def timed(recording: Recording) -> Iterator[tuple[int, Recording, Record]]:
        for record in recording.records():
            yield record.time_us, recording, record

    streams = [timed(recording) for recording in recordings]
    return ((recording, record) for _, recording, record in heapq.merge(*streams, key=itemgetter(0)))
