"""Everything the fleet holds of one stream, in Redis and in the archive, as one list without doubles.

Trades are one by their aggregate id (Redis has them in the latest set, repaired ones included), bars and depth by
the id of their stream entry.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from workers.archive.files.layout import DAY_MS, Source, StreamId
from workers.archive.files.reading import ArchiveReader, stream_id_of
from workers.archive.files.rows import POSITIONS, Values, event_ms, row_of, trade_row
from workers.model.trades.reordering import Reordering, in_order
from workers.runtime.context import VenueContext
from workers.store.log.ranges import Ranges

BATCH: Final = 8_192
REORDERED: Final = 20_000
"""How many rows a trade may stand behind its place in the ids."""
_TRADE_ID: Final = POSITIONS["trades"]["agg_trade_id"]


def _trade_key(row: Values) -> int:
    trade_id = row[_TRADE_ID]
    return stream_id_of(row).sequence if trade_id is None else int(trade_id)


class HeldRows:
    """What is held of one venue's symbols.

    Args:
        context: the venue of the settings; None: only the archive knows it.
        ranges: reads Redis; None: leave it out.
        archive: reads the files; None: leave them out.
    """

    def __init__(
        self, context: VenueContext | None, ranges: Ranges | None, archive: ArchiveReader | None
    ) -> None:
        self._context = context
        self._ranges = ranges
        self._archive = archive

    async def trade_ids(self, source: Source) -> tuple[int, int] | None:
        """The first and the last aggregate id held at all; None when nothing is."""
        found = []
        if self._ranges and (ids := await self._ranges.trade_ids(source.symbol)):
            found.append(ids)
        if self._archive and (ends := self._archive.ends(source)):
            found.append((ends[0].sequence, ends[1].sequence))
        return (min(first for first, _ in found), max(last for _, last in found)) if found else None

    async def rows(self, source: Source, from_ms: int, to_ms: int) -> AsyncIterator[list[Values]]:
        """The rows whose event time (ms) lies in a stretch: trades in order of their ids, others day by day."""
        if source.kind == "trades":
            filed = self._archive.rows(source, from_ms, to_ms) if self._archive else iter(())
            ordered = in_order(filed, _trade_key, REORDERED)
            async for batch in _merged(ordered, self._redis_trades(source, from_ms, to_ms), _trade_key):
                yield batch
            return
        redis_days = await self._redis_days(source, from_ms, to_ms)
        archive_days = set(self._archive.days(source)) if self._archive else set()
        for day in sorted(redis_days | archive_days):
            start, end = max(from_ms, day * DAY_MS), min(to_ms, (day + 1) * DAY_MS)
            if start >= end:
                continue
            filed = self._archive.rows(source, start, end) if self._archive else iter(())
            fresh = self._redis_rows(source, start, end) if day in redis_days else _nothing()
            async for batch in _merged(filed, fresh, stream_id_of):
                yield batch

    async def newest_bars(self, source: Source, from_ms: int, to_ms: int) -> AsyncIterator[list[Values]]:
        """The newest version of each window that starts in a stretch, each once, in order of the starts.

        Versions of a window stand anywhere after it, so each day is read twice. Memory: the windows of one day that
        were revised after a later one had closed.
        """
        start, revision = (POSITIONS["bars"][name] for name in ("start", "revision"))
        day = from_ms - from_ms % DAY_MS
        for day_ms in sorted(await self._bar_days(source, day, to_ms)):
            first, end = max(from_ms, day_ms), min(to_ms, day_ms + DAY_MS)
            revised: dict[int, Values] = {}
            async for rows in self.rows(source, first, end):
                for row in rows:
                    known = revised.get(row[start])
                    if (
                        row[revision]
                        and not _in_place(row, row[start])
                        and (known is None or known[revision] < row[revision])
                    ):
                        revised[row[start]] = row
            last: Values | None = None
            waiting = sorted(revised, reverse=True)
            async for rows in self.rows(source, first, end):
                newest: list[Values] = []
                for row in rows:
                    if row[revision]:
                        if last is not None and last[start] == row[start] and _in_place(row, row[start]):
                            last = row
                        continue
                    if last is not None:
                        newest.append(last)
                        last = None
                    while waiting and waiting[-1] <= row[start]:
                        newest.append(revised[waiting.pop()])
                    if row[start] not in revised:
                        last = row
                if newest:
                    yield newest
            rest = [] if last is None else [last]
            rest += [revised[window] for window in reversed(waiting)]
            if rest:
                yield rest

    async def _bar_days(self, source: Source, from_ms: int, to_ms: int) -> set[int]:
        """The first ms of each day of which something is held."""
        days = await self._redis_days(source, from_ms, to_ms)
        days |= set(self._archive.days(source)) if self._archive else set()
        return {day * DAY_MS for day in days if from_ms <= day * DAY_MS < to_ms}

    async def _redis_trades(self, source: Source, from_ms: int, to_ms: int) -> AsyncIterator[list[Values]]:
        if self._ranges is None:
            return
        reordering: Reordering[Values] = Reordering(_trade_key, REORDERED)
        async for trades in self._ranges.trades(source.symbol, from_ms, to_ms):
            rows = [trade_row(StreamId(0, 0), trade, None, "").values for trade in trades]
            yield list(reordering.put((None, *row[1:]) for row in rows))
        yield list(reordering.rest())

    async def _redis_rows(self, source: Source, from_ms: int, to_ms: int) -> AsyncIterator[list[Values]]:
        """Entries never have an id earlier than their event time."""
        if self._ranges is None or self._context is None:
            return
        async for entries in self._ranges.entries(source.key(self._context.keys), from_ms):
            rows = []
            for raw_id, fields in entries:
                stream_id = StreamId.parse(raw_id)
                row = row_of(source, self._context.venue, stream_id, fields).values
                if from_ms <= event_ms(source.kind, row) < to_ms:
                    rows.append(row)
            yield rows

    async def _redis_days(self, source: Source, from_ms: int, to_ms: int) -> set[int]:
        found: set[int] = set()
        async for rows in self._redis_rows(source, from_ms, to_ms):
            found |= {event_ms(source.kind, row) // DAY_MS for row in rows}
        return found


async def _nothing() -> AsyncIterator[list[Values]]:
    return
    yield []


async def _merged(
    filed: Iterator[Values], fresh: AsyncIterator[list[Values]], key: Callable[[Values], Any]
) -> AsyncIterator[list[Values]]:
    """Two lists in order of a key as one; of two rows with one key the filed one, which says more."""
    out: list[Values] = []
    waiting = next(filed, None)
    async for page in fresh:
        for row in page:
            this = key(row)
            while waiting is not None and key(waiting) < this:
                out.append(waiting)
                waiting = next(filed, None)
                if len(out) >= BATCH:
                    yield out
                    out = []
            if waiting is None or key(waiting) != this:
                out.append(row)
        if len(out) >= BATCH:
            yield out
            out = []
    while waiting is not None:
        out.append(waiting)
        waiting = next(filed, None)
        if len(out) >= BATCH:
            yield out
            out = []
    if out:
        yield out


def _in_place(row: Values, start_ms: int) -> bool:
    """Whether a bar stands among the entries of its own time, before any later window."""
    return str(row[0]).startswith(f"{start_ms}-")
