"""A socket of Kraken's v2.

Books are not numbered: each message carries a checksum of the book after it, which the reader of the book compares.
What a socket has to remember is what was asked for, and for which symbols a snapshot has come: a change before it is
of a book that nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from workers.errors import MalformedFrame
from workers.model.events import Kind
from workers.venues.kraken import wire
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.symbols import symbol_of, wire_symbol
from workers.venues.messages import Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Broken, Event, RefusedStreams, Send
from workers.venues.tolerant_json import as_bytes, decode
from workers.venues.wire_values import milliseconds

_envelope = msgspec.json.Decoder(wire.Envelope)
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_statuses = msgspec.json.Decoder(list[wire.Status])
_book_head = msgspec.json.Decoder(wire.BookHead)
_trade_head = msgspec.json.Decoder(wire.TradeHead)


class _Request(msgspec.Struct):
    """A control frame and the streams it named, by the exchange's symbols, that are not answered."""

    number: int
    method: str
    streams: dict[str, str]


class KrakenSession:
    """One socket; see `workers.venues.session.Session`."""

    def __init__(self, name: str, settings: KrakenSettings) -> None:
        self._name = name
        self._settings = settings
        self._requests: dict[int, _Request] = {}
        self._with_snapshot: set[str] = set()
        self._system = ""
        self._broken = False
        self._pinged_ms = 0

    def opened(self, now_ms: int) -> list[str]:
        """Nothing has to be said first."""
        self._pinged_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10,"snapshot":true},
        "req_id":2}`, and another for trades."""
        return self._control("subscribe", streams, request_id)

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `unsubscribe`; a book is named with its depth."""
        return self._control("unsubscribe", streams, request_id)

    def _control(self, method: str, streams: Sequence[Subscription], request_id: int) -> list[str]:
        frames = []
        for of_trades in (False, True):
            named = {
                wire_symbol(stream.symbol): stream.stream
                for stream in streams
                if (stream.channel == "aggTrade") is of_trades
            }
            if not named:
                continue
            params: dict[str, Any] = {"channel": "trade" if of_trades else "book", "symbol": list(named)}
            if not of_trades:
                params["depth"] = self._settings.depth
            if method == "subscribe":
                params["snapshot"] = self._settings.old_trades if of_trades else True
            # a refusal names its symbol but not its channel: each channel has a number of its own
            number = 2 * request_id + of_trades
            self._requests[number] = _Request(request_id, method, named)
            request = {"method": method, "params": params, "req_id": number}
            frames.append(msgspec.json.encode(request).decode())
        return frames

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """File one frame. Raises: MalformedFrame."""
        data = as_bytes(frame)
        envelope = decode(self._name, _envelope, data, "frame")
        if envelope.channel in ("book", "trade"):
            if envelope.data is UNSET or envelope.type not in ("snapshot", "update"):
                raise MalformedFrame(
                    self._name, "frame", "its channel has neither a snapshot nor an update", data
                )
            if self._broken:
                return []
            elements = decode(self._name, _elements, envelope.data, f"{envelope.channel} frame")
            if envelope.channel == "trade":
                return self._trades(elements)
            return self._books(elements, "snapshot" if envelope.type == "snapshot" else "update", data)
        if envelope.channel == "heartbeat" or envelope.method == "pong":
            return []
        if envelope.channel == "status":
            return self._status(decode(self._name, _statuses, envelope.data or b"", "status frame"))
        if envelope.channel:
            return [Ignored(envelope.channel)]
        if envelope.method or envelope.error is not None:
            return self._reply(envelope)
        raise MalformedFrame(self._name, "frame", "neither data, nor a reply, nor an error", data)

    def tick(self, now_ms: int) -> list[Event]:
        """A ping where one is due."""
        pause_ms = self._settings.ping_seconds * 1000
        if not pause_ms or now_ms - self._pinged_ms < pause_ms:
            return []
        self._pinged_ms = now_ms
        return [Send('{"method":"ping"}')]

    def _books(self, elements: list[msgspec.Raw], kind: Kind, frame: bytes) -> list[Event]:
        messages = []
        for element in elements:
            head = decode(self._name, _book_head, element, "book")
            time_ms = -1 if head.timestamp is None else milliseconds(head.timestamp)
            data = frame if len(elements) == 1 else bytes(element)
            symbol = self._symbol(head.symbol, data)
            messages.append(Message("depth", symbol, data, time_ms, 0, 0, 0, kind=kind))
        if kind == "snapshot":
            self._with_snapshot.update(message.symbol for message in messages)
            return list(messages)
        return [
            message if message.symbol in self._with_snapshot else Ignored("book before its snapshot")
            for message in messages
        ]

    def _trades(self, elements: list[msgspec.Raw]) -> list[Event]:
        """One message each, in the order of their ids: a snapshot begins with the oldest."""
        messages = []
        for element in elements:
            head = decode(self._name, _trade_head, element, "trade")
            data, trade_id = bytes(element), head.trade_id
            time_ms = milliseconds(head.timestamp)
            symbol = self._symbol(head.symbol, data)
            messages.append(Message("aggTrade", symbol, data, time_ms, trade_id, trade_id, 0))
        messages.sort(key=lambda message: message.update_id)
        return list(messages)

    def _symbol(self, wire_name: str, data: bytes) -> str:
        try:
            return symbol_of(wire_name)
        except ValueError as error:
            raise MalformedFrame(self._name, "symbol", str(error), data) from None

    def _status(self, statuses: list[wire.Status]) -> list[Event]:
        if not statuses:
            return []
        before, self._system = self._system, statuses[-1].system
        # what stood still goes on as somebody else's book: a new socket begins it anew
        if not self._broken and "maintenance" in (before, self._system) and before not in ("", self._system):
            self._broken = True
            return [Broken("maintenance")]
        return [Ignored(f"status {self._system}")]

    def _reply(self, envelope: wire.Envelope) -> list[Event]:
        result = envelope.result or wire.Result()
        number, request = self._request_of(envelope, result)
        wire_name = envelope.symbol or result.symbol
        stream = self._answered(number, request, wire_name, result)
        message = envelope.error or "refused without a word"
        refused = not envelope.success or envelope.error is not None
        if envelope.method == "unsubscribe":
            if refused:
                return [Refused(request.number if request else None, 0, message)]
            self._forget(wire_name, result.channel)
            return [Ignored("unsubscribed")]
        if not refused or "already subscribed" in message.lower():
            return [Accepted([stream])] if stream else [Ignored(envelope.method)]
        if stream:
            return [RefusedStreams([stream], 0, message)]
        if request is not None and request.method == "subscribe":
            del self._requests[number]
            return [RefusedStreams(list(request.streams.values()), 0, message)]
        return [Refused(None, 0, message)]

    def _request_of(self, envelope: wire.Envelope, result: wire.Result) -> tuple[int, _Request | None]:
        """The open request that a reply answers; of one without a number, the oldest that it can be."""
        if envelope.req_id is not None:
            return envelope.req_id, self._requests.get(envelope.req_id)
        wire_name = envelope.symbol or result.symbol
        for number, request in self._requests.items():
            if (
                envelope.method in ("", request.method)
                and (not wire_name or wire_name in request.streams)
                and (not result.channel or (result.channel == "trade") is bool(number % 2))
            ):
                return number, request
        return -1, None

    def _answered(self, number: int, request: _Request | None, wire_name: str, result: wire.Result) -> str:
        """The stream that a reply is about, no longer open; empty where the reply names none that is known."""
        if request is not None and wire_name in request.streams:
            stream = request.streams.pop(wire_name)
            if not request.streams:
                del self._requests[number]
            return stream
        if wire_name and result.channel == "book":
            return f"book-{result.depth}:{wire_name}"
        return f"{result.channel}:{wire_name}" if wire_name and result.channel else ""

    def _forget(self, wire_name: str, channel: str) -> None:
        if channel in ("", "book"):
            try:
                self._with_snapshot.discard(symbol_of(wire_name))
            except ValueError:
                return
