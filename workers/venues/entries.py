"""Entries of the log, whatever the venue: events of a book, of some kind and with ids to chain them by, and trades.

Trades of a venue whose ids are not consecutive go by the numbers that the log gives them.
"""

from __future__ import annotations

from typing import Final, Protocol, get_args

from workers.errors import MalformedFrame
from workers.model.books.in_band import BookRule
from workers.model.events import DepthEvent, Kind, Trade
from workers.venues.facts import Facts

LONGEST_NAME: Final = 64
"""Signs of the name that a venue gives a trade."""
MOST_ID: Final = 2**53 - 1
"""Up to here the fold, whose numbers are doubles, knows each id."""
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
        why = venue.depth(entry.data, symbol, kind).why if entry.data else ""
        event = DepthEvent(symbol, int(number), int(number), -1, int(ms), 0, [], [], why=why)
    else:
        event = venue.depth(entry.data, symbol, kind)
        if not by_id:
            event.first_id = event.last_id = int(number)
            event.previous_id = -1
    event.kind = kind
    return event


class TradesVenue(Protocol):
    """What of a venue is needed to read its trade entries."""

    name: str
    facts: Facts

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode the data of an entry. Raises: MalformedFrame."""


def is_break(entry: LogEntry) -> bool:
    """Whether an entry says that something is missing at its place."""
    return entry.kind == "break"


def number_of(entry: LogEntry) -> int:
    """The second part of an entry's id: the trade's own, or the log's."""
    return int(entry.stream_id.partition(b"-")[2])


def trade_of(venue: TradesVenue, symbol: str, entry: LogEntry) -> Trade:
    """The trade of an entry that is no break.

    Where the venue's ids are not consecutive, `trade_id` is the log's number, and `name` the venue's id.

    Raises:
        MalformedFrame: its data are not the venue's.
    """
    trade = venue.trade(entry.data, symbol)
    if venue.facts.trade_ids == "consecutive":
        if trade.trade_id > MOST_ID:
            raise MalformedFrame(venue.name, "trade", f"its id {trade.trade_id} is none", entry.data)
        return trade
    trade.name = trade.name or str(trade.trade_id)
    if len(trade.name) > LONGEST_NAME or not (trade.name.isprintable() and " " not in trade.name):
        raise MalformedFrame(venue.name, "trade", "its id is none", entry.data)
    trade.trade_id = trade.first_trade_id = trade.last_trade_id = number_of(entry)
    return trade
