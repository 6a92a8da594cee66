"""One socket of Bybit; a stream's wire name is its topic, such as `orderbook.200.BTCUSDT`.

The client pings each 20 s. A snapshot may come before the answer to its request, and at any time again. Whether a
book's ids have a hole is for its readers to see, who may have another line that fills it; only ids that begin anew are
seen here: `u` of 1 after a restart of the service, or one that fell while `seq`, which is of the engine, went on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, Raw

from workers.model.events import Kind
from workers.model.symbols.names import symbol_problem
from workers.plain_text import plain
from workers.venues.bybit import wire
from workers.venues.bybit.channels import message
from workers.venues.bybit.settings import BybitSettings
from workers.venues.channels import extras_of
from workers.venues.messages import Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Event, RefusedStreams, Send, Stale
from workers.venues.tolerant_json import as_bytes, decode, filed, malformed

PING_MS: Final = 20_000
MOST_TOPICS: Final = 10
"""Of one request: spot takes no more."""
_PING: Final = '{"op":"ping"}'


class _Request(NamedTuple):
    operation: str
    topics: list[str]


class _Standing(NamedTuple):
    """The ids of the last message of a book."""

    update_id: int
    engine: int


class BybitSession:
    """See `workers.venues.session.Session`.

    Args:
        name: the settings section, for errors.
    """

    def __init__(self, name: str, settings: BybitSettings) -> None:
        self._name = name
        self._settings = settings
        self._numbered = settings.continuity == "plus one"
        self._book_prefix = f"orderbook.{settings.depth}."
        self._trade_prefix = f"{settings.trades}."
        self._open: dict[str, _Request] = {}
        """Requests without an answer by their id, the oldest first."""
        self._pinged_ms = 0
        self._standing: dict[str, _Standing] = {}
        self._extras: dict[str, Subscription] = {}
        """The topics of this socket that the settings ask for by name."""
        self._stale: set[str] = set()
        """Symbols whose updates have a hole until their next snapshot."""

    def opened(self, now_ms: int) -> list[str]:
        """Nothing is to be said yet."""
        self._pinged_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"req_id":"7","op":"subscribe","args":["orderbook.200.BTCUSDT","publicTrade.BTCUSDT"]}`"""
        self._extras.update(extras_of(streams))
        return self._requests("subscribe", [each.stream for each in streams], str(request_id))

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `unsubscribe`."""
        return self._requests("unsubscribe", [each.stream for each in streams], f"{request_id}u")

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """What a frame means; see `workers.venues.bybit.wire`."""
        envelope = decode(self._name, wire.frame_decoder, frame, "frame")
        topic = envelope.topic
        if topic is UNSET:
            return self._answer(envelope, frame)
        if envelope.data is UNSET:
            raise malformed(self._name, "frame", "it has a topic, but no data", frame)
        if (extra := self._extras.get(topic)) is not None:
            return [message(extra, envelope, envelope.data, as_bytes(frame))]
        for prefix in (self._book_prefix, self._trade_prefix):
            if topic.startswith(prefix):
                break
        else:
            return [Ignored(plain(topic, 40))]
        symbol = topic[len(prefix) :]
        if problem := symbol_problem(symbol):
            raise malformed(self._name, "frame", f"topic: {problem}", frame)
        if prefix == self._trade_prefix:
            return self._trades(symbol, envelope.data)
        return self._book(symbol, envelope, envelope.data, as_bytes(frame))

    def tick(self, now_ms: int) -> list[Event]:
        """A ping each 20 s, whatever else comes."""
        if now_ms - self._pinged_ms < PING_MS:
            return []
        self._pinged_ms = now_ms
        return [Send(_PING)]

    def _requests(self, operation: str, topics: Sequence[str], name: str) -> list[str]:
        frames = []
        for number, start in enumerate(range(0, len(topics), MOST_TOPICS)):
            part = list(topics[start : start + MOST_TOPICS])
            request_name = f"{name}-{number}" if number else name
            self._open[request_name] = _Request(operation, part)
            request = {"req_id": request_name, "op": operation, "args": part}
            frames.append(msgspec.json.encode(request).decode())
        return frames

    def _book(self, symbol: str, envelope: wire.Frame, data: Raw, frame: bytes) -> list[Event]:
        if envelope.type not in ("snapshot", "delta"):
            raise malformed(self._name, "book", f"its type is {envelope.type[:40]!r}", frame)
        head = decode(self._name, wire.book_head_decoder, data, "book")
        standing = self._standing.get(symbol)
        kind: Kind = "snapshot" if envelope.type == "snapshot" else "update"
        if head.u == 1 or (kind == "snapshot" and standing and head.u < standing.update_id):
            kind = "restart"
        if kind != "update":
            self._stale.discard(symbol)
        elif symbol in self._stale:
            return []
        elif standing and self._numbered and head.u <= standing.update_id:
            if head.seq <= standing.engine:
                return [Ignored("repeated book message")]
            self._stale.add(symbol)
            return [Stale([self._book_prefix + symbol], "reset")]
        self._standing[symbol] = _Standing(head.u, head.seq)
        number, previous = (head.u, -1) if self._numbered else (0, 0)
        return [Message("depth", symbol, frame, envelope.ts, number, number, previous, kind=kind)]

    def _trades(self, symbol: str, data: Raw) -> list[Event]:
        """Several trades may share all but their id, which is none that could be counted."""

        def message(data: bytes) -> Message:
            head = decode(self._name, wire.trade_head_decoder, data, "trade")
            return Message("aggTrade", symbol, data, head.T, 0, 0, -1, name=head.i)

        elements = decode(self._name, wire.elements_decoder, data, "trades")
        return filed(elements, message)

    def _answer(self, envelope: wire.Frame, frame: bytes | str) -> list[Event]:
        if envelope.op == "pong" or envelope.ret_msg == "pong":
            return []
        if envelope.success is UNSET:
            raise malformed(self._name, "frame", "neither data of a topic, nor an answer", frame)
        request, name = self._answered(envelope)
        message = plain(envelope.ret_msg)
        if request is None:
            return [Ignored(plain(envelope.op, 40))] if envelope.success else [Refused(None, 0, message)]
        if request.operation == "unsubscribe":
            return [] if envelope.success else [Ignored("refused unsubscribe")]
        if envelope.success:
            return [Accepted(request.topics)]
        return self._refusal(request.topics, envelope.ret_msg, f"{name}r")

    def _answered(self, envelope: wire.Frame) -> tuple[_Request | None, str]:
        """The request of an answer: by its id, else the oldest of its operation (a socket answers in order)."""
        name = envelope.req_id
        if name not in self._open:
            alike = (
                key
                for key, request in self._open.items()
                if envelope.op in ("", request.operation) and not name
            )
            name = next(alike, "")
        return self._open.pop(name, None), name

    def _refusal(self, topics: list[str], message: str, next_name: str) -> list[Event]:
        """Which topics an error is of, and what becomes of the others of its request."""
        shown = plain(message)
        named = [topic for topic in topics if _names(message, topic)]
        if not named:
            return [RefusedStreams(topics, 0, shown)]
        subscribed = "already subscribed" in message.lower()
        events: list[Event] = [Accepted(named) if subscribed else RefusedStreams(named, 0, shown)]
        others = [topic for topic in topics if topic not in named]
        if others and self._settings.refusal == "topic":
            events.append(Accepted(others))
        elif others:
            events += map(Send, self._requests("subscribe", others, next_name))
        return events


def _names(message: str, topic: str) -> bool:
    """Whether a text names a topic, and not only a longer one that begins or ends so."""
    return re.search(rf"(?<![\w.-]){re.escape(topic)}(?![\w-]|\.\w)", message) is not None
