"""A socket of Kraken's v2, of books and trades or of single orders.

Books are not numbered: each message carries a checksum of the book after it, which the reader of the book compares.
What a socket has to remember is what was asked for, and for which symbols a snapshot has come: a change before it is
of a book that nobody knows. Single orders are asked for with a token, see `access.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import msgspec
from msgspec import UNSET

from workers.errors import MalformedFrame
from workers.model.events import Kind
from workers.venues.kraken import wire
from workers.venues.kraken.access import KrakenKey, OrderAccess, Wish, is_of_token
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.symbols import symbol_of, wire_symbol
from workers.venues.messages import Channel, Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Ask, Broken, Event, RefusedStreams, Send
from workers.venues.tolerant_json import as_bytes, decode, filed
from workers.venues.wire_values import milliseconds

_OURS: Final[dict[str, Channel]] = {"book": "depth", "trade": "aggTrade", "level3": "orders"}
"""What the exchange's channels are to us."""

_envelope = msgspec.json.Decoder(wire.Envelope)
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_statuses = msgspec.json.Decoder(list[wire.Status])
_book_head = msgspec.json.Decoder(wire.BookHead)
_trade_head = msgspec.json.Decoder(wire.TradeHead)


class _Request(msgspec.Struct):
    """A control frame and the streams it named, by the exchange's symbols, that are not answered."""

    number: int
    method: str
    channel: str
    streams: dict[str, Subscription]
    token: str = ""


class KrakenSession:
    """One socket; see `workers.venues.session.Session`.

    Args:
        key: the user's own, for single orders.
    """

    def __init__(self, name: str, settings: KrakenSettings, key: KrakenKey) -> None:
        self._name = name
        self._settings = settings
        self._access = OrderAccess(settings, key)
        self._requests: dict[int, _Request] = {}
        self._numbers = count(1)
        self._with_snapshot: set[tuple[Channel, str]] = set()
        self._system = ""
        self._broken = False
        self._pinged_ms = 0

    def opened(self, now_ms: int) -> list[str]:
        """Nothing has to be said first."""
        self._pinged_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10,"snapshot":true},
        "req_id":2}`, and another for trades; single orders wait for `tick`."""
        return self._control("subscribe", streams, request_id)

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `unsubscribe`; a book is named with its depth."""
        return self._control("unsubscribe", streams, request_id)

    def _control(self, method: str, streams: Sequence[Subscription], request_id: int) -> list[str]:
        self._access.want(method, [stream for stream in streams if stream.channel == "orders"], request_id)
        frames = []
        for channel in ("book", "trade"):
            named = {
                wire_symbol(stream.symbol): stream for stream in streams if stream.channel == _OURS[channel]
            }
            if named:
                frames.append(self._frame(_Request(request_id, method, channel, named)))
        return frames

    def _frame(self, request: _Request) -> str:
        """The frame of a request, which from now on is open."""
        settings, channel = self._settings, request.channel
        params: dict[str, Any] = {"channel": channel, "symbol": list(request.streams)}
        if channel != "trade":
            params["depth"] = settings.depth if channel == "book" else settings.orders_depth
        if request.method == "subscribe":
            params["snapshot"] = settings.old_trades if channel == "trade" else True
        if request.token:
            params["token"] = request.token
        # a refusal names its symbol but not its channel: each channel has a number of its own
        number = next(self._numbers)
        self._requests[number] = request
        return msgspec.json.encode({"method": request.method, "params": params, "req_id": number}).decode()

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """File one frame. Raises: MalformedFrame."""
        data = as_bytes(frame)
        envelope = decode(self._name, _envelope, data, "frame")
        if envelope.channel in _OURS:
            if envelope.data is UNSET or envelope.type not in ("snapshot", "update"):
                raise MalformedFrame(
                    self._name, "frame", "its channel has neither a snapshot nor an update", data
                )
            if self._broken:
                return []
            elements = decode(self._name, _elements, envelope.data, f"{envelope.channel} frame")
            if envelope.channel == "trade":
                return filed(elements, self._trade)
            kind: Kind = "snapshot" if envelope.type == "snapshot" else "update"
            return self._books(_OURS[envelope.channel], elements, kind, data)
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
        """A ping where one is due, and what single orders wait for."""
        events = self._ask_for_orders(now_ms)
        pause_ms = self._settings.ping_seconds * 1000
        if pause_ms and now_ms - self._pinged_ms >= pause_ms:
            self._pinged_ms = now_ms
            events.append(Send('{"method":"ping"}'))
        return events

    def _ask_for_orders(self, now_ms: int) -> list[Event]:
        """The frames whose time has come, or the request for the token that they lack."""
        if (request := self._access.request(now_ms)) is not None:
            return [Ask(request, self._took_token)]
        return [Send(self._orders_frame(wishes)) for wishes in self._access.due(now_ms)]

    def _took_token(self, body: bytes | None, now_ms: int) -> list[Event]:
        return self._access.took(body, now_ms) or self._ask_for_orders(now_ms)

    def _orders_frame(self, wishes: Sequence[Wish]) -> str:
        streams = {wire_symbol(wish.stream.symbol): wish.stream for wish in wishes}
        first, token = wishes[0], self._access.token
        return self._frame(_Request(first.request_id, first.method, "level3", streams, token))

    def _books(self, channel: Channel, elements: list[msgspec.Raw], kind: Kind, frame: bytes) -> list[Event]:
        messages = []
        for element in elements:
            head = decode(self._name, _book_head, element, "book")
            time_ms = -1 if head.timestamp is None else milliseconds(head.timestamp)
            data = frame if len(elements) == 1 else bytes(element)
            if channel == "orders" and len(elements) > 1:  # what it is, is said of the frame
                data = b'{"type":"%b","data":[%b]}' % (kind.encode(), data)
            symbol = self._symbol(head.symbol, data)
            messages.append(Message(channel, symbol, data, time_ms, 0, 0, 0, kind=kind))
        if kind == "snapshot":
            self._with_snapshot.update((channel, message.symbol) for message in messages)
            return list(messages)
        return [
            message
            if (channel, message.symbol) in self._with_snapshot
            else Ignored("book before its snapshot")
            for message in messages
        ]

    def _trade(self, data: bytes) -> Message:
        head = decode(self._name, _trade_head, data, "trade")
        time_ms, symbol = milliseconds(head.timestamp), self._symbol(head.symbol, data)
        return Message("aggTrade", symbol, data, time_ms, head.trade_id, head.trade_id, 0)

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
        message = envelope.error or "refused without a word"
        refused = not envelope.success or envelope.error is not None
        of_token = refused and request is not None and request.token and is_of_token(message)
        if of_token and request is not None and self._with_new_token(number, request, wire_name):
            return [Ignored("a token that is worth nothing")]
        stream = self._answered(number, request, wire_name, result)
        if envelope.method == "unsubscribe":
            if refused:
                return [Refused(request.number if request else None, 0, message)]
            self._forget(wire_name, result.channel or (request.channel if request else "book"))
            return [Ignored("unsubscribed")]
        if not refused or "already subscribed" in message.lower():
            if request is not None and request.token:
                self._access.accepted()
            return [Accepted([stream])] if stream else [Ignored(envelope.method)]
        if stream:
            return [RefusedStreams([stream], 0, message)]
        if request is not None and request.method == "subscribe":
            del self._requests[number]
            return [RefusedStreams([one.stream for one in request.streams.values()], 0, message)]
        return [Refused(None, 0, message)]

    def _with_new_token(self, number: int, request: _Request, wire_name: str) -> bool:
        """Whether what was refused for its token waits for a new one: one symbol of a request, or all of it."""
        names = (
            [name for name in (wire_name,) if name in request.streams] if wire_name else [*request.streams]
        )
        if not names or not self._access.may_try_again(request.token):
            return False
        self._access.want(request.method, [request.streams.pop(name) for name in names], request.number)
        if not request.streams:
            self._requests.pop(number, None)
        return True

    def _request_of(self, envelope: wire.Envelope, result: wire.Result) -> tuple[int, _Request | None]:
        """The open request that a reply answers; of one without a number, the oldest that it can be."""
        if envelope.req_id is not None:
            return envelope.req_id, self._requests.get(envelope.req_id)
        wire_name = envelope.symbol or result.symbol
        for number, request in self._requests.items():
            if (
                envelope.method in ("", request.method)
                and (not wire_name or wire_name in request.streams)
                and result.channel in ("", request.channel)
            ):
                return number, request
        return -1, None

    def _answered(self, number: int, request: _Request | None, wire_name: str, result: wire.Result) -> str:
        """The stream that a reply is about, no longer open; empty where the reply names none that is known."""
        if request is not None and wire_name in request.streams:
            stream = request.streams.pop(wire_name).stream
            if not request.streams:
                del self._requests[number]
            return stream
        if wire_name and result.channel in ("book", "level3"):
            return f"{result.channel}-{result.depth}:{wire_name}"
        return f"{result.channel}:{wire_name}" if wire_name and result.channel else ""

    def _forget(self, wire_name: str, channel: str) -> None:
        try:
            self._with_snapshot.discard((_OURS.get(channel, ""), symbol_of(wire_name)))
        except ValueError:
            return
