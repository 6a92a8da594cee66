"""One socket without I/O: the exchange's conversation at one end, ingest's subscriptions and the venue's session at
the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Final, Protocol, cast

from aiohttp import web

from workers.conformance.venues.rest import ModelRest
from workers.ingest.subscriptions import Refusals, Subscriptions
from workers.settings.schema import IngestSettings, VenueSettings
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.faults import Fault
from workers.sim.engine.flavour import Close, Output, Ping, Root, TellsMaintenance
from workers.sim.engine.subscriptions import Subscriptions as ExchangeSubscriptions
from workers.sim.engine.topics import Event as SentEvent
from workers.venues.interface import Endpoint, Venue
from workers.venues.messages import Acknowledged, Message, Refused, ShutdownNotice
from workers.venues.session import Accepted, Ask, Broken, Event, RefusedStreams, Send, Stale

AGENT: Final = "line-a"
FIRST_MESSAGE_S: Final = 10.0
"""A stream that says nothing for so long after it was asked for is asked for again."""
LENGTHS: Final = {126: 2, 127: 8}
"""Bytes that have the length of a websocket frame's payload, by what its length field says."""


def payloads(frames: bytes) -> Iterator[bytes]:
    """What some websocket frames, unmasked and uncompressed, say."""
    at = 0
    while at < len(frames):
        more = LENGTHS.get(frames[at + 1], 0)
        begin = at + 2 + more
        length = int.from_bytes(frames[at + 2 : begin], "big") if more else frames[at + 1]
        yield frames[begin : begin + length]
        at = begin + length


class Reader(Protocol):
    """What takes the frames of a socket."""

    def frame(self, socket: ModelSocket, payload: bytes, stream: str) -> Iterable[Event]:
        """Take in a frame that came over a stream of the exchange (empty: a reply); what it means."""

    def told_all(self) -> None:
        """The last of the frames of one event has been taken in."""

    def torn(self, socket: ModelSocket, names: list[tuple[str, str]]) -> None:
        """Something is missing in streams (channel, symbol)."""

    def begun_anew(self, socket: ModelSocket, names: list[tuple[str, str]]) -> None:
        """Streams (channel, symbol) that were asked for anew begin now."""


class ModelSocket:
    """A socket as a line has it, and as the exchange has it; used once."""

    def __init__(
        self,
        exchange: Exchange[Any],
        root: Root,
        venue: Venue,
        settings: VenueSettings,
        endpoint: Endpoint,
        refusals: Refusals,
        reader: Reader,
    ) -> None:
        self.remote, self.root, self.endpoint = "192.0.2.1", root, endpoint
        self.session = venue.session(endpoint.url)
        self.over = self.announced = False
        """Whether it has ended, and whether the exchange has announced that it will."""
        self.successor: ModelSocket | None = None
        self._exchange, self._settings = exchange, settings
        self._reader = reader
        self._free_at, self._number = 0.0, 0
        self._told_at = self._now_s
        """When it last had to bring a first message of every stream."""
        self.streams = Subscriptions(
            refusals, settings.streams_per_request, IngestSettings().stream_silence_s
        )
        markets = (root.market,) if root.market else exchange.flavour.markets
        self._attached = ExchangeSubscriptions(
            self, exchange.topics, markets, root.classes, exchange.faults, self.meant
        )
        request = cast("web.Request", SimpleNamespace(headers={}, query={}, match_info={}, path=root.path))
        self._conversation = exchange.flavour.converse(root, self._attached, request, self._now_s)
        self._give(self._conversation.opened(self._now_s, int(exchange.now_ms)))
        self._send(self.session.opened(int(exchange.now_ms)))
        self.streams.want(endpoint.subscriptions)

    @property
    def _now_s(self) -> float:
        return self._exchange.now_ms / 1000

    def meant(self, fault: Fault) -> bool:
        """Whether a fault concerns this socket."""
        return fault.covers_connection(self.root.market, self.root.path, 1, AGENT)

    def deliver(self, event: SentEvent) -> None:
        """The exchange sends an event."""
        if event.lost:
            self._conversation.missed(event)
        elif not self.over:
            self._conversation.wrote(self._now_s)
            for payload in payloads(self._conversation.frame(event, False)):
                self._hear(payload, event.stream)
            self._reader.told_all()

    def _give(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, str):
                self._hear(output.encode(), "")
            elif isinstance(output, SentEvent):
                self.deliver(output)
            elif isinstance(output, Close):
                self.over = True
            else:
                assert isinstance(output, Ping)
                self._conversation.ponged(output.payload)

    def _hear(self, payload: bytes, stream: str) -> None:
        for event in self._reader.frame(self, payload, stream):
            self._act(event)

    def _act(self, event: Event) -> None:
        """What a `Connection` of ingest does."""
        now = self._now_s
        if isinstance(event, Message):
            self.streams.heard(event.channel, event.symbol, now)
        elif isinstance(event, Acknowledged):
            self.streams.acknowledged(event.request_id)
        elif isinstance(event, Accepted):
            self.streams.accept(event.streams)
            if begun := self.streams.begun_anew():
                self._reader.begun_anew(self, begun)
        elif isinstance(event, Refused):
            self.streams.refused(event.request_id, event.code, event.message, now)
        elif isinstance(event, RefusedStreams):
            self.streams.refuse(event.streams, event.code, event.message, now)
        elif isinstance(event, Send):
            self._send([event.text])
        elif isinstance(event, Ask):
            body = ModelRest(self._exchange).ask(event.request)
            for following in event.take(body, int(self._exchange.now_ms)):
                self._act(following)
        elif isinstance(event, Stale):
            self._reader.torn(self, self.streams.names_of(event.streams))
            self.streams.anew(event.streams)
        elif isinstance(event, Broken):
            self.over = True
        elif isinstance(event, ShutdownNotice):
            self.announced = True

    def _send(self, frames: Iterable[str]) -> None:
        for frame in frames:
            end = self._conversation.admit(self._now_s)
            if end is not None:
                self.over = True
                return
            self._give(self._conversation.received(frame, self._now_s, int(self._exchange.now_ms)))

    def announce_end(self) -> bool:
        """Let the exchange say that it will close the socket; False where it says nothing before."""
        notice = self._conversation.shutdown_notice(int(self._exchange.now_ms))
        if notice is not None:
            self._give([notice])
        return notice is not None

    def maintain(self, fault: Fault) -> bool:
        """Strike it with a fault `maintenance`; False where the exchange has no words for it."""
        if not isinstance(self._conversation, TellsMaintenance):
            return False
        self._give([self._conversation.maintenance_notice(over=fault.value == 1)])
        return True

    @property
    def settled(self) -> bool:
        """Whether all its streams speak, but for those that are refused."""
        return self.streams.answered and not self.streams.unheard

    def tick(self) -> None:
        """Do what is due at both ends: requests, keep-alives, streams that fell silent."""
        now_s, now_ms = self._now_s, int(self._exchange.now_ms)
        if now_s >= self._conversation.next_tick_s:
            self._give(self._conversation.tick(now_s, now_ms))
        for event in self.session.tick(now_ms):
            self._act(event)
        self.streams.retry(now_s)
        self.streams.stopped(now_s, 1.0)
        if now_s - self._told_at > FIRST_MESSAGE_S:
            self._told_at = now_s
            self.streams.again(self.streams.unheard)
        frames = {"subscribe": self.session.subscribe, "unsubscribe": self.session.unsubscribe}
        while now_s >= self._free_at and not self.over and (request := self.streams.next()) is not None:
            for method in request.methods:
                self._number += 1
                self.streams.sent(self._number, method, request.streams, now_s)
                self._send(frames[method](request.streams, self._number))
            spacing_s = self._settings.request_spacing_ms / 1000
            self._free_at = now_s + len(request.methods) * spacing_s

    def end(self) -> None:
        """It is gone."""
        self.over = True
        self._attached.detach_all()
