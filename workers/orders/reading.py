"""Reading the streams of orders of the symbols a worker owns: what was left pending, and what is new."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from redis.exceptions import ResponseError

from workers.orders.book import OwnedOrders
from workers.runtime.owned_streams import READ, OwnedStreams
from workers.runtime.ownership import Ownership
from workers.runtime.pulse import Breath
from workers.runtime.quarantine import Quarantine
from workers.runtime.stream_places import StreamPlaces
from workers.store.log.streams import Delivered, GroupReader

PENDING_AT_ONCE: Final = 500


class OrderReading:
    """Reads into the books of orders of one worker.

    Args:
        books: those owned, by raw stream key.
        fold: takes entries of a book in; raises nothing.
        commit: stores a checkpoint of a book.
        places: of the streams.
        count: entries read from one stream at once.
    """

    def __init__(
        self,
        reader: GroupReader,
        books: Mapping[str, OwnedOrders],
        ownership: Ownership,
        quarantine: Quarantine,
        fold: Callable[[OwnedOrders, Sequence[Delivered]], None],
        commit: Callable[[OwnedOrders], Awaitable[None]],
        places: StreamPlaces,
        count: int,
    ) -> None:
        self._reader = reader
        self._books = books
        self._ownership = ownership
        self._quarantine = quarantine
        self._fold = fold
        self._commit = commit
        self._places = places
        self._streams = OwnedStreams(reader, ownership, quarantine, places)
        self._count = count
        self._breath = Breath()
        self.has_more = False
        """Whether the last round of reading left something in a stream."""
        self._again = False

    def lost_a_reply(self) -> None:
        """It may have carried entries: they are pending now."""
        self._again = True

    def _reads(self, book: OwnedOrders) -> bool:
        return not book.reread and self._streams.may_read(book.claim)

    async def adopt(self, book: OwnedOrders) -> None:
        """Take in what the last owner of a book left."""
        try:
            await self._reader.ensure(book.key)
            await self._pending(book, book.last_stream_id)
        except ResponseError as error:
            await self._cannot(book, error)

    async def round(self, keys: Iterable[str] | None) -> dict[str, int]:
        """Read what is new in some streams, or (None) in all; the number of entries by stream, where there were any."""
        self.has_more = False
        if keys is None:
            await self._look_at_places()
            for book in list(self._books.values()):
                book.reread = book.reread or self._again
                if book.reread and self._streams.may_read(book.claim):
                    await self._pending_again(book)
            self._again = False
            keys = list(self._books)
        chosen = [key for key in keys if key in self._books and self._reads(self._books[key])]
        return await self._new(chosen) if chosen else {}

    async def _look_at_places(self) -> None:
        """Withhold the books whose streams are spoiled, and read those on that are not any more."""
        if not self._places.is_due(time.monotonic()):
            return
        safe = [book for book in self._books.values() if self._ownership.safe(book.claim)]
        if not await self._places.look(safe, time.monotonic()):
            return
        for book in safe:
            held_back = self._places.held_back(book.claim)
            book.cannot_be_read(held_back or self._quarantine.reason(*book.claim, READ))

    async def _new(self, keys: Sequence[str]) -> dict[str, int]:
        began, taken = time.monotonic(), dict[str, int]()
        entries = await self._reader.new(keys, self._count)
        refused = dict(self._reader.refused)
        for key, error in refused.items():
            if (book := self._books.get(key)) is not None:
                await self._cannot(book, error)
        for key in keys:
            if key in refused or (book := self._books.get(key)) is None:
                continue
            found = entries.get(key, [])
            if found:
                self._fold(book, found)
                taken[key] = len(found)
            self.has_more = self.has_more or len(found) >= self._count
            book.read_until(began, end=len(found) < self._count)
            if self._quarantine.worked(*book.claim, READ):
                book.cannot_be_read("")
            self._ownership.progress.made()
            await self._breath.taken()
        return taken

    async def _pending(self, book: OwnedOrders, after: bytes) -> None:
        """Fold what was delivered and not acknowledged, committing on the way: who goes on after us has less to do."""
        async for entries in self._streams.pending(book, book.token, after, PENDING_AT_ONCE):
            self._fold(book, entries)
            if book.commit_due(time.monotonic()) and self._ownership.safe(book.claim):
                await self._commit(book)

    async def _pending_again(self, book: OwnedOrders) -> None:
        try:
            await self._pending(book, book.last_stream_id)
        except ResponseError as error:
            await self._cannot(book, error)
        else:
            book.reread = False

    async def _cannot(self, book: OwnedOrders, error: ResponseError) -> None:
        """The stream of one book is no stream, or has lost its group: the book is withheld until it can be read.

        Raises:
            RedisError: it is the server that refuses.
        """
        book.reread = True
        if await self._streams.cannot_read(book, error):
            book.cannot_be_read(self._quarantine.reason(*book.claim, READ))
