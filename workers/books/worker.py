"""The books role: reads the depth streams of the symbols it owns, keeps their books, publishes and commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.books.ages import Ages
from workers.books.book import OwnedBook
from workers.books.committing import BookCommitting
from workers.books.folding import take_all
from workers.books.gaps import DepthGaps
from workers.books.history import HistoryWriter
from workers.books.publishing import BookPublishing
from workers.books.reading import BookReading
from workers.books.snapshots import SnapshotFetcher
from workers.books.stream_watch import StreamWatch
from workers.books.tickers import TickerWatch
from workers.books.whole_books import WholeBooks
from workers.errors import StateUnreadable
from workers.model.books.sync import Outcome, SyncState
from workers.runtime.backoff import MOST_PAUSE_S, Backoff
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.deadlines import Deadlines
from workers.runtime.living_lines import LivingLines
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.quarantine import Quarantine
from workers.runtime.rest import RestClient
from workers.runtime.rounds import MANY, Heard, Rounds
from workers.runtime.steady_clock import steady_ms
from workers.runtime.stream_places import StreamPlaces
from workers.store.books.publishing import BookStore
from workers.store.books.rebuilding import begin
from workers.store.connection import connect_reader
from workers.store.keys import BOOKS_GROUP, DEPTH
from workers.store.log.streams import Delivered, GroupReader

log = structlog.get_logger()

PROGRESS_S = 5.0
LOOK_ALL_S = 0.5
"""Longest pause between two rounds over all books, for what the seconds do to them and for their status."""
LOOK_RESTLESS_S = 0.05
"""Pause between two looks at books that are not shown, or wait for an answer."""
LONGEST_ALONE_S = 0.1
"""A stream is left alone for no longer, however seldom its book is published: it would be behind it."""
MOST_AHEAD_S = 0.005
"""A stream left alone is read so long before its book may be published, at most."""
LATE_S = 0.003
"""What may be published waits no longer because entries are gathered."""
AHEAD_SHARE = 0.1
"""What the last round counts for in how long reading takes."""
ALL, RESTLESS = " all", " restless"
"""Rounds, among the keys of single books, in the schedule."""

UNREADABLE = Counter("fleet_checkpoint_unreadable_total", "Checkpoints that could not be decoded")
Observer = Callable[[OwnedBook], None]


class BookWorker:
    """The books this process owns, and the loop over them.

    Args:
        observer: called after each event applied (the replay compares there).
    """

    def __init__(self, process: Process, sessions: Sessions, observer: Observer | None = None) -> None:
        client, settings = process.client, process.settings
        self._process = process
        self._settings = settings
        self._observer = observer
        self._contexts = venue_contexts(settings)
        self.quarantine = Quarantine(client, "books")
        self._reader_client = connect_reader(process.url)
        self._reader = GroupReader(self._reader_client, BOOKS_GROUP)
        kept = settings.streams.top_entries
        self._stores = {context.name: BookStore(client, context.keys, kept) for context in self._contexts}
        self._fetchers = {context.name: self._fetcher(context, sessions) for context in self._contexts}
        self._tickers = TickerWatch(client, self._contexts, settings.keeper.audits_kept)
        self._history = HistoryWriter(
            client, self._reader, self._contexts, settings.history, self._is_owned, self.quarantine
        )
        self.books: dict[str, OwnedBook] = {}
        """The books owned and recovered, by raw stream key."""
        self.ownership = Ownership(process, "books", self._contexts, self, self.quarantine, DEPTH)
        self._committing = BookCommitting(self._stores, self.books, self.ownership)
        self._reading = BookReading(
            self._reader,
            self.books,
            self.ownership,
            self.quarantine,
            settings.books,
            self._take,
            self._committing.commit,
            StreamPlaces(client, BOOKS_GROUP, self.quarantine),
        )
        self._rounds = Rounds(
            self._reader_client, process.stop, "books", self.books, settings.books.gather_ms,
            count=settings.books.read_count, late_s=LATE_S,
        )  # fmt: skip
        self._look_all_s = min(LOOK_ALL_S, settings.books.behind_ms / 4000, settings.books.commit_ms / 4000)
        self._longest_alone_s = min(LONGEST_ALONE_S, settings.books.behind_ms / 4000)
        self._deadlines = Deadlines()
        self._deadlines.set(ALL, 0.0)
        self._restless: set[str] = set()
        """The books that wait for more than events, by raw stream key."""
        self._round_s = 0.0
        self._reading_s = 0.0
        """What rounds took of late, while much came, until they published."""
        self._publishing = BookPublishing(
            process, self._contexts, self._stores, self.books, self.ownership, self.quarantine, self._stumbled
        )
        self._lines = LivingLines(process.registry)
        self._ages = Ages(self._lines, settings.books)
        self._streams = StreamWatch(client, self._lines)
        self._told_progress_at = 0.0
        self._gaps = DepthGaps(client, self._reader, self.ownership, self.books, settings.streams.gaps)

    def _fetcher(self, context: VenueContext, sessions: Sessions) -> SnapshotFetcher | WholeBooks:
        """What brings the snapshots of a venue's books: REST, or its lines where snapshots come in the stream."""
        if context.venue.facts.snapshots != "rest":
            return WholeBooks(self._process.client)
        return SnapshotFetcher(
            RestClient(sessions.rest(context), self._process.client, context),
            self._stores[context.name],
            self._settings,
            self._is_owned,
            self._stumbled,
            partial(self._never_synced, context),
        )

    def _is_owned(self, book: OwnedBook) -> bool:
        """Whether it is still this worker's, and no later book of its symbol."""
        return self.books.get(book.key) is book

    async def recover(self, claim: Claim, token: int) -> None:
        """Take up a book: checkpoint, entries pending after it, then the new ones; REST is not asked."""
        settings = self._settings.books
        sync = claim.context.venue.book_rule.sync(
            claim.symbol,
            max_levels=settings.levels,
            crossed_limit_ms=settings.crossed_ms,
            two_snapshots=settings.two_snapshots,
        )
        folded = b"0-0"
        try:
            folded = await begin(self._process.client, claim.context.keys, sync)
        except StateUnreadable as error:
            UNREADABLE.inc()
            log.error("checkpoint_unreadable", symbol=claim.symbol, error=str(error))
        book = OwnedBook(claim, token, sync, settings)
        if sync.state is SyncState.SYNCED:
            book.last_stream_id = folded
        await self._reading.adopt(book)
        book.recovered(steady_ms())
        self.books[book.key] = book
        self._restless.add(book.key)
        book.wake = partial(self._wake, book.key)
        book.wake()
        self._history.adopt(book)

    def _wake(self, key: str) -> None:
        self._deadlines.set(key, 0.0)  # a round that reads all is not told who was touched
        self._rounds.touch(key)

    async def hand_over(self, claim: Claim) -> None:
        """Commit a last checkpoint before the lease is given back."""
        book = self.books.get(claim.context.keys.raw(claim.symbol, DEPTH))
        if book is None:
            return
        await self._publishing.publish([book], last=True)
        await self._committing.commit(book)
        await self._history.leave(book)
        if book.lost:  # meanwhile: the next owner must not go on with it
            await self._committing.commit(book)
        self._drop(book)

    def forget(self, claim: Claim) -> None:
        """Drop a book that is another worker's now."""
        book = self.books.get(claim.context.keys.raw(claim.symbol, DEPTH))
        if book is not None:
            self._drop(book)

    def retired(self, claim: Claim) -> None:
        """Nothing more to forget: the keeper withdraws the book and its checkpoint."""

    def _drop(self, book: OwnedBook) -> None:
        self.books.pop(book.key, None)
        self._restless.discard(book.key)
        self._deadlines.drop(book.key)
        self._reading.forget(book.key)
        self._history.forget(book)
        self.quarantine.forget(*book.claim)
        book.forget()

    def _take(self, book: OwnedBook, entries: Sequence[Delivered]) -> None:
        now_ms = steady_ms()
        if self._observer is None:
            take_all(book, entries, now_ms, self._take_one, self._stumbled)
            return
        for entry in entries:
            self._take_one(book, entry, now_ms)

    def _take_one(self, book: OwnedBook, entry: Delivered, now_ms: int) -> None:
        try:
            outcome = book.take(entry, now_ms)
        except Exception as error:
            self._stumbled(book, error)
            return
        if outcome is Outcome.GAP:
            self._gaps.sequence_gap(book)
        elif outcome is Outcome.LOST and entry.kind == "break" and entry.data:
            self._gaps.announced_gap(book)
        elif self._observer and outcome in (Outcome.APPLIED, Outcome.SYNCED):
            self._observer(book)

    def _stumbled(self, book: OwnedBook, error: Exception) -> None:
        """Our own code failed over one book: it is synced anew, and the others go on."""
        self.quarantine.stumbled(*book.claim, "fold", error)
        book.sync.lose("failed", steady_ms())
        book.noticed()

    def _never_synced(self, context: VenueContext) -> int:
        """How many books of a venue have never been in sync, of all workers: as many of theirs as of ours."""
        owned, now = [book for book in self.books.values() if book.claim.context is context], time.monotonic()
        never = sum(book.may_soon_sync(now) for book in owned)
        return -(-len(context.symbols) * never // len(owned)) if owned else len(context.symbols)

    def _look_after(self, books: Iterable[OwnedBook], now: float, *, at_restless: bool) -> None:
        """What events and time do to books: crossed for too long, silent, in want of a snapshot.

        Args:
            at_restless: all that wait for a first snapshot are among them, so that the busiest can be told.
        """
        now_ms = steady_ms()
        for book in books:
            try:
                self._look_after_one(book, now, now_ms)
                if at_restless or book.sync.sync_count:
                    self._fetchers[book.claim.context.name].consider(book, now)
            except Exception as error:
                self._stumbled(book, error)
            (self._restless.discard if book.settled else self._restless.add)(book.key)
        if at_restless:
            for fetcher in self._fetchers.values():
                fetcher.start_busiest()
        if self._restless and RESTLESS not in self._deadlines:
            self._deadlines.set(RESTLESS, now + LOOK_RESTLESS_S)

    def _look_after_one(self, book: OwnedBook, now: float, now_ms: int) -> None:
        book.tick(now_ms)
        self._ages.judge(book, now, now_ms)
        if book.sync.state is SyncState.SYNCED:
            self.quarantine.worked(*book.claim, "fold")

    def _tell_progress(self, now: float) -> None:
        in_sync = sum(book.showable for book in self.books.values())
        if in_sync < len(self.books) and now - self._told_progress_at >= PROGRESS_S:
            self._told_progress_at = now
            log.info("books_syncing", in_sync=in_sync, owned=len(self.books))
        self._process.details = {
            "symbols": len(self.books),
            "in_sync": in_sync,
            "shallow": sum(book.shallow for book in self.books.values()),
            "gaps": sum(book.sync.gap_count for book in self.books.values()),
        }

    async def step(self, ready: Mapping[str, Heard] | None = None) -> int:
        """One round: read, fold, publish, commit; the number of entries taken in.

        Args:
            ready: what was heard of which streams, whose books are seen to; None: all are read. Books are also seen to
                whose streams brought something or that something is due for, and now and then all of them.
        """
        began = time.monotonic()
        due = set(self._deadlines.due(began))
        at_all = ALL in due
        at_restless = at_all or RESTLESS in due
        if at_all:
            self._deadlines.set(ALL, began + self._look_all_s)
        try:
            if at_all or ready is None:
                taken = await self._reading.round(self._round_s)
            else:
                taken = await self._reading.ready(ready)
        except (RedisError, OSError):
            # what could not be read for long is withheld
            await self._publishing.publish(list(self.books.values()))
            raise
        now = time.monotonic()
        if at_all:
            await self._lines.ask(now)
            await self._streams.look(list(self.books.values()), now)
        await self._tickers.look(self.books.values(), now, steady_ms())
        concerned = (
            self.books.keys()
            if at_all
            else due.union(taken, ready or (), self._restless if at_restless else ())
        )
        books = [self.books[key] for key in concerned if key in self.books]
        self._look_after(books, now, at_restless=at_restless)
        if taken and self._rounds.busy:
            took_s = min(time.monotonic() - began, MOST_AHEAD_S)
            self._reading_s += AHEAD_SHARE * (took_s - self._reading_s)
        judged_at = time.monotonic()
        await self._publishing.publish(books)
        await self._committing.step(books, now)
        for book in await self._history.step(list(self.books.values()), now):
            self.ownership.lost(book.claim, book.token)
        if at_all:
            self._tell_progress(now)
        self._schedule(books, taken, judged_at)
        self._round_s = time.monotonic() - began
        await self._reading.catch_up()
        return sum(taken.values())

    def _schedule(self, books: Iterable[OwnedBook], taken: Mapping[str, int], judged_at: float) -> None:
        """Have the last change of each book published when its interval is over; while much comes, have streams that
        brought something, and were read to their end, left alone until there is just time to read them.

        Args:
            judged_at: when it was looked at what might be published; an interval that has ended since is due at once.
        """
        now, busy = time.monotonic(), self._rounds.busy
        alone: dict[float, list[str]] = {}
        for book in books:
            if not book.showable or not self._is_owned(book):
                continue
            due_at = book.pace.due_at_ms / 1000
            at_end = 0 < taken.get(book.key, 0) < self._settings.books.read_count
            if busy and at_end and book.settled and due_at > now:
                ready_at = due_at - self._reading_s
                wanted_at = min(ready_at if ready_at > now else due_at, now + self._longest_alone_s)
                alone.setdefault(wanted_at, []).append(book.key)
            elif book.pace.waiting:
                self._deadlines.set(book.key, due_at if due_at > judged_at else now + LOOK_RESTLESS_S)
        for wanted_at, keys in alone.items():
            until = self._reading.leave_alone(keys, wanted_at)
            for key in keys:
                self._deadlines.set(key, until)

    async def _go_round(self) -> None:
        waits = Backoff("round")
        while not self._process.stop.is_set():
            until = min(self._deadlines.next, self._history.look_at, self._tickers.due_at)
            ready = await self._rounds.next(until, self._reading.unwanted_until)
            try:
                taken = await self.step(ready)
                waits.accepted()
            except (RedisError, OSError) as error:
                self._reading.lost_a_reply()
                self._deadlines.set(ALL, 0.0)
                await asyncio.sleep(min(waits.refused(error), MOST_PAUSE_S))
            else:
                self._rounds.took(
                    taken if self._reading.keeps_up else max(taken, MANY),
                    more=self._reading.has_more or self._reading.has_due,
                )
            self.ownership.progress.made()

    async def run(self) -> None:
        """Serve until told to stop; then commit and give everything back."""
        try:
            await self.ownership.guard(self._go_round())
        finally:
            for fetcher in self._fetchers.values():
                await fetcher.close()
            await self.ownership.release_all()
            await self._history.close()
            await self._rounds.close()
            await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    async with Sessions(limit=4) as sessions:
        await BookWorker(process, sessions).run()
