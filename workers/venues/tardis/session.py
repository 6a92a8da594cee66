"""A socket of a tardis-machine: what it brings is named in its URL, so other streams want another socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from workers.venues.channels import name_of
from workers.venues.messages import Ignored, Message, ShutdownNotice, Subscription
from workers.venues.session import Accepted, Event, Torn, Unusable
from workers.venues.tardis import wire
from workers.venues.tardis.settings import CHANNELS, TardisSettings
from workers.venues.tardis.symbols import symbol_of, wire_symbol
from workers.venues.tolerant_json import as_bytes, decode
from workers.venues.wire_values import milliseconds

PATH: Final = "/ws-stream-normalized"
LONGEST_ID: Final = 64
_CHANNELS: Final = {"book_change": "depth", "trade": "aggTrade", **dict.fromkeys(CHANNELS, "")}
"""By the type of a message: what it feeds; empty: a channel of its own name."""
_head = msgspec.json.Decoder(wire.Head)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def stream_of(kind: str, symbol: str) -> str:
    """The name of a stream, which is ours: the machine has none."""
    return f"{kind}:{symbol}"


def address(url: str, settings: TardisSettings, streams: Sequence[Subscription]) -> str:
    """The URL of a socket for some streams."""
    named = [stream.stream.partition(":") for stream in streams]
    options = {
        "exchange": settings.market,
        "symbols": list(dict.fromkeys(wire_symbol(settings.market, symbol) for _, _, symbol in named)),
        "dataTypes": list(dict.fromkeys(kind for kind, _, _ in named)),
        "withDisconnectMessages": True,
        "withErrorMessages": True,
        "timeoutIntervalMS": settings.timeout_ms,
    }
    return f"{url}?options={quote(msgspec.json.encode(options))}"


def named_in(url: str, market: str) -> frozenset[str]:
    """The streams that the URL of a socket names."""
    [text] = parse_qs(urlsplit(url).query).get("options", [""])
    if not text:
        return frozenset()
    asked = msgspec.json.decode(text)
    symbols = [symbol_of(market, name) for name in asked["symbols"]]
    return frozenset(stream_of(kind, symbol) for kind in asked["dataTypes"] for symbol in symbols)


class TardisSession:
    """One socket; see `workers.venues.session.Session`.

    A socket that shall bring other streams, or a whole book once more, wants a successor, the second not before it is
    `renew_s` old. Of a recording no stream was subscribed to, and everything that comes is wanted.
    """

    def __init__(self, name: str, settings: TardisSettings, url: str) -> None:
        self._name = name
        self._market = settings.market
        self._renew_ms = settings.renew_s * 1000
        self._named = named_in(url, settings.market)
        self._is_asked = bool(self._named)
        self._opened_ms = 0
        self._wanted: set[str] = set()
        self._accepted: set[str] = set()
        self._answers: list[str] = []
        self._lacking = False
        """Streams are wanted that this socket cannot bring."""
        self._anew: set[str] = set()
        """Streams that shall begin anew, and did not by themselves."""
        self._whole: dict[str, str] = {}
        """By the symbol as it comes, ours, of the books whose whole one has come."""
        self._symbols: dict[str, str] = {}

    def opened(self, now_ms: int) -> list[str]:
        """Nothing has to be said."""
        self._opened_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """Nothing is sent: the URL has said it, or another socket is needed."""
        for name in (stream.stream for stream in streams):
            self._lacking |= name not in self._named
            if name in self._accepted:
                self._anew.add(name)
            self._wanted.add(name)
            self._answers.append(name)
        return []

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same; what still comes is dropped."""
        self._wanted -= {stream.stream for stream in streams}
        self._anew -= {stream.stream for stream in streams}
        return []

    def tick(self, now_ms: int) -> list[Event]:
        """What was asked for is there as soon as the socket is; a successor, where one is wanted."""
        events: list[Event] = []
        if self._answers:
            self._accepted |= set(self._answers)
            events.append(Accepted(self._answers))
            self._answers = []
        if self._lacking or (self._anew and now_ms - self._opened_ms >= self._renew_ms):
            self._lacking, self._anew = False, set()
            events.append(ShutdownNotice())
        return events

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """File one frame. Raises: MalformedFrame."""
        data = as_bytes(frame)
        head = decode(self._name, _head, data, "message")
        if head.exchange != self._market:
            return [Unusable(f"it is of {head.exchange[:40]!r}, not of {self._market}")]
        if head.type in ("disconnect", "error"):
            return self._torn(head, data)
        channel = _CHANNELS.get(head.type)
        if channel is None:
            return [Ignored(head.type[:40])]
        try:
            symbol = self._symbols.get(head.symbol) or self._spelled(head.symbol)
        except ValueError as error:
            return [Unusable(f"its symbol {head.symbol[:40]!r} cannot be used: {error}")]
        if self._is_asked and stream_of(head.type, symbol) not in self._wanted:
            return [Ignored("of a stream not asked for")]
        if channel == "depth":
            return [self._book(head, symbol, data)]
        return [self._named_message(head, channel, symbol, data)]

    def _spelled(self, name: str) -> str:
        symbol = self._symbols[name] = symbol_of(self._market, name)
        return symbol

    def _book(self, head: wire.Head, symbol: str, data: bytes) -> Event:
        if head.is_snapshot:
            self._whole[head.symbol] = symbol
            self._anew.discard(stream_of(head.type, symbol))
        elif head.symbol not in self._whole:
            return Ignored("change before the first whole book")
        kind = "snapshot" if head.is_snapshot else "update"
        return Message("depth", symbol, data, _ms(head), 0, 0, 0, kind=kind)  # type: ignore[arg-type]  # one of both

    def _named_message(self, head: wire.Head, channel: str, symbol: str, data: bytes) -> Message:
        number = int(head.id) if head.id and head.id.isdecimal() and len(head.id) < 19 else 0
        return Message(
            channel or head.type, symbol, data, _ms(head), number, number, 0, name=_name(head, data)
        )

    def _torn(self, head: wire.Head, data: bytes) -> list[Event]:
        """Books are void until their next whole one; of trades nobody knows what came meanwhile."""
        symbols = set(self._symbols.values())
        if head.symbols:
            symbols &= {self._symbols.get(name, name.upper()) for name in head.symbols}
        for name in [name for name, symbol in self._whole.items() if symbol in symbols]:
            del self._whole[name]
        streams = [stream_of(kind, symbol) for symbol in sorted(symbols) for kind in ("book_change", "trade")]
        return [Torn(streams, head.type, data)] if streams else []


def _ms(head: wire.Head) -> int:
    return -1 if head.timestamp is None else milliseconds(head.timestamp)


def _name(head: wire.Head, data: bytes) -> str:
    """The id, or else what is said but for the time at which the machine heard it, which differs between lines."""
    if head.id and len(head.id) <= LONGEST_ID and head.id.isprintable() and " " not in head.id:
        return head.id
    return name_of(*(bytes(told) for key, told in _members.decode(data).items() if key != "localTimestamp"))
