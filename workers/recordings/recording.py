"""One capture file: its format, what it holds, and its records in order; and several merged by time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from workers.errors import MalformedFrame, RecordingError
from workers.recordings import bare, cryptofeed, hftbacktest, raw_records
from workers.recordings.exchanges import (
    BINANCE,
    Source,
    Traits,
    exchange_of_frame,
    exchange_of_url,
    section_of,
    settings_as_recorded,
)
from workers.recordings.lines import numbered_lines
from workers.recordings.partial import PartialBooks
from workers.recordings.records import (
    Damage,
    Market,
    Note,
    Opened,
    Parsed,
    Received,
    Record,
    RecordedSnapshot,
)
from workers.recordings.sockets import RecordedSockets
from workers.recordings.streams import Stream, market_shown_by, stream_of
from workers.recordings.tardis.file import TardisFile, dataset_of
from workers.recordings.tardis.frames import records_of
from workers.settings.exchanges import exchanges
from workers.settings.schema import VenueSettings
from workers.venues.interface import Venue
from workers.venues.messages import Message
from workers.venues.registry import venue_of

NAMED: Final = b'{"stream"'
"""How frames begin that say which stream they are of."""
LINES_TRIED: Final = 100
"""Lines of which one must show the format."""
SAMPLED: Final = 5_000
"""Records that must show the exchange, and how its recorder had subscribed."""


class _Format(NamedTuple):
    name: str
    recognises: Callable[[bytes], object]
    parse_line: Callable[[str, int, bytes], Parsed]


_FORMATS: Final = (
    _Format("cryptofeed (JSON lines)", raw_records.RECOGNISED.match, raw_records.parse_line),
    _Format("hftbacktest", hftbacktest.RECOGNISED.match, hftbacktest.parse_line),
    _Format("cryptofeed (time and frame)", cryptofeed.RECOGNISED.match, cryptofeed.parse_line),
    _Format("bare frames, one a line", bare.RECOGNISED.match, bare.parse_line),
)


class Recording:
    """A capture file, looked through once.

    Args:
        path: plain, `.gz` or `.zst`.
        market: of Binance, instead of the one its URLs or messages show.
        source: instead of the exchange they show; where it names no market, they show that.

    Raises:
        RecordingError: it cannot be read at all, or holds no messages of an exchange.
    """

    def __init__(self, path: Path, market: Market | None = None, source: Source | None = None) -> None:
        self.path = path
        self._dataset = TardisFile(path) if dataset_of(path) is not None else None
        self._format = self._recognised() if self._dataset is None else _FORMATS[-1]
        self.streams: dict[Stream, int] = {}
        """How many frames each stream has."""
        self.snapshots: Counter[str] = Counter()
        self.snapshot_limit = 0
        """The least number of levels a snapshot was asked for; 0 without snapshots."""
        self.partial = PartialBooks()
        self._urls: dict[str, int] = {}
        self._shown: dict[bool, Market] = {}
        self.settings: VenueSettings | None = None
        """Those with which its frames came, without symbols; None of Binance, where the streams name themselves."""
        self.venue: Venue | None = None
        source = source or self._source()
        if source is None:
            known = ", ".join(exchanges())
            raise RecordingError(str(path), 1, f"it holds no message of an exchange that is known ({known})")
        self.market: Market
        if source.exchange == BINANCE:
            for record in self._records():
                self._look_at(record)
            self.market = market or source.market or self._market_found()
        else:
            self._look_through(source)
        if not self.streams and not self.snapshots:
            raise RecordingError(str(path), 1, f"it holds no message of {source.exchange.capitalize()}")

    def _source(self) -> Source | None:
        """The exchange its URLs name, or else its frames.

        Raises:
            RecordingError: a URL names another one.
        """
        shown = None
        for record in islice(self._records(), SAMPLED):
            if isinstance(record, Note | Opened | RecordedSnapshot) and record.url:
                exchange = exchange_of_url(record.url)
                if exchange is None:
                    host = record.url.split("/")[2] if record.url.count("/") > 1 else record.url
                    problem = (
                        f"this is a capture of {host}; what can be replayed is of {', '.join(exchanges())}"
                    )
                    raise RecordingError(str(self.path), record.line, problem)
                return Source(exchange)
            if isinstance(record, RecordedSnapshot):
                shown = shown or BINANCE
            elif isinstance(record, Received):
                shown = shown or exchange_of_frame(record.frame)
        return Source(shown) if shown else None

    def _look_through(self, source: Source) -> None:
        """Learn how its recorder had subscribed, and count what its sockets brought."""
        traits, urls = Traits(source.exchange), []
        for record in islice(self._records(), SAMPLED):
            if isinstance(record, Received):
                traits.look_at(record.frame)
            elif isinstance(record, Opened):
                urls.append(record.url)
        try:
            self.settings = settings_as_recorded(source, traits, urls)
            self.venue = venue_of(source.exchange, self.settings)
        except (KeyError, ValueError, TypeError) as error:
            problem = f"{source.exchange} has no market {source.market!r}: {error}"
            raise RecordingError(str(self.path), 1, problem) from error
        self.market = section_of(self.settings)
        sockets, streams = self.sockets(), dict[tuple[str, str], Stream]()
        for record in self._records():
            if isinstance(record, Opened):
                sockets.opened(record)
            elif isinstance(record, RecordedSnapshot):
                self.snapshots[record.symbol] += 1
            elif isinstance(record, Received):
                for message in _messages(sockets, record):
                    name = (message.symbol, message.channel)
                    stream = streams.get(name) or streams.setdefault(name, stream_named(*name))
                    self.streams[stream] = self.streams.get(stream, 0) + 1

    def sockets(self) -> RecordedSockets:
        """Fresh sessions for its frames.

        Raises:
            ValueError: it is of Binance, whose sockets have nothing to remember.
        """
        if self.venue is None or self.settings is None:
            raise ValueError(f"{self.path} is of {BINANCE}")
        return RecordedSockets(self.venue, self.settings.websocket_url)

    @property
    def symbols(self) -> list[str]:
        """The symbols of its streams of books, single orders and trades, in order of appearance."""
        wanted = [
            stream
            for stream in self.streams
            if stream.is_depth or stream.is_orders or stream.kind in ("trade", "aggTrade")
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
        names = "; ".join(known.name for known in _FORMATS)
        problem = f"this is of no known kind of capture; there are: {names}"
        raise RecordingError(str(self.path), 1, problem)

    def _look_at(self, record: Record) -> None:
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
        elif isinstance(record, Note | Opened):
            self._urls.setdefault(record.url, record.line)

    def _market_found(self) -> Market:
        found: dict[Market, str] = {}
        for url, line in self._urls.items():
            if not url:
                continue
            market = cryptofeed.market_of(url)
            if market is None:
                problem = f"{url} is none of Binance's, of which the others are"
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
            if isinstance(record, RecordedSnapshot) and self.venue is not None:
                yield self._of_venue(record, self.venue)
            elif isinstance(record, RecordedSnapshot) and not record.symbol:
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

    def _of_venue(self, snapshot: RecordedSnapshot, venue: Venue) -> RecordedSnapshot | Damage:
        """With the symbol as we spell it."""
        try:
            return snapshot._replace(symbol=venue.symbol_of(snapshot.symbol))
        except ValueError as error:
            damage = RecordingError(str(self.path), snapshot.line, str(error))
            return Damage(snapshot.time_us, snapshot.line, damage)

    def _records(self) -> Iterator[Record]:
        if self._dataset is not None:
            yield from records_of(self._dataset)
            return
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


def stream_named(symbol: str, channel: str) -> Stream:
    """The stream of an exchange whose frames do not name it as Binance's do."""
    return Stream(f"{symbol}@{channel}")


def _messages(sockets: RecordedSockets, record: Received) -> list[Message]:
    """What a frame brought; nothing of one that cannot be used, which is told when it is fed."""
    try:
        events = sockets.of(record.socket).received(record.frame, record.time_us // 1000)
    except MalformedFrame:
        return []
    return [event for event in events if isinstance(event, Message)]


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
