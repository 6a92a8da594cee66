"""A socket of Coinbase Exchange: books and trades without a key, or single orders (`full`) with the user's own.

Nothing tells that a message of a book is missing; those of single orders are numbered, and trades are among them, so a
socket has either. `heartbeat` is subscribed to with the trades of a product: it proves life, once a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from workers.errors import MalformedFrame
from workers.model.events import Kind
from workers.venues.coinbase import wire
from workers.venues.coinbase.open_requests import OpenRequests
from workers.venues.coinbase.orders import CHANNEL as ORDERS_CHANNEL
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.signature import signed
from workers.venues.coinbase.symbols import symbol_of
from workers.venues.messages import Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Event, RefusedStreams, Send
from workers.venues.tolerant_json import UNUSABLE, as_bytes, decode
from workers.venues.wire_values import milliseconds

BOOK_CHANNELS: Final = frozenset({"level2", "level2_50", "level2_batch"})
"""Names by which acknowledgements call the channel of books, whichever was asked for."""

_frame = msgspec.json.Decoder(wire.ExchangeFrame)
_trade_head = msgspec.json.Decoder(wire.TradeHead)


class ExchangeSession:
    """One socket; see `workers.venues.session.Session`."""

    def __init__(self, name: str, settings: CoinbaseSettings) -> None:
        self._name = name
        self._settings = settings
        self._requests = OpenRequests()
        self._with_snapshot: set[str] = set()
        self._tells_orders = False
        self._now_ms = 0
        """As the last call had it: a signature is of a time, and `tick` comes every second."""

    def opened(self, now_ms: int) -> list[str]:
        """Nothing has to be said first."""
        self._now_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"type":"subscribe","channels":[{"name":"level2_batch","product_ids":["BTC-USD"]},…]}`"""
        named = [stream.stream for stream in streams]
        if named:
            self._requests.add(named)
        self._tells_orders = self._tells_orders or any(stream.channel == "orders" for stream in streams)
        return self._control("subscribe", named)

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `unsubscribe`. What still comes of a book is dropped, up to its next snapshot."""
        named = [stream.stream for stream in streams]
        self._requests.forget(named)
        self._with_snapshot -= {stream.symbol for stream in streams if stream.channel == "depth"}
        return self._control("unsubscribe", named)

    def _control(self, action: str, streams: Sequence[str]) -> list[str]:
        by_channel: dict[str, list[str]] = {}
        for stream in streams:
            channel, _, product = stream.partition(":")
            by_channel.setdefault(channel, []).append(product)
        if not by_channel:
            return []
        if "matches" in by_channel:
            by_channel["heartbeat"] = by_channel["matches"]
        channels = [{"name": name, "product_ids": products} for name, products in by_channel.items()]
        request: dict[str, Any] = {"type": action, "channels": channels}
        if ORDERS_CHANNEL in by_channel and action == "subscribe":
            settings = self._settings
            request |= signed(settings.api_key, settings.api_secret, settings.api_passphrase, self._now_ms)
        return [msgspec.json.encode(request).decode()]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """File one frame. Raises: MalformedFrame."""
        self._now_ms = now_ms
        data = as_bytes(frame)
        head = decode(self._name, _frame, data, "frame")
        try:
            if self._tells_orders and head.sequence is not UNSET:
                return [_order(head, head.sequence, data)]
            match head.type:
                case "snapshot" | "l2update":
                    return [self._book(head, data)]
                case "match" | "last_match":
                    return [trade_message(data)]
        except (*UNUSABLE, ValueError) as error:
            raise MalformedFrame(self._name, f"{head.type} frame", str(error), data) from None
        match head.type:
            case "subscriptions":
                return self._subscriptions(head.channels)
            case "error":
                said = ": ".join(filter(None, (head.message, head.reason)))
                return self._refused(self._settings.without_key(said))
            case "heartbeat":
                return []
        return [Ignored(head.type)]

    def tick(self, now_ms: int) -> list[Event]:
        """Nothing: the server has heartbeats."""
        self._now_ms = now_ms
        return []

    def _book(self, head: wire.ExchangeFrame, data: bytes) -> Event:
        symbol = symbol_of(head.product_id)
        kind: Kind = "snapshot" if head.type == "snapshot" else "update"
        if kind == "snapshot":
            self._with_snapshot.add(symbol)
        elif symbol not in self._with_snapshot:
            return Ignored("book before its snapshot")
        time_ms = -1 if head.time is None else milliseconds(head.time)
        return Message("depth", symbol, data, time_ms, 0, 0, 0, kind=kind)

    def _subscriptions(self, channels: list[wire.ChannelList]) -> list[Event]:
        accepted = self._requests.accept(
            f"{self._settings.book_channel if channel.name in BOOK_CHANNELS else channel.name}:{product}"
            for channel in channels
            if channel.name in BOOK_CHANNELS or channel.name in ("matches", ORDERS_CHANNEL)
            for product in channel.product_ids
        )
        return [Accepted(accepted)] if accepted else []

    def _refused(self, message: str) -> list[Event]:
        refused, others = self._requests.refuse(message)
        if not refused:
            return [Refused(None, 0, message)]
        events: list[Event] = [RefusedStreams(refused, 0, message)]
        if others:
            self._requests.add(others)
            events += [Send(frame) for frame in self._control("subscribe", others)]
        return events


def _order(head: wire.ExchangeFrame, sequence: int, data: bytes) -> Message:
    """Whatever has a number is one of a product's messages, of types that there are not yet too."""
    time_ms = -1 if head.time is None else milliseconds(head.time)
    return Message("orders", symbol_of(head.product_id), data, time_ms, sequence, sequence, -1)


def trade_message(data: bytes) -> Message:
    """A trade of either market. Raises: ValueError, or what msgspec raises."""
    head = _trade_head.decode(data)
    trade_id, time_ms = int(head.trade_id), milliseconds(head.time)
    if time_ms < 0:
        raise ValueError("a trade without a time")
    return Message("aggTrade", symbol_of(head.product_id), data, time_ms, trade_id, trade_id, 0)
