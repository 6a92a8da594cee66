"""One socket of OKX: `/public` for books, `/business` for `trades-all`; both speak alike.

A stream's wire name is `channel:instId`, such as `books:BTC-USDT`. Where nothing came for a while, the text `ping` asks
for the text `pong`; the server closes after 30 s of silence. Whether a book's chain of ids has a hole is for its
readers to see, who may have another line that fills it; only a chain that begins anew at lower ids is seen here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from workers.model.events import Kind
from workers.model.symbols.names import symbol_problem
from workers.plain_text import plain
from workers.venues.channels import extras_of
from workers.venues.messages import ContractNotice, Ignored, Message, Refused, ShutdownNotice, Subscription
from workers.venues.okx import wire
from workers.venues.okx.channels import OF_TYPES, messages
from workers.venues.okx.settings import OkxSettings
from workers.venues.session import Accepted, Event, RefusedStreams, Send, Stale
from workers.venues.tolerant_json import UNUSABLE, as_bytes, decode, filed, malformed

QUIET_MS: Final = 20_000
"""After so long without a frame a ping is due; the server closes at 30 s."""
MOST_ARGUMENTS: Final = 400
"""Of one request, which may have 64 KiB: an argument has less than 160 bytes."""
UPGRADE: Final = 64008
"""The code of the notice that comes a minute before the server closes."""
_INSTRUMENTS: Final = "instruments"


def argument_of(stream: str) -> dict[str, str]:
    """`books:BTC-USDT` → `{"channel":"books","instId":"BTC-USDT"}`; `instruments:SPOT` is of a type."""
    channel, _, subject = stream.partition(":")
    return {"channel": channel, "instType" if channel in OF_TYPES else "instId": subject}


class OkxSession:
    """See `workers.venues.session.Session`.

    Args:
        name: the settings section, for errors.
    """

    def __init__(self, name: str, settings: OkxSettings) -> None:
        self._name = name
        self._settings = settings
        self._open: dict[str, list[str]] = {}
        """By the id of a request: its streams without an answer, in the order of the requests."""
        self._quiet_since_ms = 0
        """When a frame came last, or a ping was asked for."""
        self._last: dict[str, int] = {}
        """By symbol: the `seqId` its stream stands at."""
        self._extras: dict[str, Subscription] = {}
        """The streams of this socket that the settings ask for by name."""
        self._stale: set[str] = set()
        """Symbols whose updates have a hole until their next snapshot."""

    def opened(self, now_ms: int) -> list[str]:
        """Nothing is to be said."""
        self._quiet_since_ms = now_ms
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"id":"7","op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}`"""
        self._extras.update(extras_of(streams))
        frames = []
        for number, start in enumerate(range(0, len(streams), MOST_ARGUMENTS)):
            names = [each.stream for each in streams[start : start + MOST_ARGUMENTS]]
            request = f"{request_id}p{number}" if number else str(request_id)
            self._open[request] = names
            frames.append(_control("subscribe", names, request))
        return frames

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `unsubscribe`."""
        names = [each.stream for each in streams]
        for name in names:
            self._answered(name)
        return [
            _control("unsubscribe", names[start : start + MOST_ARGUMENTS], f"{request_id}u{number}")
            for number, start in enumerate(range(0, len(names), MOST_ARGUMENTS))
        ]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """What a frame means; see `workers.venues.okx.wire`."""
        self._quiet_since_ms = now_ms
        if frame in (b"pong", "pong"):
            return []
        envelope = decode(self._name, wire.frame_decoder, frame, "frame")
        if envelope.event:
            return self._control_event(envelope, frame)
        if envelope.arg is UNSET or envelope.data is UNSET:
            raise malformed(self._name, "frame", "neither data, nor an answer, nor an error", frame)
        channel, symbol = envelope.arg.channel, envelope.arg.instId
        if self._extras:
            subject = envelope.arg.instType if channel in OF_TYPES else symbol
            if (extra := self._extras.get(f"{channel}:{subject}")) is not None:
                return messages(self._name, extra, envelope.data)
        if channel == _INSTRUMENTS:
            return self._listed(envelope.data)
        if channel not in (self._settings.depth, self._settings.trades):
            return [Ignored(plain(channel, 40))]
        if problem := symbol_problem(symbol):
            raise malformed(self._name, "frame", f"instId: {problem}", frame)
        if channel == self._settings.depth:
            whole = as_bytes(frame) if len(envelope.data) == 1 else None
            return self._books(symbol, envelope.action, envelope.data, whole)
        return self._trades(symbol, envelope.data)

    def tick(self, now_ms: int) -> list[Event]:
        """A ping where nothing came for long, and again as long after it."""
        if now_ms - self._quiet_since_ms < QUIET_MS:
            return []
        self._quiet_since_ms = now_ms
        return [Send("ping")]

    def _books(self, symbol: str, action: str, data: list[Raw], whole: bytes | None) -> list[Event]:
        if action not in ("snapshot", "update"):
            raise malformed(self._name, "book", f"its action is {action[:40]!r}", whole or b"")
        heads = [decode(self._name, wire.book_head_decoder, each, "book") for each in data]
        legacy = self._settings.legacy
        if not legacy and any(head.seqId is UNSET for head in heads):
            raise malformed(
                self._name, "book", "it has no seqId (recordings before 2023: legacy)", whole or b""
            )
        events: list[Event] = []
        for head, element in zip(heads, data, strict=True):
            body = whole or bytes(element)
            if legacy or head.seqId is UNSET:
                kind: Kind = "snapshot" if action == "snapshot" else "update"
                events.append(Message("depth", symbol, body, head.ts, 0, 0, 0, kind=kind))
            else:
                events += self._book(symbol, action, body, head.ts, head.seqId, head.prevSeqId)
        return events

    def _book(
        self, symbol: str, action: str, data: bytes, time_ms: int, number: int, previous: int
    ) -> list[Event]:
        """One message of a book, which may begin it, continue it, or begin its ids anew."""
        kind: Kind = "update"
        if action == "snapshot":
            kind = "restart" if number < self._last.get(symbol, 0) else "snapshot"
            self._stale.discard(symbol)
        elif symbol in self._stale:
            return []
        elif number < previous and self._settings.sequence_reset == "resubscribe":
            self._last[symbol] = max(previous, self._last.get(symbol, 0))
            self._stale.add(symbol)
            return [Stale([f"{self._settings.depth}:{symbol}"], "reset")]
        self._last[symbol] = number
        chained = -1 if action == "snapshot" else previous
        return [Message("depth", symbol, data, time_ms, number, number, chained, kind=kind)]

    def _trades(self, symbol: str, data: list[Raw]) -> list[Event]:
        def message(data: bytes) -> Message:
            head = decode(self._name, wire.trade_head_decoder, data, "trade")
            return Message("aggTrade", symbol, data, head.ts, head.tradeId, head.tradeId, -1)

        return filed(data, message)

    def _listed(self, data: Iterable[Raw]) -> list[Event]:
        """Changes of the list; what is new comes nearly empty first, so all that is taken is that it changed."""
        notices: list[Event] = []
        for element in data:
            try:
                listed = wire.instrument_decoder.decode(element)
            except UNUSABLE as error:
                raise malformed(self._name, "instrument", str(error), bytes(element)) from None
            if not symbol_problem(listed.instId):
                notices.append(ContractNotice(listed.instId, plain(listed.state), -1))
        return notices

    def _control_event(self, envelope: wire.Frame, frame: bytes | str) -> list[Event]:
        code = wire.code_number(envelope.code)
        if envelope.event == "notice":
            return [ShutdownNotice()] if code == UPGRADE else [Ignored(f"notice {code}")]
        if envelope.event == "error":
            return [self._refusal(envelope, code)]
        if envelope.event == "subscribe":
            if envelope.arg is UNSET:
                raise malformed(self._name, "answer", "it names no channel", frame)
            stream = f"{envelope.arg.channel}:{envelope.arg.instId or envelope.arg.instType}"
            self._answered(stream)
            return [Accepted([stream])]
        return [] if envelope.event == "unsubscribe" else [Ignored(plain(envelope.event, 40))]

    def _refusal(self, envelope: wire.Frame, code: int) -> RefusedStreams | Refused:
        """Which streams an error is of: those its text names; else all of its request, or of the oldest one."""
        request = envelope.id if envelope.id in self._open else ""
        waiting = (
            self._open[request]
            if request
            else [stream for streams in self._open.values() for stream in streams]
        )
        message = plain(envelope.msg)
        named = [stream for stream in waiting if _names(envelope.msg, stream)]
        if not named and waiting and "instId:" not in envelope.msg:
            named = list(self._open[request] if request else next(iter(self._open.values())))
        if not named:
            return Refused(None, code, message)
        for stream in named:
            self._answered(stream)
        return RefusedStreams(named, code, message)

    def _answered(self, stream: str) -> None:
        for request, waiting in list(self._open.items()):
            if stream in waiting:
                waiting.remove(stream)
                if not waiting:
                    del self._open[request]
                return


def _control(operation: str, streams: Sequence[str], name: str) -> str:
    request = {"id": name, "op": operation, "args": [argument_of(stream) for stream in streams]}
    return msgspec.json.encode(request).decode()


def _names(message: str, stream: str) -> bool:
    """Whether a text names channel and instrument of a stream, and not only longer ones that begin or end so."""
    return all(
        re.search(rf"(?<![\w-]){re.escape(part)}(?![\w-])", message) for part in stream.partition(":")[::2]
    )
