"""A socket of Kraken's v1, frozen since v2: of archives, and of a server that speaks nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Kind, Level
from workers.venues.kraken import wire
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.symbols import old_wire_symbol, symbol_of, wire_symbol
from workers.venues.messages import Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Broken, Event, RefusedStreams, Send
from workers.venues.tolerant_json import UNUSABLE, as_bytes, decode
from workers.venues.wire_values import seconds_text_ms

_event = msgspec.json.Decoder(wire.Event)
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_sides = msgspec.json.Decoder(wire.Sides)
_text = msgspec.json.Decoder(str)


class BookChange(msgspec.Struct, gc=False):
    """A book frame of v1, its maps made one."""

    symbol: str
    is_snapshot: bool
    event: DepthEvent


def book_change(name: str, frame: bytes) -> BookChange | str:
    """What an array frame says of a book, or the name of another channel.

    Args:
        name: the settings section, for errors.

    Raises:
        MalformedFrame: it is neither.
    """
    elements = decode(name, _elements, frame, "frame")
    try:
        _, *maps, raw_channel, raw_pair = elements
        channel, pair = _text.decode(raw_channel), _text.decode(raw_pair)
        if not channel.startswith("book-"):
            return channel
        sides = [_sides.decode(one_map) for one_map in maps]
        symbol = symbol_of(pair)
        if not sides:
            raise ValueError("it has no levels")
        return BookChange(symbol, sides[0].is_snapshot, _joined(symbol, sides))
    except (*UNUSABLE, ValueError) as error:
        raise MalformedFrame(name, "book frame", str(error), frame) from None


def _joined(symbol: str, sides: list[wire.Sides]) -> DepthEvent:
    bids = [level for side in sides for level in (side.whole_bids or side.b)]
    asks = [level for side in sides for level in (side.whole_asks or side.a)]
    # a level that was published before has its old time: the newest is that of the frame
    time_ms = max((seconds_text_ms(level.time) for level in (*bids, *asks)), default=-1)
    sums = [int(side.c) for side in sides if side.c is not None]
    checksum = sums[-1] if sums else None
    return DepthEvent(symbol, 0, 0, -1, time_ms, 0, _levels(bids), _levels(asks), "update", checksum)


def _levels(sent: list[wire.TimedLevel]) -> list[Level]:
    return [(level.price, level.quantity) for level in sent]


class KrakenArchiveSession:
    """One socket of v1, books only: its trades have no ids; see `workers.venues.session.Session`."""

    def __init__(self, name: str, settings: KrakenSettings) -> None:
        self._name = name
        self._settings = settings
        self._with_snapshot: set[str] = set()
        self._system = ""
        self._broken = False
        self._pinged_ms = 0

    def opened(self, now_ms: int) -> list[str]:
        """Nothing has to be said first."""
        self._pinged_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"event":"subscribe","reqid":1,"pair":["XBT/USD"],"subscription":{"name":"book","depth":1000}}`"""
        return self._control("subscribe", streams, request_id)

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `unsubscribe`."""
        return self._control("unsubscribe", streams, request_id)

    def _control(self, event: str, streams: Sequence[Subscription], request_id: int) -> list[str]:
        pairs = [old_wire_symbol(stream.symbol) for stream in streams if stream.channel == "depth"]
        if not pairs:
            return []
        subscription = {"name": "book", "depth": self._settings.depth}
        request = {"event": event, "reqid": request_id, "pair": pairs, "subscription": subscription}
        return [msgspec.json.encode(request).decode()]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """File one frame. Raises: MalformedFrame."""
        data = as_bytes(frame)
        if data.lstrip()[:1] != b"[":
            return self._told(decode(self._name, _event, data, "frame"))
        change = book_change(self._name, data)
        if self._broken:
            return []
        if isinstance(change, str):
            return [Ignored(change)]
        symbol = change.symbol
        if change.is_snapshot:
            self._with_snapshot.add(symbol)
        elif symbol not in self._with_snapshot:
            return [Ignored("book before its snapshot")]
        kind: Kind = "snapshot" if change.is_snapshot else "update"
        return [Message("depth", symbol, data, change.event.event_time, 0, 0, 0, kind=kind)]

    def tick(self, now_ms: int) -> list[Event]:
        """A ping where one is due."""
        pause_ms = self._settings.ping_seconds * 1000
        if not pause_ms or now_ms - self._pinged_ms < pause_ms:
            return []
        self._pinged_ms = now_ms
        return [Send('{"event":"ping"}')]

    def _told(self, event: wire.Event) -> list[Event]:
        if event.event in ("heartbeat", "pong"):
            return []
        if event.event == "systemStatus":
            before, self._system = self._system, event.status
            if (
                not self._broken
                and "maintenance" in (before, event.status)
                and before not in ("", event.status)
            ):
                self._broken = True
                return [Broken("maintenance")]
        if event.event != "subscriptionStatus":
            return [Ignored(event.event)]
        return self._subscription_status(event)

    def _subscription_status(self, event: wire.Event) -> list[Event]:
        try:
            symbol = symbol_of(event.pair)
        except ValueError:
            return [Refused(None, 0, event.errorMessage or event.status)]
        channel = event.channelName or f"book-{self._settings.depth}"
        stream = f"{channel}:{wire_symbol(symbol)}"
        if event.status == "subscribed":
            return [Accepted([stream])]
        if event.status == "error":
            return [RefusedStreams([stream], 0, event.errorMessage)]
        self._with_snapshot.discard(symbol)
        return [Ignored(event.status)]
