"""Running the export of files of Tardis and of hftbacktest, and of books and contracts as tables."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple

from workers.archive.files import parquet
from workers.errors import CommandError
from workers.operations.running import running_fleet
from workers.recordings.tardis.rows import DATASETS, Dataset, Row, parse_row
from workers.recordings.tardis.writing import RowLines
from workers.research.contract_rows import DATASETS as CONTRACT_DATASETS
from workers.research.contract_rows import contract_rows
from workers.research.hftbacktest import EventArray
from workers.research.nautilus import INSTRUMENT, KINDS, CatalogFile, Contract, contract_of, write_instrument
from workers.research.symbol_data import SymbolData, open_symbol
from workers.research.tables import FORMS as TABLE_FORMS
from workers.research.tables import TableForm, columns_of, table_writer
from workers.research.tardis_rows import Names, TopCells, TradeCells
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import note, out, seconds_of
from workers.terminal.row_writers import STDOUT, compressed, whole_file
from workers.terminal.saying import SoFar
from workers.verification.stored_sources import SourceName, symbol_meant

Form = Literal["tardis-csv", "hftbacktest", "nautilus", "csv", "parquet", "arrow"]
_BY_KIND: Final[dict[str, Dataset]] = {
    "trades": "trades",
    "depth": "incremental_book_L2",
    "quotes": "quotes",
    **CONTRACT_DATASETS,
}
TABLES: Final = ("book", "quotes", *CONTRACT_DATASETS)
"""The kinds that are also told as tables; of the others the archive makes these."""
DEEPEST: Final = 1_000


class Request(NamedTuple):
    """The command line."""

    form: Form | None
    """None: what the file's name ends in, else CSV."""
    kind: str
    symbol: str
    venue: str
    from_ms: int
    to_ms: int
    output: str
    source: SourceName
    channel: str = ""
    depth: int = 25
    every: str = ""
    instrument: str = ""
    """What NautilusTrader calls it; empty: the symbol and the venue."""

    @property
    def table_form(self) -> TableForm:
        """Of tables: the format asked for, or what the file's name ends in."""
        suffix = Path(self.output).suffix.removeprefix(".")
        return next((form for form in TABLE_FORMS if form == (self.form or suffix)), "csv")

    @property
    def is_table(self) -> bool:
        """Whether it is told as a table, and not in a format of others."""
        return self.form not in ("tardis-csv", "hftbacktest", "nautilus")

    @property
    def every_ms(self) -> int:
        """The cadence of books and quotes; 0: at every change. Raises: CommandError."""
        number = self.every[:-2]
        if self.every.endswith("ms") and number.isascii() and number.isdigit() and int(number):
            return int(number)
        return int(seconds_of(self.every) * 1000) if self.every else 0

    @property
    def dataset(self) -> Dataset:
        """What is written. Raises: CommandError."""
        name = {"book": f"book_snapshot_{self.depth}", "raw": self.channel}.get(self.kind)
        found = _BY_KIND.get(self.kind) or next((one for one in DATASETS if one == name), None)
        if found is None:
            what = name or self.kind
            raise CommandError(f"Tardis has no dataset of {what}: there are {', '.join(DATASETS)}.")
        return found


def run_export(request: Request, config: Path | None) -> int:
    """Export; the exit code."""
    if request.form == "hftbacktest" and (request.kind != "depth" or request.output == STDOUT):
        raise CommandError(
            "An event array is of --kind depth (trades are in it), into a file: name one with -o."
        )
    if request.form == "nautilus":
        if request.kind not in KINDS or request.output == STDOUT:
            raise CommandError(f"A catalog has --kind {', '.join(KINDS)}, and is a folder: name it with -o.")
        if request.instrument and not INSTRUMENT.fullmatch(request.instrument):
            raise CommandError(
                f"--instrument {request.instrument!r} is no symbol, point and venue: BTCUSDT.BINANCE."
            )
        parquet.require()
    if request.every_ms and request.kind not in ("book", "quotes"):
        raise CommandError("--every is of --kind book and quotes.")
    effective, _ = running_fleet(config)
    venue, symbol = symbol_meant(effective, request.symbol, request.venue)
    request = request._replace(venue=venue, symbol=symbol)
    started = time.monotonic()

    if not 0 < request.depth <= DEEPEST:
        raise CommandError(f"--depth is from 1 to {DEEPEST:,}.")
    if request.is_table and request.table_form != "csv":
        parquet.require()

    async def export() -> int:
        async with open_symbol(effective, request.venue, request.symbol, request.source) as data:
            write = {"hftbacktest": _events, "nautilus": _catalog, "tardis-csv": _lines}
            return await write.get(request.form or "", _table)(data, request)

    try:
        count = asyncio.run(export())
    except BrokenPipeError:
        out.forget()  # whoever read has enough
        return EXIT_FINE
    passed = max(time.monotonic() - started, 1e-3)
    note(f"{count:,} rows of {request.symbol} in {passed:.1f} s ({count / passed:,.0f} a second).")
    return EXIT_FINE


async def _lines(data: SymbolData, request: Request) -> int:
    """Write a dataset; how many rows."""
    count, shown = 0, SoFar()
    with _output(request.output) as file:
        writer = RowLines(file, request.dataset)
        async for rows in _rows(data, request):
            writer.rows(rows)
            count += len(rows)
            shown(count)
        _refuse_nothing(data, request, count)
    return count


async def _table(data: SymbolData, request: Request) -> int:
    """Write a table; how many rows."""
    count, shown = 0, SoFar()
    with _output(request.output, packed=request.table_form == "csv") as file:
        writer = table_writer(file, columns_of(request.kind, request.depth), request.table_form)
        with closing(writer):
            async for rows in _rows(data, request):
                writer.rows(rows)
                count += len(rows)
                shown(count)
        _refuse_nothing(data, request, count)
    return count


async def _rows(data: SymbolData, request: Request) -> AsyncIterator[list[Row]]:
    names = Names(data.venue, request.symbol)
    stretch = request.from_ms, request.to_ms
    if request.kind == "trades":
        cells = TradeCells(names)
        async for rows in data.trades(*stretch):
            yield list(cells.rows(rows))
    elif request.kind in CONTRACT_DATASETS:
        async for row in contract_rows(data, request.kind, *stretch):
            yield [row]
    elif request.kind == "raw":
        for line in data.lines(request.dataset, *stretch):
            yield [parse_row(request.dataset, line)]
    elif request.kind == "depth":
        async for message in data.messages(*stretch):
            yield names.changes(message)
    else:
        quotes = request.kind == "quotes"
        top = TopCells(names, 1 if quotes else request.depth, request.every_ms, quotes=quotes)
        async for message in data.messages(*stretch):
            yield list(top.rows(message))
        yield list(top.finish())


async def _catalog(data: SymbolData, request: Request) -> int:
    """Write a file into a catalog of NautilusTrader; how many rows."""
    instrument = request.instrument or f"{request.symbol}.{data.venue.upper()}"
    shown, listing = SoFar(), await data.listing()
    contract = contract_of(data.market, listing) if listing is not None else None
    path = Path(request.output)
    try:
        file = CatalogFile(path, request.kind, instrument, contract)  # type: ignore[arg-type]  # one of KINDS
        try:
            if request.kind == "depth":
                async for message in data.messages(request.from_ms, request.to_ms):
                    file.book(message)
                    shown(file.count)
            else:
                take = file.trades if request.kind == "trades" else file.quotes
                async for rows in _rows(data, request):
                    take(rows)
                    shown(file.count)
            _refuse_nothing(data, request, file.count)
            file.close()
        except BaseException:
            file.discard()
            raise
        _instrument(path, instrument, contract, file.precision)
    except OSError as error:
        raise CommandError(f"{request.output} cannot be written: {error}.") from error
    return file.count


def _instrument(path: Path, name: str, contract: Contract | None, precision: tuple[int, int]) -> None:
    """Write the instrument too, or say why there is none."""
    if contract is None:
        kinds = "no spot pair or linear perpetual of that symbol is known to be listed"
        note(f"The instrument {name} is not written: {kinds}.")
        return
    write_instrument(path, name, contract)
    if precision != contract.precision:
        note(
            f"A backtest refuses decimals {precision} of prices and sizes: those of {name} are {contract.precision}."
        )


async def _events(data: SymbolData, request: Request) -> int:
    """Write an event array; how many events."""
    events, shown = EventArray(), SoFar()
    cells = TradeCells(Names(data.venue, request.symbol))
    trades = _each(data, cells, request)
    trade = await anext(trades, None)
    async for message in data.messages(request.from_ms, request.to_ms):
        while trade is not None and trade[3] <= message.local_timestamp:
            events.trades([trade])
            trade = await anext(trades, None)
        events.book(message)
        shown(events.count)
    while trade is not None:
        events.trades([trade])
        trade = await anext(trades, None)
        shown(events.count)
    _refuse_nothing(data, request, events.count)
    with whole_file(request.output) as file:
        events.write(file)
    return events.count


async def _each(data: SymbolData, cells: TradeCells, request: Request) -> AsyncIterator[Row]:
    async for rows in data.trades(request.from_ms, request.to_ms):
        for row in cells.rows(rows):
            yield row


def _refuse_nothing(data: SymbolData, request: Request, count: int) -> None:
    if not count:
        whole = (
            ""
            if request.kind in ("trades", "raw", *CONTRACT_DATASETS)
            else ", or no whole book to begin with"
        )
        raise CommandError(f"Nothing is held of {request.kind} of {data.venue} {request.symbol}{whole}.")


@contextmanager
def _output(output: str, *, packed: bool = True) -> Iterator[BinaryIO]:
    """What is written to; `packed`: the end of the name tells the compression."""
    if output == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(output) as file, compressed(file, output if packed else "") as stream:
        yield stream
