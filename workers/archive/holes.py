"""Trades that are missing from the stream but not from the fold: they were repaired over REST.

The archive waits until the trades role has passed the hole, then takes from `trades:{S}:latest` what it got. Such a
row gets the id its entry would have had (`<trade ms>-<trade id>`, between its neighbours') and the line `repair`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from workers.archive.buffer import Hole
from workers.archive.files.layout import StreamId
from workers.archive.files.rows import REPAIRED, Row, trade_row
from workers.archive.metrics import REPAIRED_ROWS
from workers.archive.stream import OwnedStream
from workers.model.events import Trade

log = structlog.get_logger()

FILLED_AT_ONCE: Final = 5_000
SEARCH_MS: Final = 10_000
"""How far the trades of a hole may lie outside the times of their neighbours."""


async def fill(stream: OwnedStream, now: float, wait_s: float) -> None:
    """Fill the holes of a stream, up to one that the fold has not passed and that is not older than `wait_s` yet."""
    filled = 0
    while stream.buffer.holes and filled < FILLED_AT_ONCE:
        rows = await _fill_first(stream, now, wait_s)
        if rows is None:
            return
        filled += rows


async def _fill_first(stream: OwnedStream, now: float, wait_s: float) -> int | None:
    """Fill the first hole or a part of it; how many rows that are, None when it has to wait."""
    hole, symbol, store = stream.buffer.holes[0], stream.source.symbol, stream.parts.store
    if now - hole.since < wait_s and await store.folded.last_id(symbol) < hole.last:
        return None
    neighbour = stream.buffer.neighbour_before(hole.before)
    after = neighbour.stream_id if neighbour else stream.offset.stream_id
    trades = await store.folded.trades(
        symbol, hole.first, hole.last, after.ms - SEARCH_MS, hole.before.ms + SEARCH_MS, FILLED_AT_ONCE
    )
    expected = hole.first
    for trade in trades:
        if trade.trade_id > expected:
            await _tell(stream, hole, expected, trade.trade_id - 1)
        expected = trade.trade_id + 1
    rows = _rows(trades, after, hole.before)
    stream.buffer.insert(rows, hole.before)
    REPAIRED_ROWS.labels(stream.source.venue).inc(len(rows))
    if len(trades) == FILLED_AT_ONCE and expected <= hole.last:
        hole.first = expected
        return len(rows)
    if expected <= hole.last:
        await _tell(stream, hole, expected, hole.last)
    stream.buffer.holes.pop(0)
    log.info("archive_hole_passed", key=stream.key, first=hole.first, last=hole.last, repaired=len(rows))
    return len(rows)


async def _tell(stream: OwnedStream, hole: Hole, first: int, last: int) -> None:
    if hole.is_room:
        return
    reason = (
        "was trimmed before it was archived" if hole.trimmed else "never had them, nor were they repaired"
    )
    await stream.tell_missing(first, last, reason)


def _rows(trades: Sequence[Trade], after: StreamId, before: StreamId) -> list[Row]:
    rows = []
    ms = after.ms
    for trade in trades:
        ms = min(max(ms, trade.trade_time), before.ms)
        rows.append(trade_row(StreamId(ms, trade.trade_id), trade, None, REPAIRED, pending=False))
    return rows
