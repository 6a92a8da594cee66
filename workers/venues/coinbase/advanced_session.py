"""A socket of Coinbase Advanced Trade: every frame has the next number of the socket, whatever its channel.

`heartbeats` is subscribed to as well, as a channel that is idle for 60 to 90 s is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
from msgspec import UNSET

from workers.errors import MalformedFrame
from workers.model.events import Kind
from workers.venues.coinbase import wire
from workers.venues.coinbase.exchange_session import trade_message
from workers.venues.coinbase.open_requests import OpenRequests
from workers.venues.coinbase.symbols import symbol_of
from workers.venues.messages import Channel, Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Broken, Event, RefusedStreams, Send
from workers.venues.tolerant_json import UNUSABLE, as_bytes, decode, filed
from workers.venues.wire_values import milliseconds

CHANNELS: Final[dict[Channel, str]] = {"depth": "level2", "aggTrade": "market_trades"}

_envelope = msgspec.json.Decoder(wire.Envelope)
_book_head = msgspec.json.Decoder(wire.BookHead)
_trades_event = msgspec.json.Decoder(wire.TradesEvent)
_subscriptions = msgspec.json.Decoder(wire.Subscriptions)


class AdvancedSession:
    """One socket; see `workers.venues.session.Session`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._requests = OpenRequests()
        self._with_snapshot: set[str] = set()
        self._sequence = -1
        self._broken = False

    def opened(self, now_ms: int) -> list[str]:
        """`{"type":"subscribe","channel":"heartbeats"}`"""
        return ['{"type":"subscribe","channel":"heartbeats"}']

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"type":"subscribe","product_ids":["BTC-USD"],"channel":"level2"}`, a frame for each channel."""
        frames = []
        for channel in CHANNELS.values():
            named = [stream.stream for stream in streams if stream.stream.startswith(f"{channel}:")]
            if named:
                self._requests.add(named)
                frames.append(_control("subscribe", channel, named))
        return frames

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `unsubscribe`. What still comes of a book is dropped, up to its next snapshot."""
        self._requests.forget(stream.stream for stream in streams)
        self._with_snapshot -= {stream.symbol for stream in streams if stream.channel == "depth"}
        frames = []
        for channel in CHANNELS.values():
            named = [stream.stream for stream in streams if stream.stream.startswith(f"{channel}:")]
            if named:
                frames.append(_control("unsubscribe", channel, named))
        return frames

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """File one frame. Raises: MalformedFrame."""
        data = as_bytes(frame)
        envelope = decode(self._name, _envelope, data, "frame")
        if envelope.type == "error":
            return self._refused(envelope.message)
        if not envelope.channel or envelope.sequence_num is UNSET or envelope.events is UNSET:
            raise MalformedFrame(
                self._name, "frame", "neither numbered events of a channel nor an error", data
            )
        if self._broken:
            return []
        try:
            # what cannot be filed must not be counted: the frame after it then shows that something is missing
            events = self._filed(envelope, data)
        except (*UNUSABLE, ValueError) as error:
            raise MalformedFrame(self._name, f"{envelope.channel[:40]} frame", str(error), data) from None
        expected, got = self._sequence + 1, envelope.sequence_num
        # the first frame may have any number: a book whose snapshot is lost does not begin
        if self._sequence >= 0 and got != expected:
            self._broken = True
            return [Broken("sequence", expected, got)]
        self._sequence = got
        return self._begun(events)

    def tick(self, now_ms: int) -> list[Event]:
        """Nothing: the server has heartbeats."""
        return []

    def _filed(self, envelope: wire.Envelope, data: bytes) -> list[Event]:
        events = envelope.events or []
        time_ms = -1 if envelope.timestamp is None else milliseconds(envelope.timestamp)
        match envelope.channel:
            case "l2_data":
                return [self._book(event, data if len(events) == 1 else b"", time_ms) for event in events]
            case "market_trades":
                trades = (_trades_event.decode(event).trades for event in events)
                return filed(chain.from_iterable(trades), trade_message)
            case "subscriptions":
                lists = [_subscriptions.decode(event).subscriptions for event in events]
                accepted = self._requests.accept(
                    f"{channel}:{product}"
                    for subscribed in lists
                    for channel in CHANNELS.values()
                    for product in subscribed.get(channel, [])
                )
                return [Accepted(accepted)] if accepted else []
            case "heartbeats":
                return []
        return [Ignored(envelope.channel)]

    @staticmethod
    def _book(event: msgspec.Raw, frame: bytes, time_ms: int) -> Message:
        head = _book_head.decode(event)
        if head.type not in ("snapshot", "update"):
            raise ValueError(f"{head.type[:20]!r} is neither a snapshot nor an update")
        kind: Kind = "snapshot" if head.type == "snapshot" else "update"
        return Message(
            "depth", symbol_of(head.product_id), frame or bytes(event), time_ms, 0, 0, 0, kind=kind
        )

    def _begun(self, events: list[Event]) -> list[Event]:
        """Without the changes of books that no snapshot has begun."""
        passed: list[Event] = []
        for event in events:
            if isinstance(event, Message) and event.channel == "depth":
                if event.kind == "snapshot":
                    self._with_snapshot.add(event.symbol)
                elif event.symbol not in self._with_snapshot:
                    passed.append(Ignored("book before its snapshot"))
                    continue
            passed.append(event)
        return passed

    def _refused(self, message: str) -> list[Event]:
        refused, others = self._requests.refuse(message)
        if not refused:
            return [Refused(None, 0, message)]
        events: list[Event] = [RefusedStreams(refused, 0, message)]
        if others:
            self._requests.add(others)
            events.append(Send(_control("subscribe", others[0].partition(":")[0], others)))
        return events


def _control(action: str, channel: str, streams: list[str]) -> str:
    products = [stream.partition(":")[2] for stream in streams]
    request = {"type": action, "product_ids": products, "channel": channel}
    return msgspec.json.encode(request).decode()
