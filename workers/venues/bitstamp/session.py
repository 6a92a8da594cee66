"""One socket of Bitstamp; a stream's wire name is its channel, such as `diff_order_book_btcusd`.

A request has one channel. An error rarely names its own: which one it is, is known when as many channels are without an
answer as there are errors. Nothing tells what is missing of a book; its `microtimestamp` only orders what comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, Raw

from workers.model.events import Kind
from workers.plain_text import plain
from workers.venues.bitstamp import wire
from workers.venues.bitstamp.orders import CHANNEL as ORDERS_CHANNEL
from workers.venues.bitstamp.orders import EVENTS, order_numbers
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.symbols import symbol_of
from workers.venues.messages import Ignored, Message, Refused, ShutdownNotice, Subscription
from workers.venues.session import Accepted, Event, RefusedStreams, Send
from workers.venues.tolerant_json import as_bytes, decode, malformed

HEARTBEAT_MS: Final = 20_000
PATIENCE_MS: Final = 10_000
"""How long an error waits for the answers that show whose it is."""
_HEARTBEAT: Final = '{"event":"bts:heartbeat"}'
_PROVES_LIFE: Final = frozenset({"bts:heartbeat", "bts:unsubscription_succeeded"})


class _Error(NamedTuple):
    code: int
    message: str
    came_ms: int


class BitstampSession:
    """See `workers.venues.session.Session`.

    Args:
        name: the settings section, for errors.
    """

    def __init__(self, name: str, settings: BitstampSettings) -> None:
        self._name = name
        self._book_prefix = f"{settings.depth}_"
        self._trade_prefix = f"{settings.trades}_"
        self._order_prefix = f"{ORDERS_CHANNEL}_" if settings.orders else ""
        self._whole = settings.depth == "order_book"
        self._open: dict[str, None] = {}
        """Channels asked for and not answered, the oldest first."""
        self._errors: list[_Error] = []
        """Those that named no channel, while it is not known whose they are."""
        self._beat_ms = 0
        self._latest: dict[str, int] = {}
        """By symbol: the microtimestamp of its newest book message."""

    def opened(self, now_ms: int) -> list[str]:
        """Nothing is to be said yet."""
        self._beat_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"event":"bts:subscribe","data":{"channel":"diff_order_book_btcusd"}}` for each: frames have 512 bytes."""
        self._open |= dict.fromkeys(each.stream for each in streams)
        return [_request("bts:subscribe", each.stream) for each in streams]

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `bts:unsubscribe`."""
        for each in streams:
            self._open.pop(each.stream, None)
        return [_request("bts:unsubscribe", each.stream) for each in streams]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """What a frame means; see `workers.venues.bitstamp.wire`."""
        envelope = decode(self._name, wire.frame_decoder, frame, "frame")
        event, channel = envelope.event, envelope.channel
        if event == "data" and channel.startswith(self._book_prefix):
            symbol = self._symbol(channel, self._book_prefix, frame)
            return self._book(symbol, self._data(envelope, frame), as_bytes(frame))
        if event == "trade" and channel.startswith(self._trade_prefix):
            symbol = self._symbol(channel, self._trade_prefix, frame)
            return self._trade(symbol, self._data(envelope, frame), as_bytes(frame))
        if event in EVENTS and self._order_prefix and channel.startswith(self._order_prefix):
            return self._order(self._symbol(channel, self._order_prefix, frame), frame)
        if event == "bts:subscription_succeeded":
            self._open.pop(channel, None)
            return [Accepted([channel]), *self._blamed()]
        if event == "bts:error":
            return self._refusal(channel, self._data(envelope, frame), now_ms)
        if event == "bts:request_reconnect":
            return [ShutdownNotice()]
        return [] if event in _PROVES_LIFE else [Ignored(plain(f"{event} {channel}", 60))]

    def tick(self, now_ms: int) -> list[Event]:
        """A heartbeat each 20 s; and errors whose channel did not show are of all that are still without an answer."""
        events: list[Event] = []
        if self._errors and now_ms - self._errors[0].came_ms >= PATIENCE_MS:
            events += self._blame()
        if now_ms - self._beat_ms >= HEARTBEAT_MS:
            self._beat_ms = now_ms
            events.append(Send(_HEARTBEAT))
        return events

    def _symbol(self, channel: str, prefix: str, frame: bytes | str) -> str:
        try:
            return symbol_of(channel[len(prefix) :])
        except ValueError as error:
            raise malformed(self._name, "frame", f"channel: {error}", frame) from None

    def _data(self, envelope: wire.Frame, frame: bytes | str) -> Raw:
        if envelope.data is UNSET:
            raise malformed(self._name, "frame", "it has no data", frame)
        return envelope.data

    def _book(self, symbol: str, data: Raw, frame: bytes) -> list[Event]:
        time = decode(self._name, wire.book_head_decoder, data, "book").microtimestamp
        if time < self._latest.get(symbol, 0):
            return [Ignored("book message out of order")]  # its quantities are older than what is known
        self._latest[symbol] = time
        kind: Kind = "snapshot" if self._whole else "update"
        return [Message("depth", symbol, frame, time // 1000, time, time, 0, kind=kind)]

    def _trade(self, symbol: str, data: Raw, frame: bytes) -> list[Event]:
        head = decode(self._name, wire.trade_head_decoder, data, "trade")
        return [Message("aggTrade", symbol, frame, head.microtimestamp // 1000, head.id, head.id, -1)]

    def _order(self, symbol: str, frame: bytes | str) -> list[Event]:
        micros, number, before = order_numbers(self._name, frame)
        return [Message("orders", symbol, as_bytes(frame), micros // 1000, number, number, before)]

    def _refusal(self, channel: str, data: Raw, now_ms: int) -> list[Event]:
        problem = decode(self._name, wire.problem_decoder, data, "error")
        code, message = wire.code_number(problem.code), plain(problem.message)
        if channel in self._open:
            del self._open[channel]
            return [RefusedStreams([channel], code, message), *self._blamed()]
        if channel or not self._open:
            return [Refused(None, code, message)]
        self._errors.append(_Error(code, message, now_ms))
        return self._blamed()

    def _blamed(self) -> list[Event]:
        """The channels that errors are of, as soon as no others are without an answer."""
        return self._blame() if self._errors and len(self._open) <= len(self._errors) else []

    def _blame(self) -> list[Event]:
        first, streams = self._errors[0], list(self._open)
        self._errors.clear()
        self._open.clear()
        return [RefusedStreams(streams, first.code, first.message)] if streams else []


def _request(event: str, channel: str) -> str:
    return msgspec.json.encode({"event": event, "data": {"channel": channel}}).decode()
