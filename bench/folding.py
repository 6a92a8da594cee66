"""Folding several entries of a book at once, against one by one: CPU of taking an entry in, history included.

    python bench/folding.py [--rows 1,2,3,5,10,50] [--entries 20000] [--passes 5]

The entries are those of bench/books_worker.py (ten levels each, among the best fifty a side, books of 1,200 levels a
side, 20 symbols), 3 ms apart in the log. The two ways take turns, row by row, each first in every other, so that what
else the machine does meets both alike. Told are the pass in which they cost least together, and all of their ratios.
"""

from __future__ import annotations

import argparse
import time

from books_worker import event, synced

from workers.bench.tape import Tape, names, tapes, update_id
from workers.books.book import OwnedBook
from workers.books.folding import take_all
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryRecorder
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.logs import configure_logging
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings, Settings
from workers.store.log.streams import Delivered
from workers.venues.binance.settings import BinanceSettings

SYMBOLS = 20
START_MS = 1_700_000_000_000
APART_MS = 3


def owned(context: VenueContext, tape: Tape) -> OwnedBook:
    """A book in sync, whose history is taken down."""
    sync = synced(tape, START_MS)
    book = OwnedBook(Claim(context, tape.symbol), 1, sync, BookSettings())
    book.recorder = HistoryRecorder(sync, BlockBuilder(tape.symbol))
    return book


def entry(tape: Tape, number: int) -> Delivered:
    ms = START_MS + APART_MS * number
    return Delivered(b"%d-%d" % (ms, update_id(number)), event(tape, number, ms), ms * 1000)


def take(book: OwnedBook, one: Delivered, now_ms: int) -> None:
    book.take(one, now_ms)


def stumbled(_: OwnedBook, error: Exception) -> None:
    raise error


def one_by_one(book: OwnedBook, entries: list[Delivered]) -> float:
    """Seconds of CPU."""
    began = time.process_time()
    for each in entries:
        book.take(each, START_MS)
    return time.process_time() - began


def at_once(book: OwnedBook, entries: list[Delivered]) -> float:
    """Seconds of CPU."""
    began = time.process_time()
    take_all(book, entries, START_MS, take, stumbled)
    return time.process_time() - began


def one_pass(row: int, entries: int) -> tuple[float, float]:
    """Us of CPU an entry: one by one, and at once."""
    [context] = venue_contexts(
        Settings(venues={"spot": BinanceSettings(market="spot", symbols=names(SYMBOLS))})
    )
    books = [(tape, owned(context, tape), owned(context, tape)) for tape in tapes(names(SYMBOLS))]
    alone = together = 0.0
    rows = max(1, entries // (row * SYMBOLS))
    for first in range(1, rows * row, row):
        for tape, one, several in books:
            left = [entry(tape, number) for number in range(first, first + row)]
            if first % (2 * row) == 1:
                alone += one_by_one(one, left)
                together += at_once(several, left)
            else:
                together += at_once(several, left)
                alone += one_by_one(one, left)
    assert all(one.sync.last_update_id == several.sync.last_update_id for _, one, several in books)
    taken = rows * row * SYMBOLS
    return alone / taken * 1e6, together / taken * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="1,2,3,5,10,50")
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--passes", type=int, default=5)
    arguments = parser.parse_args()
    configure_logging("error", "json")
    for row in map(int, arguments.rows.split(",")):
        passes = [one_pass(row, arguments.entries) for _ in range(arguments.passes)]
        alone, together = min(passes, key=sum)
        ratios = sorted(several / one for one, several in passes)
        print(
            f"{row:3d} in a row: one by one {alone:5.1f} us an entry, at once {together:5.1f}; "
            + ", ".join(f"{ratio:.2f}" for ratio in ratios)
            + " times"
        )


if __name__ == "__main__":
    main()
