"""The options of a question, as clients of tardis-machine write them: one JSON object or several. No I/O.

    [{"exchange":"binance-futures","symbols":["BTCUSDT"],"from":"2026-11-20","to":"2026-11-21","dataTypes":["trade"],
      "withDisconnectMessages":true}]

What is not named here (`apiKey`, `timeoutIntervalMS` …) says nothing to a server that holds the data itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

import msgspec

from workers.errors import BadInput, InvalidSymbol
from workers.model.symbols.names import fold_symbol
from workers.recordings.tardis.data_types import BarType, DataType, PlainType, SnapshotType, parse_data_type
from workers.recordings.tardis.normalised import microseconds

MOST_OBJECTS: Final = 50
MOST_SYMBOLS: Final = 2_000
MOST_TYPES: Final = 100
"""Of an object: each is computed for each symbol."""


class _Live(msgspec.Struct, rename="camel"):
    exchange: str
    data_types: list[str]
    symbols: list[str] | None = None
    with_disconnect_messages: bool | None = None
    with_error_messages: bool | None = None


class _Past(_Live, kw_only=True):
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")


_Object = TypeVar("_Object", bound=_Live)


class Wanted(NamedTuple):
    """What one object asks for."""

    exchange: str
    symbols: tuple[str, ...]
    """In capitals; none: all there are."""
    computed: list[SnapshotType | BarType]
    needs: frozenset[str]
    """The types of messages that must be read: those asked for, and what others are made of."""
    types: frozenset[str]
    """The types that are told: those that any object asks of the exchange."""
    with_disconnects: bool
    with_errors: bool
    from_us: int = 0
    to_us: int = 0


def parse_past(text: str) -> list[Wanted]:
    """The objects of a replay.

    Raises:
        BadInput: they cannot be used.
    """
    objects = _objects(text, _Past)
    found = []
    for one, wanted in zip(objects, _wanted(objects), strict=True):
        from_us, to_us = _time(one.start, "from"), _time(one.end, "to")
        if to_us < from_us:
            raise BadInput(
                'Invalid "to" and "from" arguments combination', '"to" must be later than "from"', "to"
            )
        found.append(wanted._replace(from_us=from_us, to_us=to_us))
    return found


def parse_live(text: str) -> list[Wanted]:
    """The objects of a live stream. Raises: BadInput."""
    return _wanted(_objects(text, _Live))


def _objects(text: str, kind: type[_Object]) -> list[_Object]:
    try:
        if text.lstrip().startswith("["):
            objects = msgspec.json.decode(text, type=list[kind])  # type: ignore[valid-type]  # a class all the same
        else:
            objects = [msgspec.json.decode(text, type=kind)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadInput('Invalid "options"', str(error), "options") from None
    if not 0 < len(objects) <= MOST_OBJECTS:
        raise BadInput('Invalid "options"', f"there must be 1 to {MOST_OBJECTS} objects", "options")
    return objects


def _wanted(objects: Sequence[_Live]) -> list[Wanted]:
    types = [[parse_data_type(name) for name in dict.fromkeys(one.data_types)] for one in objects]
    pooled: dict[str, set[str]] = {}
    for one, some in zip(objects, types, strict=True):
        if not 0 < len(some) <= MOST_TYPES:
            problem = f"there may be {MOST_TYPES} at the most" if some else "name at least one"
            raise BadInput('Invalid "dataTypes"', problem, "dataTypes")
        pooled.setdefault(one.exchange, set()).update(of.type for of in some)
    disconnects = any(one.with_disconnect_messages for one in objects)
    return [
        Wanted(
            one.exchange,
            _symbols(one.symbols or ()),
            [of for of in some if not isinstance(of, PlainType)],
            frozenset(map(_needed, some)),
            frozenset(pooled[one.exchange]),
            disconnects,
            bool(one.with_error_messages),
        )
        for one, some in zip(objects, types, strict=True)
    ]


def _needed(of: DataType) -> str:
    """The type of messages that a type is made of."""
    if isinstance(of, PlainType):
        return of.type
    return "book_change" if isinstance(of, SnapshotType) else "trade"


def _symbols(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) > MOST_SYMBOLS:
        raise BadInput('Invalid "symbols"', f"there may be {MOST_SYMBOLS} at the most", "symbols")
    try:
        return tuple(dict.fromkeys(fold_symbol(name) for name in names))
    except InvalidSymbol as error:
        raise BadInput('Invalid "symbols"', str(error), "symbols") from None


def _time(text: str, name: str) -> int:
    """µs since 1970 of an ISO time; one without a zone is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        problem = f"{text[:40]!r} is no valid date string"
        raise BadInput(f'Invalid "{name}" argument', problem, name) from None
    time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return microseconds(time)
