"""A file of data.binance.vision into the archive: trades in order of their ids, klines as bars.

Such files have rows in any order, repeat them, and hold some of the neighbouring day: each id becomes one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

from workers.archive.files.comparison import differing
from workers.archive.files.layout import Source, StreamId
from workers.archive.files.rows import Values, trade_row
from workers.archive.files.storage import Storage
from workers.errors import RecordingError
from workers.model.events import Trade
from workers.model.trades.windows import INTERVALS_MS
from workers.recordings.official import OfficialFile
from workers.recordings.sorting import TradeSorter
from workers.research.filing import Filing
from workers.research.outcome import Imported

ORIGIN: Final = "official"
"""The `line` of what was imported."""
PAGE: Final = 10_000


def import_official(
    file: OfficialFile, venue: str, storage: Storage, level: int, shown: Callable[[int], None]
) -> Imported:
    """Read and file everything.

    Raises:
        RecordingError: a row is none; nothing of the file was filed.
    """
    kind = file.kind()
    outcome = Imported(str(file.path), kind, venue, [file.symbol])
    if kind == "klines":
        rows, source = _bars(file, outcome), Source(venue, file.symbol, "bars", _interval(file))
    else:
        rows, source = _trades(file, outcome, shown), Source(venue, file.symbol, "trades")
    filing = Filing(storage, source, level)
    filing.add(rows)
    filing.finish()
    outcome.count([filing])
    return outcome


def _interval(file: OfficialFile) -> str:
    window = file.window_ms()
    for name, milliseconds in INTERVALS_MS.items():
        if milliseconds == window:
            return name
    problem = f"its windows are of {window} ms, and bars are of {', '.join(INTERVALS_MS)}"
    raise RecordingError(str(file.path), 1, problem)


def _trades(file: OfficialFile, outcome: Imported, shown: Callable[[int], None]) -> Iterator[Values]:
    sorter, page = TradeSorter(), list[Trade]()
    for trade in file.trades():
        page.append(trade)
        outcome.rows += 1
        if len(page) >= PAGE:
            sorter.put(page)
            page = []
            shown(outcome.rows)
    sorter.put(page)
    outcome.unordered += file.oddities.unordered
    outcome.other_day += file.oddities.other_day
    for text in file.oddities.named:
        outcome.note(f"{file.path}, {text}")
    last: Trade | None = None
    ms = 0
    for trade in sorter.in_order():
        if last is not None and last.trade_id == trade.trade_id:
            outcome.repeated += 1
            if fields := differing(last, trade):
                names = ", ".join(fields)
                outcome.problem(f"{file.path}: two rows of the id {trade.trade_id} differ in {names}.")
            continue
        last = trade
        trade.is_market = bool(Decimal(trade.price) and Decimal(trade.quantity))
        ms = max(ms, trade.trade_time)
        yield trade_row(StreamId(ms, trade.trade_id), trade, None, ORIGIN).values


def _bars(file: OfficialFile, outcome: Imported) -> Iterator[Values]:
    """Windows in which nothing was traded have no bar."""
    found: dict[int, tuple[str, ...]] = {}
    for start, numbers in file.klines():
        outcome.rows += 1
        if start in found:
            outcome.repeated += 1
            if found[start] != numbers:
                outcome.problem(f"{file.path}: two rows of the window {start} differ.")
        found.setdefault(start, numbers)
    for start in sorted(found):
        opened, high, low, closed, volume, quote, bought = found[start]
        if not Decimal(volume):
            outcome.ignored += 1
            continue
        told = (opened, high, low, closed, volume, quote, bought)
        yield (f"{start}-0", start, 0, True, None, None, *told, *(None,) * 7)
