"""Which trades are missing between two that the stream had, of a venue whose trade ids do not show it.

The answer compares what REST has of the stretch with what the log has: by id where ids rise, by place where they only
name trades.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from workers.model.events import Trade


class Missing(NamedTuple):
    """What REST has of a stretch, and the log has not."""

    trades: list[Trade]
    """The oldest first."""
    is_whole: bool
    """Whether what REST has reaches back to the beginning of the stretch."""


def missing(
    rows: Sequence[Trade], before: Trade, after: Trade, known: Sequence[Trade], *, rising: bool
) -> Missing | None:
    """Compare. None: what REST has does not reach the later trade yet.

    Args:
        rows: what REST has, the oldest first.
        before, after: the trades on either side, as the stream had them.
        known: what the log has between the two, if anything.
        rising: ids order the trades; else they only name them.

    Cost: O((rows + known) log known).
    """
    return _by_id(rows, before, after, known) if rising else _by_place(rows, before, after, known)


def reaches(rows: Sequence[Trade], before: Trade, after: Trade) -> bool:
    """Whether rows of rising ids have both sides of a stretch, so that no further page is needed."""
    return (
        bool(rows) and rows[0].trade_id <= before.last_trade_id and rows[-1].trade_id >= after.first_trade_id
    )


def _by_id(rows: Sequence[Trade], before: Trade, after: Trade, known: Sequence[Trade]) -> Missing | None:
    if not rows or rows[-1].trade_id < after.first_trade_id:
        return None
    ranges = sorted((trade.first_trade_id, trade.last_trade_id) for trade in known)
    firsts = [first for first, _ in ranges]

    def is_known(number: int) -> bool:
        place = bisect_right(firsts, number) - 1
        return place >= 0 and number <= ranges[place][1]

    inside = [row for row in rows if before.last_trade_id < row.trade_id < after.first_trade_id]
    trades = [row for row in inside if not is_known(row.trade_id)]
    return Missing(trades, rows[0].trade_id <= before.last_trade_id)


def _by_place(rows: Sequence[Trade], before: Trade, after: Trade, known: Sequence[Trade]) -> Missing | None:
    places = {row.name: place for place, row in enumerate(rows)}
    names = {trade.name for trade in known}
    end = places.get(after.name)
    if end is None:
        if not rows or rows[-1].trade_time <= after.trade_time:
            return None
        end = next(place for place, row in enumerate(rows) if row.trade_time > after.trade_time)
    start = places.get(before.name, -1) + 1
    is_whole = start > 0 or rows[0].trade_time < before.trade_time
    inside = [row for row in rows[start:end] if row.trade_time >= before.trade_time or start > 0]
    return Missing([row for row in inside if row.name not in names], is_whole)
