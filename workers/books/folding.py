"""Taking in several entries of one book's stream at once, as far as nobody can tell it from one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from workers.books.book import OwnedBook
from workers.books.delivery import date_by_entry
from workers.errors import BadNumber, MalformedFrame
from workers.model.books.several import fold_several
from workers.model.events import DepthEvent
from workers.store.log.streams import Delivered
from workers.venues.entries import depth_of

FEWEST: Final = 3
"""Entries in a row that are folded at once: two cost as much one by one."""


def take_all(
    book: OwnedBook,
    entries: Sequence[Delivered],
    now_ms: int,
    take: Callable[[OwnedBook, Delivered, int], object],
    stumbled: Callable[[OwnedBook, Exception], None],
) -> None:
    """Take in entries of a book in turn, several at once as far as possible.

    Args:
        take: takes the others in, one by one; raises nothing.
        stumbled: called when our own code fails.
    """
    left = entries
    while left:
        try:
            together, alone = take_several(book, left, now_ms)
        except Exception as error:
            stumbled(book, error)
            together, alone = 0, len(left)
        for entry in left[together : together + alone]:
            take(book, entry, now_ms)
        left = left[together + alone :]


def take_several(book: OwnedBook, entries: Sequence[Delivered], now_ms: int) -> tuple[int, int]:
    """Fold the first of some entries together, up to the end of a second of the history.

    Returns how many were taken in, and how many after them `OwnedBook.take` is to take before this may be tried again:
    what ends a row may be anything, and no entry is decoded more than twice. O(1) an entry, but for its levels.
    """
    if len(entries) < FEWEST or not book.changes_unseen:
        return 0, 1
    events = _changes(book, entries)
    taken = fold_several(book.sync, events, now_ms)
    if taken:
        book.took(entries[:taken], events[:taken])
    return taken, max(1, len(events) - taken)


def _changes(book: OwnedBook, entries: Sequence[Delivered]) -> list[DepthEvent]:
    """The first entries, as far as they can be decoded, are changes, and end no second."""
    venue, symbol = book.claim.context.venue, book.claim.symbol
    ends_ms = math.inf if book.recorder is None else book.recorder.due_ms
    events: list[DepthEvent] = []
    for entry in entries:
        filed_ms = int(entry.stream_id.partition(b"-")[0])
        if not entry.data or entry.kind != "update" or filed_ms > ends_ms:
            break
        try:
            event = depth_of(venue, symbol, entry)
        except (MalformedFrame, BadNumber):
            break
        date_by_entry(event, entry)
        events.append(event)
    return events
