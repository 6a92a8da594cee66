"""JSON of exchanges: whatever arrives, it is decoded or it is a MalformedFrame; of a list, each element by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Final, TypeVar

import msgspec

from workers.errors import MalformedFrame
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.names import symbol_problem
from workers.venues.interface import BadListing, ExchangeInfo
from workers.venues.messages import Message
from workers.venues.session import Event, Unusable

UNUSABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError)
"""What msgspec raises for bytes that are not the JSON it was told to expect."""

Decoded = TypeVar("Decoded")
Row = TypeVar("Row")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


def decode(venue: str, decoder: msgspec.json.Decoder[Decoded], data: bytes | str, place: str) -> Decoded:
    """What some JSON holds. O(length).

    Args:
        venue: the settings section, for the error.
        place: what is decoded, for the error.

    Raises:
        MalformedFrame: it is not what the decoder expects.
    """
    try:
        return decoder.decode(data)
    except UNUSABLE as error:
        raise malformed(venue, place, str(error), data) from None


def malformed(venue: str, place: str, problem: str, data: bytes | str) -> MalformedFrame:
    """The error for a frame or a reply, with how it begins."""
    # bytes() also where it is a Raw, which msgspec calls bytes in its types only
    excerpt = data[:200].encode(errors="replace") if isinstance(data, str) else bytes(data)
    return MalformedFrame(venue, place, problem, excerpt)


def as_bytes(frame: bytes | str) -> bytes:
    """A text frame as its bytes; a lone surrogate, which no wire has, as `?`."""
    return frame if isinstance(frame, bytes) else frame.encode(errors="replace")


def filed(elements: Iterable[msgspec.Raw], message: Callable[[bytes], Message]) -> list[Event]:
    """The messages of a frame, an element each, in the order of their ids; one that is malformed costs no other."""
    events: list[Event] = []
    for element in elements:
        try:
            events.append(message(bytes(element)))
        except (MalformedFrame, *UNUSABLE, ValueError) as error:
            events.append(Unusable(str(error)))
    events.sort(key=lambda event: event.update_id if isinstance(event, Message) else 0)
    return events


def each(
    elements: Iterable[msgspec.Raw],
    decoder: msgspec.json.Decoder[Decoded],
    name_key: str,
    row_of: Callable[[Decoded], Row],
    symbol_of: Callable[[str], str] = str,
) -> tuple[list[Row], list[BadListing]]:
    """What the elements of a list hold, and those that cannot be used, which cost no other. O(elements).

    Args:
        name_key: the key under which an element says which symbol it is of.
        row_of: makes a row of an element; raises ValueError where that cannot be.
        symbol_of: our spelling of what stands there; raises ValueError where it has none.
    """
    rows: list[Row] = []
    bad: list[BadListing] = []
    for element in elements:
        try:
            rows.append(row_of(decoder.decode(element)))
        except (*UNUSABLE, ValueError) as error:
            bad.append(BadListing(name_in(element, name_key, symbol_of), str(error)))
    return rows, bad


def name_in(element: msgspec.Raw, key: str, symbol_of: Callable[[str], str]) -> str:
    """Which symbol an element is of that cannot be used: in our spelling, for it may be followed; as it stands there
    where it has none; empty where there is none."""
    try:
        name = _text.decode(_members.decode(element)[key])
    except (*UNUSABLE, KeyError):
        return ""
    try:
        return symbol_of(name)
    except ValueError:
        return name


def listing(
    elements: Iterable[msgspec.Raw],
    decoder: msgspec.json.Decoder[Decoded],
    name_key: str,
    info_of: Callable[[Decoded], SymbolInfo | None],
    symbol_of: Callable[[str], str] = str,
) -> ExchangeInfo:
    """A list of symbols, as `each` has it; `info_of` gives None for what is not to be followed at all."""
    rows, bad = each(elements, decoder, name_key, info_of, symbol_of)
    return ExchangeInfo({row.symbol: row for row in rows if row is not None}, 0, bad)


def checked_symbol(symbol: str) -> str:
    """The symbol, if keys and paths can have it. Raises: ValueError."""
    if problem := symbol_problem(symbol):
        raise ValueError(problem)
    return symbol


def finite(sent: str | float) -> float:
    """A number of a ticker, 0 where none is sent. Raises: ValueError."""
    number = float(sent or 0)
    if not isfinite(number):
        raise ValueError("a number is not finite")
    return number
