"""A file of a Tardis dataset into the archive.

| dataset | becomes |
|---|---|
| `trades` | trades |
| `incremental_book_L2` | depth: a row a message, `data` as tardis-machine would tell it; a row without data is a hole |
| the others | raw, the dataset is the channel and `data` the line of the file |

The `line` of each is `tardis`. Stream ids are made of the local time and of the place in the file, those of trades of
the id where the exchange numbers them one by one; so the same file always gives the same ids.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Final

from workers.archive.files.layout import DAY_MS, Source
from workers.archive.files.rows import Values
from workers.archive.files.storage import Storage
from workers.errors import BadNumber
from workers.model.books.level_numbers import Numbers, parse_changes
from workers.model.books.order_book import OrderBook
from workers.recordings.tardis.books import BookMessage, BookMessages
from workers.recordings.tardis.file import Batch, TardisFile
from workers.recordings.tardis.normalised import ORIGIN, encode_change, iso_us
from workers.recordings.tardis.rows import Row, line_of
from workers.research.filing import Filing, bound
from workers.research.outcome import Imported
from workers.venues.tardis.settings import CONSECUTIVE

MOST_LEVELS: Final = 100_000
MOST_RECENT: Final = 100_000
"""Trades after which the name of one is forgotten: a recorder that came back tells the last ones again."""
READ_AT_ONCE: Final = 200
"""Messages of a book whose numbers are read together."""
DAY_US: Final = 1_000 * DAY_MS
_PER_US: Final = 1_000
"""Trades of one µs that can be numbered by their time."""


class Recent:
    """Knows again what it was given not long ago: the last `MOST_RECENT` of it, and up to as many before them.

    Cost: O(1) a value; 100 bytes each.
    """

    def __init__(self) -> None:
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def __contains__(self, value: int) -> bool:
        return value in self._newer or value in self._older

    def add(self, value: int) -> None:
        """Remember it."""
        if len(self._newer) >= MOST_RECENT:
            self._older, self._newer = self._newer, set()
        self._newer.add(value)


class TradeRows:
    """Rows of the archive of the trades of a symbol."""

    def __init__(self, exchange: str) -> None:
        self._by_id = exchange in CONSECUTIVE
        self._last = 0
        self._last_ms = 0
        self._recent = Recent()

    def rows(self, lines: Sequence[int], rows: list[Row], outcome: Imported) -> Iterator[Values]:
        """The next rows of the file; the same id again is the same trade, where ids only name one: with all it says."""
        for line, (_, _, timestamp, local, name, taker, price, amount) in zip(lines, rows, strict=True):
            if self._by_id:
                if name is None or not name.isdigit() or len(name) > 18:
                    outcome.problem(f"{outcome.file}, line {line}: its id {name!r} is no number.")
                    continue
                number = int(name)
                if number <= self._last:
                    if number == self._last:
                        outcome.repeated += 1
                    else:
                        outcome.problem(
                            f"{outcome.file}, line {line}: its id {name} is below that before it."
                        )
                    continue
            else:
                if name is not None:
                    told = hash((name, timestamp, taker, price, amount))
                    if told in self._recent:
                        outcome.repeated += 1
                        continue
                    self._recent.add(told)
                if local // 1000 < self._last_ms:
                    outcome.back_in_time(line)
                number = max(local * _PER_US, self._last + 1)
            self._last = number
            self._last_ms = max(self._last_ms, local // 1000)
            time = timestamp // 1000
            maker = None if taker == "unknown" else taker == "sell"
            identity = None if self._by_id else name
            yield (
                f"{self._last_ms}-{number}", number, price, amount, number, number, time, time,
                maker, True, local, ORIGIN, None, identity,
            )  # fmt: skip

    def hole(self, local: int) -> Iterator[Values]:
        """The row that says that trades are missing after a local time (µs); none where their ids show it."""
        if self._by_id:
            return
        time = local // 1000
        self._last = number = max(local * _PER_US + _PER_US - 1, self._last + 1)
        self._last_ms = max(self._last_ms, time)
        nothing = (None,) * 5
        yield (f"{self._last_ms}-{number}", *nothing, time, time, None, None, local, ORIGIN, None, None)


class BookRows:
    """Rows of the archive of the book of a symbol, which is followed on the way."""

    def __init__(self, exchange: str, symbol: str) -> None:
        self._names = exchange, symbol
        self._of_rows = BookMessages()
        self._book = OrderBook(MOST_LEVELS)

    def rows(self, lines: Sequence[int], rows: list[Row], outcome: Imported) -> Iterator[Values]:
        """The messages that are whole after the next rows of the file."""
        return self.messages(self._of_rows.take(lines, rows), outcome)

    def finish(self, outcome: Imported) -> Iterator[Values]:
        """The last message."""
        yield from self.messages(self._of_rows.finish(), outcome)
        outcome.ignored += self._of_rows.ignored
        for line in self._of_rows.out_of_order:
            outcome.problem(
                f"{outcome.file}, line {line}: its local_timestamp is before that of the row above."
            )

    def messages(self, messages: Iterator[BookMessage], outcome: Imported) -> Iterator[Values]:
        """The rows of messages, the numbers of whose lines rise."""
        for message, numbers in _with_numbers(messages):
            self._check(message, numbers, outcome)
            local, line = message.local_timestamp, 2 * message.line
            # the book that a day begins with may be older than the day, and what follows it stands behind it
            time = max(message.timestamp, local - local % DAY_US) // 1000
            if message.hole_from:
                outcome.holes += 1
                outcome.note(
                    f"{outcome.file}, line {message.line}: messages are missing from {iso_us(message.hole_from)} "
                    f"to {iso_us(local)}."
                )
                hole = (f"{local // 1000}-{line - 1}", line - 1, line - 1)
                yield (*hole, None, time, None, local, ORIGIN, b"", "break")
            data = encode_change(*self._names, message)
            named = (f"{local // 1000}-{line}", line, line)
            kind = "snapshot" if message.is_snapshot else "update"
            yield (*named, None, time, None, local, ORIGIN, data, kind)

    def _check(self, message: BookMessage, numbers: Numbers | None, outcome: Imported) -> None:
        book = self._book
        if message.is_snapshot:
            book.clear()
        try:
            book.apply(message.bids, message.asks, numbers)
        except BadNumber as error:
            outcome.problem(f"{outcome.file}, from line {message.line} on: {error}")
            return
        if book.crossed:
            if not outcome.crossed:
                outcome.note(f"{outcome.file}, line {message.line}: the book is crossed.")
            outcome.crossed += 1


def _with_numbers(messages: Iterator[BookMessage]) -> Iterator[tuple[BookMessage, Numbers | None]]:
    """Messages with the numbers of their levels; None where one of those read with them is unusable.

    The numbers of some hundred messages are read at once: by themselves those of each cost twice as much.
    """
    while some := list(islice(messages, READ_AT_ONCE)):
        bids = list(chain.from_iterable([message.bids for message in some]))
        asks = list(chain.from_iterable([message.asks for message in some]))
        try:
            keys, amounts = parse_changes(bids, asks)
        except BadNumber:
            yield from zip(some, repeat(None))
            continue
        bid, ask = 0, len(bids)
        for message in some:
            bid_end, ask_end = bid + len(message.bids), ask + len(message.asks)
            yield (
                message,
                (keys[bid:bid_end] + keys[ask:ask_end], amounts[bid:bid_end] + amounts[ask:ask_end]),
            )
            bid, ask = bid_end, ask_end


class LineRows:
    """Rows of the kind `raw`: the line as it stands in the file."""

    def rows(self, lines: Sequence[int], rows: list[Row], _: Imported) -> Iterator[Values]:
        """The next rows of the file."""
        for line, row in zip(lines, rows, strict=True):
            timestamp, local = row[2], row[3]
            yield (f"{local // 1000}-{line}", timestamp // 1000, local, ORIGIN, line_of(row).encode())


class TardisImport:
    """Imports one file.

    Args:
        venue: the name of the folder; empty: what the file calls the exchange.
        shown: called now and then with the rows read so far.
    """

    def __init__(
        self, file: TardisFile, storage: Storage, level: int, venue: str, shown: Callable[[int], None]
    ) -> None:
        self._file = file
        self._storage = storage
        self._level = level
        self._venue = venue
        self._shown = shown
        self.outcome = Imported(str(file.path), file.dataset, venue)
        self._filings: dict[tuple[str, str], Filing] = {}
        self._makers: dict[tuple[str, str], TradeRows | BookRows | LineRows] = {}

    def run(self) -> Imported:
        """Read and file everything."""
        collecting = gc.isenabled()
        gc.disable()  # rows are millions of tuples in no cycles: looking for those costs a tenth of it all
        try:
            return self._run()
        finally:
            if collecting:
                gc.enable()

    def _run(self) -> Imported:
        outcome, is_cut = self.outcome, False
        for batch in self._file.batches():
            is_cut = not batch.rows
            for damage in batch.damages:
                outcome.problem(str(damage))
            outcome.rows += len(batch.rows)
            for names, (lines, rows) in _by_symbol(batch).items():
                self._filing(names).add(self._makers[names].rows(lines, rows, outcome))
            bound(self._filings.values())
            self._shown(outcome.rows)
        for names, maker in self._makers.items():
            if (
                isinstance(maker, BookRows) and not is_cut
            ):  # of a file that is, the last message may be a part
                self._filings[names].add(maker.finish(outcome))
            self._filings[names].finish()
        outcome.count(self._filings.values())
        return outcome

    def _filing(self, names: tuple[str, str]) -> Filing:
        filing = self._filings.get(names)
        if filing is None:
            exchange, symbol = names
            dataset, venue = self._file.dataset, self._venue or exchange
            self.outcome.venue = venue
            self.outcome.symbols.append(symbol)
            maker: TradeRows | BookRows | LineRows
            if dataset == "trades":
                source, maker = Source(venue, symbol, "trades"), TradeRows(exchange)
            elif dataset == "incremental_book_L2":
                source, maker = Source(venue, symbol, "depth"), BookRows(exchange, symbol)
            else:
                source, maker = Source(venue, symbol, "raw", channel=dataset), LineRows()
            self._makers[names] = maker
            filing = self._filings[names] = Filing(self._storage, source, self._level)
        return filing


def _by_symbol(batch: Batch) -> dict[tuple[str, str], tuple[Sequence[int], list[Row]]]:
    """The rows of each symbol with their lines, in order."""
    if len({row[1] for row in batch.rows}) == 1 and len({row[0] for row in batch.rows}) == 1:
        return {batch.rows[0][:2]: (batch.lines, batch.rows)}
    found: dict[tuple[str, str], tuple[list[int], list[Row]]] = {}
    for line, row in zip(batch.lines, batch.rows, strict=True):
        lines, rows = found.setdefault(row[:2], ([], []))
        lines.append(line)
        rows.append(row)
    return dict(found)
