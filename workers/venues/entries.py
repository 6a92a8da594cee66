"""Entries of `raw:{S}:depth` as events of a book, whatever the venue: of some kind, with ids to chain them by."""

from __future__ import annotations

from typing import Final, Protocol, get_args

from workers.model.books.in_band import BookRule
from workers.model.events import DepthEvent, Kind
from workers.venues.facts import Facts

KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))


class LogEntry(Protocol):
    """An entry as a reader gets it."""

    @property
    def stream_id(self) -> bytes:
        """`<event ms>-<update id>`; the second part is a number of the log where the venue gives none."""

    @property
    def data(self) -> bytes:
        """The exchange's own bytes."""

    @property
    def kind(self) -> str:
        """One of `KINDS`; anything else is taken for an update."""


class DepthVenue(Protocol):
    """What of a venue is needed to read its depth entries."""

    facts: Facts
    book_rule: BookRule

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode the data of an entry. Raises: MalformedFrame."""


def depth_of(venue: DepthVenue, symbol: str, entry: LogEntry) -> DepthEvent:
    """The event of an entry.

    Raises:
        MalformedFrame: its data are not the venue's.
    """
    kind: Kind = entry.kind if entry.kind in KINDS else "update"  # type: ignore[assignment]  # just looked up
    by_id = venue.facts.continuity.by_id
    if kind == "break" or not by_id:
        ms, _, number = entry.stream_id.partition(b"-")
    if kind == "break":
        event = DepthEvent(symbol, int(number), int(number), -1, int(ms), 0, [], [])
    else:
        event = venue.depth(entry.data, symbol, kind)
        if not by_id:
            event.first_id = event.last_id = int(number)
            event.previous_id = -1
    event.kind = kind
    return event
