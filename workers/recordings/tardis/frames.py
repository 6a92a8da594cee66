"""A file of a Tardis dataset as what a tardis-machine would have sent: frames for the fleet's own ingest.

The rules of books are those of `books`. A whole book in the middle is preceded by the `disconnect` that no file has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from workers.errors import RecordingError
from workers.recordings.records import Damage, Received, Record
from workers.recordings.tardis.books import BookMessage, BookMessages
from workers.recordings.tardis.file import Batch, TardisFile
from workers.recordings.tardis.normalised import encode_change, encode_disconnect, encode_trade
from workers.recordings.tardis.rows import Dataset, Row

REPLAYED: tuple[Dataset, ...] = ("incremental_book_L2", "trades")
"""The datasets that a fold can be made of."""


def records_of(file: TardisFile) -> Iterator[Record]:
    """The messages of a file in its order, and what of it cannot be used. O(1) a row.

    Raises:
        RecordingError: it is of another dataset.
    """
    if file.dataset not in REPLAYED:
        problem = f"a file of {file.dataset} cannot be folded; those of {' and '.join(REPLAYED)} can"
        raise RecordingError(str(file.path), 1, problem)
    books: dict[tuple[str, str], BookMessages] = {}
    time_us = 0
    for batch in file.batches():
        for damage in batch.damages:
            yield Damage(time_us, damage.line, damage)
        for record in _trades(batch) if file.dataset == "trades" else _changes(batch, books):
            time_us = record.time_us
            yield record
    for names, messages in books.items():
        yield from _frames(names, messages.finish())
        for line in messages.out_of_order:
            problem = "its local_timestamp is before that of the row above"
            yield Damage(time_us, line, RecordingError(str(file.path), line, problem))


def _trades(batch: Batch) -> Iterator[Received]:
    for line, row in zip(batch.lines, batch.rows, strict=True):
        yield Received(row[3], line, encode_trade(row))


def _changes(batch: Batch, books: dict[tuple[str, str], BookMessages]) -> Iterator[Received]:
    for names, numbered in groupby(zip(batch.lines, batch.rows, strict=True), lambda pair: pair[1][:2]):
        messages = books.setdefault(names, BookMessages())
        lines, rows = _apart(numbered)
        yield from _frames(names, messages.take(lines, rows))


def _apart(numbered: Iterable[tuple[int, Row]]) -> tuple[list[int], list[Row]]:
    lines, rows = zip(*numbered, strict=True)
    return list(lines), list(rows)


def _frames(names: tuple[str, str], messages: Iterator[BookMessage]) -> Iterator[Received]:
    for message in messages:
        if message.hole_from:
            frame = encode_disconnect(*names, message.hole_from)
            yield Received(message.local_timestamp, message.line, frame)
        yield Received(message.local_timestamp, message.line, encode_change(*names, message))
