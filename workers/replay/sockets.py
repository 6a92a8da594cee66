"""What is fed of one market, and the frames of venues whose sockets have something to remember."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from workers.ingest.line import Line
from workers.ingest.wholeness import Wholeness
from workers.recordings.recording import Recording, stream_named
from workers.recordings.records import Market, Opened, Received
from workers.recordings.sockets import RecordedSockets
from workers.recordings.streams import Stream
from workers.replay.plan import LINE, ReplayPlan
from workers.replay.quotes import QuoteCheck
from workers.runtime.context import VenueContext
from workers.settings.schema import IngestSettings
from workers.store.log.streams import RawEntry
from workers.venues.messages import Message
from workers.venues.session import Broken, Stale, Torn


class Fed(NamedTuple):
    """One market on its way in."""

    context: VenueContext
    line: Line
    quotes: dict[str, QuoteCheck]


class SocketFrames:
    """Takes recorded frames to the lines, each over the session of its socket, and does what ingest does with events.

    A recording cannot be subscribed anew: a book that ends waits for the next snapshot that was recorded.
    """

    def __init__(self, plan: ReplayPlan, markets: Mapping[Market, Fed]) -> None:
        self._markets = markets
        self._sockets: dict[Recording, RecordedSockets] = {
            recording: recording.sockets() for recording in plan.recordings if recording.venue is not None
        }
        self._streams: dict[tuple[Market, str, str], Stream] = {
            (market, stream.symbol, stream.kind): stream
            for market in markets
            for stream in plan.streams[market]
        }
        self._wire_names = {market: _wire_names(fed.context) for market, fed in markets.items()}
        self.sequence_gaps: Counter[Market] = Counter()
        """Holes in the numbers of a connection's frames."""

    def opened(self, recording: Recording, record: Opened) -> None:
        """The recorder opened a socket; the one that it replaces has ended."""
        sockets = self._sockets.get(recording)
        ended = sockets.opened(record) if sockets is not None else None
        if ended is not None:
            self._markets[recording.market].line.ended(ended, record.time_us)

    def received(self, recording: Recording, record: Received) -> list[Stream] | None:
        """Feed a frame; the stream of each message that it held. None: it cannot be used."""
        market, now_us = recording.market, record.time_us
        session, line = self._sockets[recording].of(record.socket), self._markets[market].line
        events = line.frame(record.frame, now_us, session)
        if events is None:
            return None
        streams = []
        for event in events:
            if isinstance(event, Message):
                streams.append(self._stream(market, event.symbol, event.channel))
            elif isinstance(event, Broken):
                self.sequence_gaps[market] += event.reason == "sequence"
                line.ended(session, now_us)
            elif isinstance(event, Stale | Torn):
                names = [name for stream in event.streams if (name := self._wire_names[market].get(stream))]
                line.torn(session, names, now_us, event.data if isinstance(event, Torn) else b"")
                line.begun_anew(session, names, now_us)
        return streams

    def _stream(self, market: Market, symbol: str, channel: str) -> Stream:
        name = (market, symbol, channel)
        return self._streams.get(name) or self._streams.setdefault(name, stream_named(symbol, channel))


def _wire_names(context: VenueContext) -> dict[str, tuple[str, str]]:
    """By the venue's name of a stream: what it is to us (channel, symbol)."""
    return {
        each.stream: (each.channel, each.symbol)
        for endpoint in context.venue.endpoints(list(context.symbols))
        for each in endpoint.subscriptions
    }


def line_of(
    context: VenueContext,
    settings: IngestSettings,
    append: Callable[[RawEntry], None],
    tell: Callable[[RawEntry, str], None],
) -> Line:
    """The line of one market."""
    return Line(
        context.venue,
        context.keys,
        LINE,
        settings,
        context.symbols,
        append,
        tell=tell,
        wholeness=Wholeness(context.keys, LINE, append),
        recorded=True,
    )
