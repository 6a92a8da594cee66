"""The history of the owned books: taking it up where the last owner stopped, and writing it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
from workers.errors import LeaseLost, WireError
from workers.model.books.sync import SequenceRule
from workers.model.history.block import NOT_RECORDED, HistoryBlock
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryFold, HistoryRecorder
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.quarantine import Quarantine
from workers.runtime.tasks import end, seen
from workers.settings.schema import HistorySettings
from workers.store.history.writing import HistoryStore
from workers.store.log.follower import LAST_OF_MS, START, entry_id
from workers.store.log.streams import GroupReader
from workers.store.refusals import refusal_of
from workers.venues.entries import depth_of

log = structlog.get_logger()

PAGE = 100
"""Entries folded between two looks at the live book."""
MOST_BLOCKS = 20
"""Blocks in one write."""
MOST_WAITING = 60
"""Blocks kept of a book whose history cannot be written: what is older is not recorded."""
RETRY_S = 1.0
HISTORY = "history"
"""The work, as the quarantine knows it."""
LOOK_S = 0.5
"""Pause after a look that found nothing to write."""
SPREAD = 0.5
"""Share of the pause between two writes of a book over which those of all books are spread at least."""
MANY_EVENTS = 100
"""Events after which the block under way is written as soon as it may be: folding them takes some 10 ms."""
NEW_S = 0.5
"""Pause before a write of the first known seconds after unknown ones."""
QUIET_S = 20.0
"""Pause between two writes of it while there were fewer."""

WRITTEN = Counter("fleet_history_writes_total", "Writes of history blocks", ["venue"])
BYTES = Counter("fleet_history_bytes_total", "Bytes of history blocks written", ["venue"])
UNREADABLE = Counter("fleet_history_unreadable_total", "Newest blocks that could not be decoded", ["venue"])
RESUMED = Counter("fleet_history_resumed_total", "Histories taken up from an earlier owner", ["venue"])


class _Written(NamedTuple):
    """What the last write of a book's history held."""

    at: float
    next_second: int | None
    events: int
    knew: bool
    """Whether its last second was known: without that, nobody else can go on from there."""


class HistoryWriter:
    """Writes the history of the books one worker owns.

    A book taken over is recorded from the moment on at which the last owner's newest block, carried on over the raw
    stream, has come to where the book is; until then its recorder is None and nothing is written.

    Args:
        reader: of the raw streams.
        still_owned: False once a book is no longer this worker's.
    """

    def __init__(
        self,
        client: Redis,
        reader: GroupReader,
        contexts: Sequence[VenueContext],
        settings: HistorySettings,
        still_owned: Callable[[OwnedBook], bool],
        quarantine: Quarantine | None = None,
    ) -> None:
        self._quarantine = quarantine or Quarantine(client, "books")
        self._reader = reader
        self._settings = settings
        self._still_owned = still_owned
        self._stores = {one.name: HistoryStore(client, one.keys, settings.hours) for one in contexts}
        self._tasks: dict[OwnedBook, asyncio.Task[None]] = {}
        self._written: dict[OwnedBook, _Written] = {}
        self._waits = Backoff("history")
        self.look_at = 0.0
        """When there is to be looked for something to write; past: there may be more."""
        self._running: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()

    def adopt(self, book: OwnedBook) -> None:
        """A book has been recovered: take up its history."""
        if self._settings.enabled:
            task = self._tasks[book] = seen(
                asyncio.create_task(self._take_up(book), name=f"books: history of {book.claim.symbol}")
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def forget(self, book: OwnedBook) -> None:
        """A book is no longer ours."""
        self._written.pop(book, None)
        if (task := self._tasks.pop(book, None)) is not None:
            task.cancel()

    async def leave(self, book: OwnedBook) -> None:
        """Write the last seconds of a book that is about to be given back."""
        try:
            await self._write(book)
        except LeaseLost:
            pass
        except Exception as error:  # what cannot be written is lost; the book is given back all the same
            await self._quarantine.failed(*book.claim, HISTORY, error)

    async def step(self, books: Sequence[OwnedBook], now: float) -> list[OwnedBook]:
        """Write the book that waits longest, if one is due (monotonic seconds); the books whose leases are lost.

        One a round, and the next after a while: encoding a busy minute takes some ms, and all blocks end at the same
        second.
        """
        if now < self.look_at:
            return []
        due = [(self._due_at(book), book) for book in books]
        at, book = min(due, key=lambda one: one[0], default=(math.inf, None))
        if book is None or at > now:
            self.look_at = now + LOOK_S
            return []
        self.look_at = now + SPREAD * self._settings.write_ms / 1000 / len(books)
        try:
            await self._write(book)
        except LeaseLost:
            return [book]
        except Exception as error:  # its own: another book's history goes on
            if self._still_owned(book):  # what is held back of a symbol not ours would stay so for good
                await self._quarantine.failed(*book.claim, HISTORY, error)
            if book.recorder is not None:
                del book.recorder.builder.blocks[:-MOST_WAITING]
        else:
            self._quarantine.worked(*book.claim, HISTORY)
        return []

    def _due_at(self, book: OwnedBook) -> float:
        """When a book is to be written: a block that is over at once, one under way after a pause.

        The pause is long while few events came: a question about seconds not yet written costs folding them.
        """
        recorder, written = book.recorder, self._written.get(book)
        if recorder is None or recorder.builder.empty or not self._quarantine.due(*book.claim, HISTORY):
            return math.inf
        if written is None or recorder.builder.blocks:
            return 0.0
        if recorder.builder.next_second == written.next_second:
            return math.inf
        pause_s = self._settings.write_ms / 1000
        if recorder.builder.knows and not written.knew:
            pause_s = min(pause_s, NEW_S)
        elif recorder.events - written.events < MANY_EVENTS:
            pause_s = max(pause_s, QUIET_S)
        return written.at + pause_s

    async def _write(self, book: OwnedBook) -> None:
        """Write all that is closed. Raises LeaseLost."""
        if book.recorder is None:
            return
        name, symbol, recorder = book.claim.context.name, book.claim.symbol, book.recorder
        builder = recorder.builder
        async with self._writing:
            current: HistoryBlock | None = None
            while current is None:
                over = builder.blocks[:MOST_BLOCKS]
                state = _Written(time.monotonic(), builder.next_second, recorder.events, builder.knows)
                current = builder.block() if len(over) == len(builder.blocks) else None
                blocks = [*over, *([current] if current else [])]
                if not blocks:
                    break
                BYTES.labels(name).inc(await self._stores[name].write(symbol, book.token, blocks))
                WRITTEN.labels(name).inc()
                del builder.blocks[: len(over)]
                if self._still_owned(book):  # else it was forgotten meanwhile, and would be kept for good
                    self._written[book] = state

    async def _take_up(self, book: OwnedBook) -> None:
        """Carry the newest block on to where the book is, then record the book."""
        name, symbol, settings = book.claim.context.name, book.claim.symbol, self._settings
        while self._still_owned(book):
            try:
                block = await self._stores[name].newest(symbol)
                if block is not None:
                    await self._carry_on(book, block)
                    RESUMED.labels(name).inc()
                    log.info("history_resumed", venue=name, symbol=symbol, after=block.last)
                    return
            except (RedisError, OSError) as error:
                if refusal_of(error).of_server:
                    await asyncio.sleep(max(RETRY_S, self._waits.refused(error, name)))
                    continue
                UNREADABLE.labels(name).inc()
                log.error("history_unreadable", venue=name, symbol=symbol, error=str(error))
            except Exception as error:  # a block that cannot be used must not end the books
                UNREADABLE.labels(name).inc()
                log.error("history_unreadable", venue=name, symbol=symbol, error=repr(error))
            builder = BlockBuilder(symbol, levels=settings.levels, length=settings.block_s)
            book.recorder = HistoryRecorder(book.sync, builder)
            return

    async def _carry_on(self, book: OwnedBook, block: HistoryBlock) -> None:
        settings = self._settings
        fold = HistoryFold(
            block, book.claim.context.venue.book_rule, levels=settings.levels, length=settings.block_s
        )
        place = f"{block.last * 1000}-{LAST_OF_MS}"
        before = (-1, -1)
        is_whole = await self._reaches_back(book, block.last * 1000)
        if not is_whole:
            fold.recorder.miss(entry_id(book.last_stream_id)[0], NOT_RECORDED)
        while is_whole:
            entries = await self._reader.range(book.key, place, PAGE)
            reached = entry_id(book.last_stream_id)  # the live book may have moved on meanwhile
            started = place
            for entry in entries:
                at = entry_id(entry.stream_id)
                if at > reached:
                    break
                place = entry.stream_id.decode()
                with contextlib.suppress(WireError):  # if it mattered, the next event does not follow
                    fold.take(depth_of(book.claim.context.venue, book.claim.symbol, entry), at[0])
            if entry_id(place) >= reached:
                break
            if before == reached and place == started:
                fold.recorder.miss(reached[0], NOT_RECORDED)  # what the book took in is gone from the stream
                break
            before = reached
        fold.recorder.attach(book.sync)
        book.recorder = fold.recorder

    async def _reaches_back(self, book: OwnedBook, ms: int) -> bool:
        """Whether ids show what the log lacks of the time after an ms, or it lacks nothing."""
        if book.sync.rule is not SequenceRule.RISING:
            return True
        oldest = await self._reader.range(book.key, START, 1)
        return bool(oldest) and entry_id(oldest[0].stream_id)[0] <= ms

    async def close(self) -> None:
        """Give up what is under way."""
        await end(list(self._running))
