"""A socket of Bitfinex: channels have numbers, and every array frame of all of them has one of the socket's count.

Flags that are asked for before anything else: TIMESTAMP 2^15, SEQ_ALL 2^16, OB_CHECKSUM 2^17. BULK_UPDATES 2^29 is
not asked for; with it, several changes come in a list as a snapshot does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import Kind
from workers.venues.bitfinex import wire
from workers.venues.bitfinex.orders import PRECISION as ORDERS_PRECISION
from workers.venues.bitfinex.settings import BitfinexSettings
from workers.venues.bitfinex.symbols import symbol_of, wire_symbol
from workers.venues.messages import Channel, Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Broken, Event, RefusedStreams, Send, Stale
from workers.venues.tolerant_json import UNUSABLE, as_bytes, decode, filed

FLAGS: Final = 2**15 + 2**16 + 2**17
BULK_UPDATES: Final = 2**29
SUBSCRIBED_ALREADY: Final = 10301
OF_SUBSCRIPTIONS: Final = frozenset({10300, 10302, 10305})
"""Failed, unknown channel, limit of channels."""
RESTART: Final = 20051
MAINTENANCE: Final = 20060
MAINTENANCE_OVER: Final = 20061
_CHANNELS: Final[dict[Channel, str]] = {"depth": "book", "aggTrade": "trades", "orders": "book"}
_BOOKS: Final[dict[str, Channel]] = {"book": "depth", "orders": "orders"}
"""What feeds what: `book` of the exchange, and `orders` as we call a book of the precision of single orders."""

_event = msgspec.json.Decoder(wire.Event)
_trade_head = msgspec.json.Decoder(wire.TradeHead)


class _Subscribed(msgspec.Struct):
    """A channel of the socket."""

    name: str
    symbol: str
    stream: str
    with_snapshot: bool = False
    stale: bool = False


class BitfinexSession:
    """One socket; see `workers.venues.session.Session`."""

    def __init__(self, name: str, settings: BitfinexSettings) -> None:
        self._name = name
        self._settings = settings
        self._pending: dict[str, Subscription] = {}
        self._unwanted: set[str] = set()
        self._channels: dict[int, _Subscribed] = {}
        self._unfiled: set[int] = set()
        self._sequence = 0
        self._numbers_due = False
        """Whether frames must have numbers: we asked for them. A recorder may not have."""
        self._flags = 0
        self._broken = False
        self._in_maintenance = False

    def opened(self, now_ms: int) -> list[str]:
        """`{"event":"conf","flags":229376}`"""
        self._numbers_due = True
        return [_text_frame({"event": "conf", "flags": FLAGS})]

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """A frame each; none for what was asked for and not answered, and none in maintenance: the next socket asks."""
        if self._in_maintenance:
            return []
        frames = []
        for stream in streams:
            self._unwanted.discard(stream.stream)
            if stream.stream in self._pending or stream.channel not in _CHANNELS:
                continue
            self._pending[stream.stream] = stream
            request = {
                "event": "subscribe",
                "channel": _CHANNELS[stream.channel],
                "symbol": wire_symbol(stream.symbol),
            }
            settings = self._settings
            if stream.channel == "orders":
                request |= {"prec": ORDERS_PRECISION, "freq": "F0", "len": str(settings.orders_depth)}
            if stream.channel == "depth":
                request |= {
                    "prec": settings.precision,
                    "freq": settings.frequency,
                    "len": str(settings.depth),
                }
            frames.append(_text_frame(request))
        return frames

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """A frame each; what has no number yet is taken back as soon as it has one. None in maintenance."""
        if self._in_maintenance:
            return []
        wanted = {stream.stream for stream in streams}
        self._unwanted |= wanted & self._pending.keys()
        return [
            _text_frame({"event": "unsubscribe", "chanId": number})
            for number, channel in self._channels.items()
            if channel.stream in wanted
        ]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """File one frame. Raises: MalformedFrame."""
        data = as_bytes(frame)
        if data.lstrip()[:1] == b"[":
            return self._data(data)
        event = decode(self._name, _event, data, "frame")
        match event.event:
            case "info":
                return self._info(event)
            case "conf":
                self._flags = event.flags
                return [] if event.status == "OK" else [Refused(None, event.code, f"conf: {event.status}")]
            case "subscribed":
                return self._subscribed(event, data)
            case "unsubscribed":
                self._channels.pop(event.chanId, None)
                return [Ignored("unsubscribed")]
            case "error":
                return self._refused(event)
            case "pong":
                return []
        return [Ignored(event.event)]

    def tick(self, now_ms: int) -> list[Event]:
        """Nothing: each channel has heartbeats of the server."""
        return []

    def _info(self, event: wire.Event) -> list[Event]:
        if event.code in (RESTART, MAINTENANCE_OVER) and not self._broken:
            self._broken = (
                True  # after maintenance everything is to be subscribed anew, which a new socket does at once
            )
            return [Broken("restart" if event.code == RESTART else "maintenance")]
        if event.code == MAINTENANCE and not self._in_maintenance:
            return self._pause()
        if event.platform and not event.platform.status:
            return [Ignored("platform in maintenance")]
        return [Ignored(f"info {event.code}" if event.code else "info")]

    def _pause(self) -> list[Event]:
        """Nothing is to be asked for until maintenance is over; what the books are told meanwhile is not relied on."""
        self._in_maintenance = True
        books = [channel for channel in self._channels.values() if channel.name in _BOOKS]
        for channel in books:
            channel.stale = True
        return (
            [Stale([channel.stream for channel in books], "maintenance")]
            if books
            else [Ignored("maintenance")]
        )

    def _subscribed(self, event: wire.Event, data: bytes) -> list[Event]:
        stream = _stream_of(event)
        try:
            symbol = symbol_of(event.symbol) if event.channel in _CHANNELS.values() else ""
        except ValueError as error:
            raise MalformedFrame(self._name, "frame", str(error), data) from None
        self._pending.pop(stream, None)
        channel = self._channels[event.chanId] = _Subscribed(_name_of(event), symbol, stream)
        events: list[Event] = [Accepted([stream])]
        if stream in self._unwanted:
            self._unwanted.discard(stream)
            events.append(Send(_text_frame({"event": "unsubscribe", "chanId": event.chanId})))
        elif event.chanId in self._unfiled and symbol:
            # its snapshot came before its name and is lost: the next payload would pass for it
            channel.stale = True
            events.append(Stale([stream], "reset"))
        self._unfiled.discard(event.chanId)
        return events

    def _refused(self, event: wire.Event) -> list[Event]:
        if event.code == SUBSCRIBED_ALREADY:
            return [Ignored("subscribed already")]
        stream = _stream_of(event)
        if stream in self._pending or (event.channel and event.symbol):
            streams = [stream]
        elif event.symbol:
            streams = [stream for stream in self._pending if stream.endswith(f":{event.symbol}")]
        elif event.code in OF_SUBSCRIPTIONS or event.channel:
            streams = [stream for stream in self._pending if stream.startswith(_name_of(event))]
        else:
            streams = []
        if not streams:
            return [Refused(None, event.code, event.msg)]
        for stream in streams:
            self._pending.pop(stream, None)
            self._unwanted.discard(stream)
        return [RefusedStreams(streams, event.code, event.msg)]

    def _data(self, data: bytes) -> list[Event]:
        try:
            frame = wire.data_frame(data)
            if not frame.sequence and self._sequence:
                raise ValueError("it has no number, the frames before it had")
            if not frame.sequence and self._numbers_due and not self._broken:
                # the flags were refused or got lost: nothing would show that a frame is missing
                self._broken = True
                return [Broken("sequence", 1, 0)]
            # what cannot be filed must not be counted: the frame after it then shows that something is missing
            events = [] if self._broken else self._filed(frame, data)
        except (*UNUSABLE, ValueError) as error:
            raise MalformedFrame(self._name, "data frame", str(error), data) from None
        if self._broken:
            return []
        expected = self._sequence + 1
        if frame.sequence and frame.sequence != expected:
            self._broken = True
            return [Broken("sequence", expected, frame.sequence)]
        self._sequence = frame.sequence
        return events

    def _filed(self, frame: wire.DataFrame, data: bytes) -> list[Event]:
        if frame.payload is None:
            return []
        channel = self._channels.get(frame.channel)
        if channel is None:
            self._unfiled.add(frame.channel)
            return [Ignored("a channel without a name")]
        if channel.stale:
            return [Ignored("what came before a snapshot")]
        if channel.name in _BOOKS:
            return self._book(channel, frame, frame.payload, data)
        if channel.name == "trades":
            return self._trades(channel, frame, frame.payload)
        return [Ignored(channel.name)]

    def _book(
        self, channel: _Subscribed, frame: wire.DataFrame, payload: msgspec.Raw, data: bytes
    ) -> list[Event]:
        kind: Kind = "checksum"
        if frame.tag not in ("", "cs"):
            return [Ignored(frame.tag)]
        if not frame.tag:
            rows, in_a_list = wire.rows(payload)
            bulk = bool(self._flags & BULK_UPDATES)
            whole = not channel.with_snapshot or (in_a_list and bool(rows) and not bulk)
            kind = "snapshot" if whole else "update"
            channel.with_snapshot = True
        elif not channel.with_snapshot:
            return [Ignored("a checksum before its snapshot")]
        return [Message(_BOOKS[channel.name], channel.symbol, data, frame.time_ms, 0, 0, 0, kind=kind)]

    def _trades(self, channel: _Subscribed, frame: wire.DataFrame, payload: msgspec.Raw) -> list[Event]:
        """One message each, the oldest first; `tu` says again what `te` said."""
        if frame.tag not in ("", "te"):
            return [Ignored(frame.tag)]

        def message(data: bytes) -> Message:
            head = _trade_head.decode(data)
            return Message("aggTrade", channel.symbol, data, head.time_ms, head.trade_id, head.trade_id, 0)

        return filed(wire.rows(payload)[0], message)


def _name_of(event: wire.Event) -> str:
    return "orders" if event.channel == "book" and event.prec == ORDERS_PRECISION else event.channel


def _stream_of(event: wire.Event) -> str:
    """The wire name of the stream that an answer is about; single orders are a book too, of another precision."""
    return f"{_name_of(event)}:{event.symbol}"


def _text_frame(request: dict[str, Any]) -> str:
    return msgspec.json.encode(request).decode()
