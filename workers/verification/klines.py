"""Comparing a klines file of the exchange with the bars held."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from workers.archive.files.kept import HeldRows
from workers.archive.files.kline_comparison import COMPARED, Kline, compare_klines
from workers.archive.files.layout import Source
from workers.archive.files.rows import POSITIONS, Values
from workers.errors import CommandError, WrongArgument
from workers.model.trades.windows import INTERVALS_MS
from workers.recordings.official import OfficialFile
from workers.runtime.context import VenueContext

_NAMES: Final = (
    "open_price",
    "high_price",
    "low_price",
    "close_price",
    "volume",
    "quote_volume",
    "buy_volume",
)


async def verify_klines(official: OfficialFile, context: VenueContext, held: HeldRows) -> dict[str, Any]:
    """Compare windows; the counts and examples for a report.

    Raises:
        WrongArgument: the fleet makes no bars of that length.
        CommandError: nothing is held.
        RecordingError: the file cannot be read at some line.
    """
    length = official.window_ms()
    interval = next((name for name, ms in INTERVALS_MS.items() if ms == length), "")
    if not interval:
        raise WrongArgument(f"The fleet makes no bars of {length:,} ms", list(INTERVALS_MS))
    klines = [Kline(start, *numbers) for start, numbers in official.klines()]
    start, end = min(kline.start for kline in klines), max(kline.start for kline in klines)
    source = Source(context.name, official.symbol, "bars", interval)
    ours = {}
    async for rows in held.newest_bars(source, start, end + 1):
        ours.update({kline.start: kline for kline in map(_kline, rows)})
    if not ours:
        raise CommandError(
            f"Nothing is held of the {interval} bars of {context.name} {official.symbol} there."
        )
    result = compare_klines(klines, ours)
    return {"from": start, "to": end + length, "same": result.differences == 0, **asdict(result)}


def _kline(row: Values) -> Kline:
    at = POSITIONS["bars"]
    numbers = dict(zip(COMPARED, (row[at[name]] for name in _NAMES), strict=True))
    return Kline(start=row[at["start"]], complete=bool(row[at["complete"]]), **numbers)
