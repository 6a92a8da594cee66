"""Reading the depth streams of the books a worker owns: what is new, what was left pending, and which of them first."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import groupby
from typing import Final

import structlog
from prometheus_client import Counter
from redis.exceptions import ResponseError

from workers.books.attention import Attention
from workers.books.book import OwnedBook
from workers.model.books.sync import SequenceRule
from workers.runtime.owned_streams import READ, OwnedStreams
from workers.runtime.ownership import Ownership
from workers.runtime.pulse import Breath
from workers.runtime.quarantine import Quarantine
from workers.runtime.rounds import NOTHING, Heard
from workers.runtime.steady_clock import steady_ms
from workers.runtime.stream_places import StreamPlaces
from workers.settings.schema import BookSettings
from workers.store.log.follower import START
from workers.store.log.streams import Delivered, GroupReader, goes_on

log = structlog.get_logger()

PENDING_AT_ONCE: Final = 200
READ_AT_ONCE: Final = 2_000
"""Entries of one reply while there is much to read: what is parsed in one go holds up leases."""
FEWEST_AT_ONCE: Final = 10
"""Streams left alone for long enough that are read in one round, while it is no more than a sixth of them."""
PARTS: Final = 6
TOGETHER_S: Final = 0.02
"""So much longer few streams are left alone, once, to be read with others from then on."""
SHORT_ROUND_S: Final = 0.01
"""A round that takes longer would be one of too few, if it read a part only."""
CATCH_UP_S: Final = 0.2
"""In each round, for a book that was left behind."""
LATE_S: Final = 2.0
"""A stream that was not read to its end for so long may have been trimmed meanwhile: no retention is shorter."""
LEFT_BEHIND = Counter("fleet_books_left_behind_total", "Books left behind because rounds took too long")


class BookReading:
    """Reads into the books of one worker.

    Args:
        books: those owned, by raw stream key, the most important first.
        fold: takes entries of a book in; raises nothing.
        commit: stores a checkpoint of a book.
        places: of the streams.
    """

    def __init__(
        self,
        reader: GroupReader,
        books: Mapping[str, OwnedBook],
        ownership: Ownership,
        quarantine: Quarantine,
        settings: BookSettings,
        fold: Callable[[OwnedBook, Sequence[Delivered]], None],
        commit: Callable[[OwnedBook], Awaitable[None]],
        places: StreamPlaces,
    ) -> None:
        self._reader = reader
        self._books = books
        self._ownership = ownership
        self._quarantine = quarantine
        self._count = settings.read_count
        self._fold = fold
        self._commit = commit
        self._places = places
        self._streams = OwnedStreams(reader, ownership, quarantine, places)
        self._attention = Attention(settings.behind_ms / 1000)
        self._breath = Breath()
        self.has_more = False
        """Whether the last round of reading left something in a stream."""
        self._left_alone: dict[str, float] = {}
        self.has_due = False
        """Whether it left streams alone that it would have read if they had been fewer."""
        self._again = False
        self._busy = False
        """Whether the last round read much."""

    def lost_a_reply(self) -> None:
        """It may have carried entries: they are pending now."""
        self._again = True

    def _ours(self, keys: Sequence[str]) -> list[str]:
        """Those of some streams that may be read still: a lease may have run out since they were chosen."""
        owned = [(key, book) for key in keys if (book := self._books.get(key)) is not None]
        return [key for key, book in owned if self._streams.may_read(book.claim)]

    async def _look_at_places(self) -> None:
        """Withhold the books whose streams are spoiled, and read those on that are not any more."""
        if not self._places.is_due(time.monotonic()):
            return
        safe = [book for book in self._books.values() if self._ownership.safe(book.claim)]
        if not await self._places.look(safe, time.monotonic()):
            return
        for book in safe:
            reason = self._places.held_back(book.claim) or self._quarantine.reason(*book.claim, READ)
            if reason != book.unreadable:
                book.unreadable, book.withdraw = reason, bool(reason) or book.withdraw
                book.pace.changed()

    async def adopt(self, book: OwnedBook) -> None:
        """Take in what the last owner of a book left."""
        try:
            await self._reader.ensure(book.key)
            await self._pending(book, b"0")
        except ResponseError as error:
            await self._cannot(book, error)

    @property
    def keeps_up(self) -> bool:
        """Whether no book is left behind, and nothing is to be read again."""
        return not (self._again or self._busy or self._attention.left)

    async def ready(self, heard: Mapping[str, Heard]) -> dict[str, int]:
        """Take in what was heard of some streams, while all can be kept up with; the number of entries by stream.

        Otherwise, and ever so often, it is `round` that reads.
        """
        self.has_more = self.has_due = False
        taken, unheard, now = dict[str, int](), [], time.monotonic()
        # what was heard of while a stream was left alone is not heard of again
        alone = {key: NOTHING for key, until in self._left_alone.items() if until <= now}
        for key, (after, entries) in (alone | dict(heard)).items():
            book = self._books.get(key)
            if book is None or book.reread or not self._streams.may_read(book.claim):
                continue
            # of what is heard after no entry, others may have taken in the most
            if not entries or book.last_stream_id == START.encode() or goes_on(book.last_stream_id, after):
                unheard.append(key)
                continue
            await self._look_back(book)
            new = [entry for entry in entries if goes_on(book.last_stream_id, entry.stream_id)]
            if new:
                self._fold(book, new)
                book.delivery.read_alone(len(new))
                taken[key] = len(new)
            book.read_until(time.monotonic(), steady_ms() * 1000, end=False)
            self._was_read(book)
            self._ownership.progress.made()
            await self._breath.taken()
        return taken | await self._new(unheard) if unheard else taken

    async def round(self, last_s: float) -> dict[str, int]:
        """Read what is new, as far as there is time for it; the number of entries by stream, where there were any.

        Args:
            last_s: how long the last round took with all that was done in it, but for `catch_up`.
        """
        self.has_more = self.has_due = False
        await self._look_at_places()
        books = list(self._books.values())
        for book in books:
            book.reread = book.reread or self._again
        self._again = False
        for book in books:
            if book.reread and self._streams.may_read(book.claim):
                await self._pending_again(book)
        may_read = self._streams.may_read
        keys = [key for key, book in self._books.items() if not book.reread and may_read(book.claim)]
        left = self._attention.round_took(keys, last_s)
        if left:
            LEFT_BEHIND.inc(len(left))
            log.warning("books_left_behind", books=len(left), of=len(keys), round_s=round(last_s, 2))
        served, taken = self._attention.served(keys), dict[str, int]()
        served = self._wanted(served, time.monotonic(), last_s)
        size = max(1, READ_AT_ONCE // self._count if self._busy else len(served))
        for first in range(0, len(served), size):
            some = served[first : first + size]
            taken |= await self._new(self._ours(some) if first else some)
        self._busy = sum(taken.values()) > READ_AT_ONCE
        return taken

    def leave_alone(self, keys: Collection[str], until: float) -> float:
        """Rounds are to read some streams no more until then (monotonic seconds): no change would be shown before.

        Few wait a little longer, for others to be read with: books published together stay together, so that rounds
        become fewer. Returns until when. O(n log n).
        """
        most = max(FEWEST_AT_ONCE, len(self._books) // PARTS) - len(keys)
        if most > 0:
            later = sorted(at for at in self._left_alone.values() if until < at <= until + TOGETHER_S)
            until = next((at for at, others in groupby(later) if len(list(others)) <= most), until)
        self._left_alone.update(dict.fromkeys(keys, until))
        return until

    def forget(self, key: str) -> None:
        """A stream is not ours any more."""
        self._left_alone.pop(key, None)

    @property
    def unwanted_until(self) -> float:
        """Until when every stream is left alone (monotonic seconds); 0: there is one that is not. O(streams)."""
        all_are = len(self._left_alone) == len(self._books)
        return min(self._left_alone.values(), default=0.0) if all_are else 0.0

    def _wanted(self, keys: Sequence[str], now: float, last_s: float) -> list[str]:
        """Of some streams those that are not left alone, and those that were, for long enough.

        Of the latter a part, so that the first are not published late because of the others, which are the next
        round's; but all where rounds take long, for then there are too few of them.
        """
        if not self._left_alone:
            return list(keys)
        alone = self._left_alone
        due = sorted((alone[key], key) for key in keys if key in alone and alone[key] <= now)
        most = max(FEWEST_AT_ONCE, len(alone) // PARTS) if last_s < SHORT_ROUND_S else len(due)
        self.has_due = len(due) > most
        return [key for key in keys if key not in alone] + [key for _, key in due[:most]]

    async def catch_up(self) -> None:
        """Bring a book that was left behind nearer to the end of its stream."""
        if (key := self._attention.returning) is None:
            return
        began, read = time.monotonic(), self._count
        while read >= self._count and time.monotonic() - began < CATCH_UP_S and self._ours([key]):
            read = (await self._new([key])).get(key, 0)
        if read < self._count:
            self._attention.returned()

    async def _new(self, keys: Sequence[str]) -> dict[str, int]:
        """Read and fold what is new in some streams; the number of entries by stream, where there were any."""
        began, taken = time.monotonic(), dict[str, int]()
        entries = await self._reader.new(keys, self._count)
        refused = dict(self._reader.refused)
        for key in keys:
            self._left_alone.pop(key, None)
        for key, error in refused.items():
            if (book := self._books.get(key)) is not None:
                await self._cannot(book, error)
        for key in keys:
            if key in refused or (book := self._books.get(key)) is None:
                continue
            if not (found := entries.get(key)):
                book.current_at = began
                if not book.read or book.unreadable:
                    self._was_read(book)
                continue
            await self._look_back(book)
            self._fold(book, self._given(book, found))
            taken[key] = len(found)
            self.has_more = self.has_more or len(found) >= self._count
            book.read_until(began, steady_ms() * 1000, end=len(found) < self._count)
            self._was_read(book)
            self._ownership.progress.made()
            await self._breath.taken()
        self._ownership.progress.made()
        return taken

    async def _look_back(self, book: OwnedBook) -> None:
        """Lose a book of which entries were trimmed before they were read, where no id of the next one shows it."""
        if book.sync.rule is not SequenceRule.RISING or time.monotonic() - book.current_at <= LATE_S:
            return
        oldest = await self._reader.range(book.key, START, 1)
        if not oldest or goes_on(book.last_stream_id, oldest[0].stream_id):
            book.torn("trimmed before it was read", steady_ms())

    @staticmethod
    def _given(book: OwnedBook, entries: list[Delivered]) -> list[Delivered]:
        """Of what the group has given, what was not read without it."""
        if book.delivery.to_be_given is not None:
            book.delivery.given(entries[-1].stream_id)
            entries = [entry for entry in entries if goes_on(book.last_stream_id, entry.stream_id)]
        return entries

    def _was_read(self, book: OwnedBook) -> None:
        book.read = True
        if self._quarantine.worked(*book.claim, READ):
            book.unreadable = ""
            book.pace.changed()

    async def _pending(self, book: OwnedBook, after: bytes) -> None:
        """Fold what was delivered and not acknowledged, committing on the way: who goes on after us has less to do."""
        async for entries in self._streams.pending(book, book.token, after, PENDING_AT_ONCE):
            book.delivery.given(entries[-1].stream_id)
            self._fold(book, entries)
            if book.commit_due(time.monotonic()) and self._ownership.safe(book.claim):
                await self._commit(book)

    async def _pending_again(self, book: OwnedBook) -> None:
        try:
            await self._pending(book, book.last_stream_id)
        except ResponseError as error:
            await self._cannot(book, error)
        else:
            book.reread = False

    async def _cannot(self, book: OwnedBook, error: ResponseError) -> None:
        """The stream of one book is no stream, or has lost its group: the book is withheld until it can be read.

        Raises:
            RedisError: it is the server that refuses.
        """
        book.reread = True
        if await self._streams.cannot_read(book, error):
            book.unreadable = self._quarantine.reason(*book.claim, READ)
            book.withdraw = True
        else:  # what the old group had given stands in no checkpoint yet, and the new one gives it to nobody
            book.unsaved, book.committed_at = True, 0.0
            book.wake()
