"""Reading what rules watch: in pages of a bounded number of commands, and only what a rule needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import StateUnreadable
from workers.model.alerts.rules import Target
from workers.model.alerts.signals import STREAMS, Signal, Source, Value
from workers.model.alerts.values import field_value, occurrences, shown_values, status_values
from workers.store.analytics.reading import events_in
from workers.store.books.shown import text_of
from workers.store.keys import (
    ANALYTICS_GROUP,
    BOOKS_GROUP,
    DEPTH,
    ORDERS_GROUP,
    TRADES,
    TRADES_GROUP,
    Keys,
)
from workers.store.refusals import Refusal, refusal_of
from workers.store.replies import unusable

READ_AT_ONCE: Final = 200
"""New entries of one stream taken into account with one look; the next look goes on from there."""
FIRST: Final = "0-0"
OWNERS: Final[Mapping[Source, str]] = {
    Source.ORDERS_STATUS: ORDERS_GROUP,
    Source.ANALYTICS: ANALYTICS_GROUP,
}
"""The role whose owner writes a hash. Without one the hash keeps its last figures, which say nothing of now."""


class Watch(NamedTuple):
    """A symbol, and the signals of it that some rule needs."""

    keys: Keys
    target: Target
    signals: Sequence[Signal]

    @property
    def commands(self) -> int:
        """How many commands one look at it takes."""
        asked = _asked(self)
        return len(asked) + sum(question.source in OWNERS for question in asked)


class Seen(NamedTuple):
    """What a look at a symbol showed."""

    values: dict[str, Value]
    places: dict[str, str]
    """By stream, where the next look goes on."""
    unreadable: Sequence[StateUnreadable]


class _Question(NamedTuple):
    source: Source
    interval: str = ""


def _asked(watch: Watch) -> list[_Question]:
    return sorted({_Question(signal.source, signal.interval) for signal in watch.signals}, key=str)


async def look(
    client: Redis, watches: Sequence[Watch], places: Mapping[str, str], now_ms: int, *, attended: bool
) -> list[Seen]:
    """Look at symbols, all in one round trip.

    Args:
        places: how far each stream was looked at; one that is not there is entered at its end.
        attended: whether a worker lives that would withdraw a book that cannot be trusted.

    Raises:
        RedisError: Redis is in trouble.
    """
    pipe: Any = client.pipeline(transaction=False)
    for watch in watches:
        for question in _asked(watch):
            _ask(pipe, watch, question, places)
    replies = iter(await pipe.execute(raise_on_error=False))
    seen = []
    for watch in watches:
        answers, unreadable = {}, []
        for question in _asked(watch):
            reply, key = next(replies), _key(watch, question)
            if _is_missing(reply):
                reply = None
            elif problem := unusable(key, reply):
                unreadable.append(problem)
                reply = problem
            if question.source in OWNERS:
                owner, lease = next(replies), _lease(watch, question)
                if problem := unusable(lease, owner):
                    unreadable.append(problem)
                if problem or not owner:
                    reply = None
            answers[question] = reply
        values, further = _values(watch, answers, places, now_ms, attended)
        seen.append(Seen(values, further, unreadable))
    return seen


def _is_missing(reply: Any) -> bool:
    """XINFO of a stream or group that is not there is an error, and no trouble."""
    return isinstance(reply, ResponseError) and refusal_of(reply) in (Refusal.OTHER, Refusal.NO_GROUP)


def _key(watch: Watch, question: _Question) -> str:
    keys, symbol = watch.keys, watch.target.symbol
    made = {
        Source.SHOWN: lambda: keys.live_orderbook,
        Source.STATUS: lambda: keys.book_status(symbol),
        Source.TRADES_STATUS: lambda: keys.trades_status(symbol),
        Source.TRADES_STATE: lambda: keys.trades_state(symbol),
        Source.DEPTH_GROUP: lambda: keys.raw(symbol, DEPTH),
        Source.TRADES_GROUP: lambda: keys.raw(symbol, TRADES),
        Source.STATS: lambda: keys.stats(symbol, question.interval),
        Source.DERIVATIVES: lambda: keys.derivatives(symbol),
        Source.GAPS: lambda: keys.gaps(symbol),
        Source.AUDITS: lambda: keys.audit(symbol),
        Source.LIQUIDATIONS: lambda: keys.liquidations(symbol),
        Source.ORDERS_STATUS: lambda: keys.orders_status(symbol),
        Source.ANALYTICS: lambda: keys.analytics(symbol),
        Source.ANALYTICS_EVENTS: lambda: keys.analytics_events(symbol),
    }
    return made[question.source]()


def _lease(watch: Watch, question: _Question) -> str:
    return watch.keys.lease(OWNERS[question.source], watch.target.symbol)


def _ask(pipe: Any, watch: Watch, question: _Question, places: Mapping[str, str]) -> None:
    source, key = question.source, _key(watch, question)
    if source is Source.SHOWN:
        pipe.hget(key, watch.target.symbol)
    elif source in STREAMS and key in places:
        pipe.xrange(key, min=f"({places[key]}", max="+", count=READ_AT_ONCE)
    elif source in STREAMS or source is Source.DERIVATIVES:
        pipe.xrevrange(key, count=1)
    elif source in (Source.DEPTH_GROUP, Source.TRADES_GROUP):
        pipe.xinfo_groups(key)
    else:
        pipe.hgetall(key)
    if source in OWNERS:
        pipe.hget(_lease(watch, question), "owner")


def _values(
    watch: Watch, answers: Mapping[_Question, Any], places: Mapping[str, str], now_ms: int, attended: bool
) -> tuple[dict[str, Value], dict[str, str]]:
    values: dict[str, Value] = {}
    further: dict[str, str] = {}
    for question, reply in answers.items():
        broken = isinstance(reply, StateUnreadable)
        signals = [
            signal for signal in watch.signals if _Question(signal.source, signal.interval) == question
        ]
        source, key = question.source, _key(watch, question)
        if source is Source.SHOWN:
            values |= (
                dict.fromkeys(_names(signals)) if broken else shown_values(reply, now_ms, attended=attended)
            )
        elif source is Source.STATUS:
            fields = None if broken else text_of(reply)
            values |= status_values(fields, now_ms)
            values |= {signal.name: field_value(signal, fields) for signal in signals if signal.field}
        elif source is Source.TRADES_STATUS:
            values["trades_halted"] = None if broken else bool(reply)
        elif source in (Source.DEPTH_GROUP, Source.TRADES_GROUP):
            group = BOOKS_GROUP if source is Source.DEPTH_GROUP else TRADES_GROUP
            values |= dict.fromkeys(_names(signals), None if broken else _waiting(reply, group))
        elif source in STREAMS:
            entries = [] if broken or reply is None else reply
            if entries:
                further[key] = entries[-1][0].decode()
            elif key not in places and not broken:
                further[key] = FIRST
            fresh = _happenings(source, entries) if key in places else []
            values |= {signal.name: None if broken else occurrences(signal, fresh) for signal in signals}
        else:
            newest = reply[0][1] if source is Source.DERIVATIVES and not broken and reply else reply
            fields = None if broken or not newest else text_of(newest)
            values |= {signal.name: field_value(signal, fields) for signal in signals}
    return values, further


def _happenings(source: Source, entries: Sequence[Any]) -> list[dict[str, str]]:
    """The fields of each thing that happened: one an entry, but of analytics, where an entry may have several."""
    if source is Source.ANALYTICS_EVENTS:
        return [{"kind": event.kind} for _, fields in entries for event in events_in(fields)]
    return [text_of(fields) for _, fields in entries]


def _names(signals: Sequence[Signal]) -> list[str]:
    return [signal.name for signal in signals]


def _waiting(groups: Any, wanted: str) -> float | None:
    """How many entries of a stream a group has not been given; None where the server cannot tell."""
    for group in groups or ():
        name = group["name"]
        if (name.decode() if isinstance(name, bytes) else name) == wanted:
            lag = group.get("lag")
            return None if lag is None else float(lag)
    return None
