"""When checkpoints of the owned books are stored, and what that acknowledges."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
from workers.errors import LeaseLost
from workers.model.books.sync import SyncState
from workers.runtime.backoff import Backoff
from workers.runtime.ownership import Ownership
from workers.runtime.pulse import Breath
from workers.runtime.steady_clock import steady_ms
from workers.store.books.publishing import BookStore
from workers.store.keys import DEPTH

PARTS: Final = 6
"""Of the books whose checkpoints are due one in so many is stored in a round: each holds up the next publications."""
COMMITTED = Counter("fleet_book_commits_total", "Checkpoints stored")


class Committed(Protocol):
    """What decides whose turn it is."""

    committed_at: float

    @property
    def commit_urgent(self) -> bool:
        """Whether its checkpoint waits for no other."""


Due = TypeVar("Due", bound=Committed)


def part_of(due: Sequence[Due]) -> list[Due]:
    """Of the books that are due those of one round: all urgent ones, else those that waited longest. O(n log n)."""
    ordered = sorted(due, key=lambda book: (not book.commit_urgent, book.committed_at))
    return ordered[: max(-(-len(due) // PARTS), sum(book.commit_urgent for book in due))]


class BookCommitting:
    """Stores the checkpoints of the books one worker owns.

    Args:
        stores: by venue.
        books: those owned, by raw stream key.
    """

    def __init__(
        self, stores: Mapping[str, BookStore], books: Mapping[str, OwnedBook], ownership: Ownership
    ) -> None:
        self._stores = stores
        self._books = books
        self._ownership = ownership
        self._refused = Backoff("commit")
        self._breath = Breath()

    async def step(self, books: Iterable[OwnedBook], now: float) -> None:
        """Store a part of the checkpoints that are due (monotonic seconds)."""
        due = [book for book in books if book.commit_due(now) and self._ownership.safe(book.claim)]
        for book in part_of(due):
            if self._books.get(book.key) is book and self._ownership.safe(book.claim):
                await self.commit(book)
                self._ownership.progress.made()
                await self._breath.taken()

    async def commit(self, book: OwnedBook) -> None:
        """Store the checkpoint of a book and acknowledge what is in it, unless the lease or the server is lost."""
        (checkpoint, ids), lost, unsaved = book.checkpoint(), book.lost, book.unsaved
        read = book.delivery.to_be_given
        folded = book.last_stream_id if book.sync.state is SyncState.SYNCED else b""
        store, place = self._stores[book.claim.context.name], (book.claim.context.name, book.claim.symbol)
        if not self._refused.due(*place):
            return
        try:
            done = await store.commit(book.claim.symbol, book.token, DEPTH, checkpoint, ids, read, folded)
        except LeaseLost:
            self._ownership.lost(book.claim, book.token)
            return
        except RedisError as error:
            self._refused.refused(error, *place)
            return
        self._refused.accepted(*place)
        COMMITTED.inc()
        book.reread = book.reread or done.elsewhere
        if read is not None:
            book.delivery.given(read.last)
        book.committed(ids, time.monotonic(), told_loss=lost, told_snapshot=unsaved)
        if done.besides:
            book.torn("read elsewhere", steady_ms())
