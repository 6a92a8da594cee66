"""Trades and bars beyond what Redis keeps: the oldest of a stretch, page by page, as the archive has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from workers.archive.files.layout import DAY_MS, FileRange, Source, day_of
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import COLUMNS, POSITIONS, Values, trade_of
from workers.archive.files.storage import Storage
from workers.model.events import Trade
from workers.model.trades.windows import INTERVALS_MS

LATE_MS: Final = 3_600_000
"""How long after a short window later versions of it are looked for; of a minute and longer the whole day is."""
BEHIND_MS: Final = 600_000
"""By how much the id of an imported trade may be before its time: it is that of another recorder's clock."""
_TRADE, _BAR = POSITIONS["trades"], POSITIONS["bars"]


class FiledTrades:
    """The archived trades and bars of one venue; files are read in threads.

    Every call may raise OSError or ArchiveUnreadable. Memory: a page, and a batch of a file.
    """

    def __init__(self, storage: Storage, venue: str) -> None:
        self._reader = ArchiveReader(storage)
        self._venue = venue

    async def trades(
        self, symbol: str, from_ms: int, to_ms: int, limit: int, after_id: int | None = None
    ) -> list[Trade]:
        """At most `limit` market trades with `from_ms <= trade_time < to_ms`, in the order of the log.

        Args:
            after_id: go on after the trade of this id; where ids began anew lower within the stretch, it must be there.
        """
        return await asyncio.to_thread(self._trades, symbol, from_ms, to_ms, limit, after_id)

    def _trades(self, symbol: str, from_ms: int, to_ms: int, limit: int, after_id: int | None) -> list[Trade]:
        source = Source(self._venue, symbol, "trades")
        days = [day for day in self._reader.days(source) if day_of(from_ms) <= day <= day_of(to_ms - 1)]
        files = [(day, held) for day in days for held in self._reader.files(source, day)]
        ends = [held.last.sequence for _, held in files]
        rising = ends == sorted(ends)
        if rising and after_id is not None:
            files = [(day, held) for day, held in files if held.last.sequence > after_id]
        found: list[Trade] = []
        met = after_id is None or rising
        for row in self._rows(source, files, from_ms):
            trade_id = row[_TRADE["agg_trade_id"]]
            if trade_id is None:
                continue
            if not met:
                met = trade_id == after_id
                continue
            if rising and after_id is not None and trade_id <= after_id:
                continue
            if row[_TRADE["is_market"]] and from_ms <= row[_TRADE["trade_time"]] < to_ms:
                found.append(trade_of(symbol, row))
                if len(found) == limit:
                    break
        return found

    def _rows(self, source: Source, files: list[tuple[int, FileRange]], from_ms: int) -> Iterator[Values]:
        """The rows of files that may hold something from a time on."""
        last = ""
        for day, held in files:
            if held.last.ms < from_ms - BEHIND_MS:
                continue
            for row in self._reader.rows_of_file(source, day, held):
                if row[0] != last:
                    last = row[0]
                    yield row

    async def bars(
        self, symbol: str, interval: str, from_ms: int, to_ms: int, limit: int
    ) -> list[dict[str, str]]:
        """At most `limit` windows with `from_ms <= start < to_ms`, oldest first, the newest version of each.

        Fields are named and written as in `bars:{S}:<interval>`.
        """
        return await asyncio.to_thread(self._bars, symbol, interval, from_ms, to_ms, limit)

    def _bars(self, symbol: str, interval: str, from_ms: int, to_ms: int, limit: int) -> list[dict[str, str]]:
        source = Source(self._venue, symbol, "bars", interval)
        late_ms = LATE_MS if INTERVALS_MS[interval] < LATE_MS // 60 else DAY_MS
        found: dict[int, Values] = {}
        for day in self._reader.days(source):
            if not day_of(from_ms) <= day <= day_of(to_ms - 1):
                continue
            if len(found) >= limit:
                break
            for held in self._reader.files(source, day):
                if held.last.ms < from_ms:
                    continue
                wanted = sorted(found)[:limit]
                last = wanted[-1] if len(wanted) == limit else to_ms - 1
                if held.first.ms > last + late_ms:
                    break
                for row in self._reader.rows_of_file(source, day, held):
                    start, known = row[_BAR["start"]], found.get(row[_BAR["start"]])
                    if from_ms <= start < to_ms and (
                        known is None or known[_BAR["revision"]] < row[_BAR["revision"]]
                    ):
                        found[start] = row
        return [_fields(found[start]) for start in sorted(found)[:limit]]


def _fields(row: Values) -> dict[str, str]:
    fields = {}
    for column, value in zip(COLUMNS["bars"][1:], row[1:], strict=True):
        if value is not None:
            fields[column.name] = str(int(value)) if column.type == "flag" else str(value)
    return fields
