"""Books as they change: each begins with the whole of what its owner shows, and is told only while it is shown.

What takes it away (a gap, a withdrawal by the owner, a log that was trimmed past the reader, a server that does not
answer) is a `Disconnect`; when the book is shown again, it begins anew with a whole one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

from workers.errors import StateUnreadable, WireError
from workers.model.books.sync import BookSync, Outcome, SyncState
from workers.model.events import DepthEvent
from workers.recordings.tardis.messages import BookChange, Disconnect, Message
from workers.research.book_log import MOST_LEVELS, ToldBook
from workers.runtime.context import VenueContext
from workers.store.books.rebuilding import rebuild
from workers.store.books.shown import shown_books
from workers.store.keys import DEPTH
from workers.store.log.follower import Entry, StreamFollower
from workers.store.log.streams import delivered
from workers.venues.entries import depth_of

LOOK_S: Final = 0.5
"""How often it is asked which books are shown."""
BLOCK_MS: Final = 100


def now_us() -> int:
    """Our clock."""
    return time.time_ns() // 1000


class _Followed(NamedTuple):
    """A book that is told."""

    sync: BookSync
    told: ToldBook
    symbol: str


class LiveBooks:
    """The books of some symbols of a venue.

    Args:
        client: must not retry by itself.
    """

    def __init__(self, client: Any, context: VenueContext, symbols: Sequence[str]) -> None:
        self._client = client
        self._context = context
        self._symbols = list(symbols)
        self._books: dict[str, _Followed] = {}
        """By key of the raw stream."""
        self._follower = StreamFollower(client, {})
        self._looked_at = float("-inf")

    async def messages(self) -> AsyncIterator[Message]:
        """Without end. Raises RedisError, OSError: to be taken up anew after `void`."""
        while True:
            if time.monotonic() - self._looked_at >= LOOK_S:
                self._looked_at = time.monotonic()
                async for message in self._look():
                    yield message
            if not self._books:
                await asyncio.sleep(LOOK_S)
                continue
            followed = await self._follower.read(BLOCK_MS)
            for lost in followed.lost:
                yield self._drop(lost.key)
            for key, entries in followed.entries.items():
                for message in self._fold(key, entries):
                    yield message

    def void(self) -> list[Message]:
        """Nothing is known any more."""
        self._looked_at = float("-inf")
        return [self._drop(key) for key in list(self._books)]

    def _drop(self, key: str) -> Disconnect:
        book = self._books.pop(key)
        self._follower.positions.pop(key, None)
        return Disconnect(book.symbol, now_us())

    async def _look(self) -> AsyncIterator[Message]:
        """Take up what is shown now, and drop what is not."""
        context = self._context
        pairs = [(context.keys, symbol) for symbol in self._symbols]
        for symbol, shown in zip(self._symbols, await shown_books(self._client, pairs), strict=True):
            key = context.keys.raw(symbol, DEPTH)
            if key in self._books:
                if not shown.is_shown:
                    yield self._drop(key)
            elif shown.is_shown and (whole := await self._begin(key, symbol)) is not None:
                yield whole

    async def _begin(self, key: str, symbol: str) -> Message | None:
        context = self._context
        try:
            rebuilt = await rebuild(
                self._client,
                context.keys,
                symbol,
                rule=context.venue.book_rule,
                decode=lambda name, entry: depth_of(context.venue, name, entry),
                now_ms=now_us() // 1000,
                max_levels=MOST_LEVELS,
            )
        except StateUnreadable:
            return None  # its owner has logged it, and writes it anew
        if rebuilt.state is not SyncState.SYNCED or rebuilt.book.crossed:
            return None
        told = ToldBook(context.venue.book_rule)
        self._books[key] = _Followed(rebuilt.sync, told, symbol)
        self._follower = StreamFollower(
            self._client, {**self._follower.positions, key: rebuilt.stream_id.decode()}, list(self._books)
        )
        sync = rebuilt.sync
        event = DepthEvent(
            symbol, sync.last_update_id, sync.last_update_id, -1, sync.last_event_time, 0, [], []
        )
        return BookChange(symbol, told.message(event, sync.book, now_us(), whole=True))

    def _fold(self, key: str, entries: Sequence[Entry]) -> list[Message]:
        book = self._books.get(key)
        found: list[Message] = []
        if book is None:
            return found
        for entry in delivered(entries):
            try:
                event = depth_of(self._context.venue, book.symbol, entry)
                outcome = book.sync.on_event(event, now_us() // 1000)
            except WireError:
                continue  # if it mattered, the next event does not follow
            if book.sync.state is not SyncState.SYNCED or outcome in (Outcome.GAP, Outcome.LOST):
                return [*found, self._drop(key)]
            if outcome is Outcome.APPLIED:
                told = book.told.message(event, book.sync.book, now_us(), whole=False)
                found.append(BookChange(book.symbol, told))
        return found
