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
from workers.books.folding import take_all
from workers.books.history import HistoryWriter
from workers.books.publishing import BookPublishing
from workers.books.reading import BookReading
from workers.books.snapshots import SnapshotFetcher
from workers.books.stream_watch import StreamWatch
from workers.books.tickers import TickerWatch
from workers.books.whole_books import WholeBooks
from workers.errors import LeaseLost, StateUnreadable
from workers.model.books.sync import Outcome, SyncState
from workers.runtime.backoff import MOST_PAUSE_S, Backoff
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.deadlines import Deadlines
from workers.runtime.living_lines import LivingLines
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.pulse import Breath
from workers.runtime.quarantine import Quarantine
from workers.runtime.rest import RestClient
from workers.runtime.rounds import MANY, Heard, Rounds
from workers.runtime.steady_clock import steady_ms
from workers.runtime.stream_places import StreamPlaces
from workers.runtime.tasks import seen
from workers.store.books.publishing import BookStore
from workers.store.books.rebuilding import begin
from workers.store.connection import connect_reader
from workers.store.keys import BOOKS_GROUP, DEPTH
from workers.store.log.streams import Delivered, GapRecord, GroupReader, record_gap

log = structlog.get_logger()

PROGRESS_S = 5.0
LOOK_ALL_S = 0.5
"""Longest pause between two rounds over all books, for what the seconds do to them and for their status."""
LOOK_RESTLESS_S = 0.05
"""Pause between two looks at books that are not shown, or wait for an answer."""
ALL, RESTLESS = " all", " restless"
"""Rounds, among the keys of single books, in the schedule."""

GAPS = Counter("fleet_depth_gaps_total", "Holes in depth streams", ["venue"])
UNREADABLE = Counter("fleet_checkpoint_unreadable_total", "Checkpoints that could not be decoded")
STOLEN = Counter(
    "fleet_entries_read_elsewhere_total", "Entries an earlier owner read after a takeover", ["venue"]
)
COMMITTED = Counter("fleet_book_commits_total", "Checkpoints stored")
Observer = Callable[[OwnedBook], None]


class BookWorker:
    """The books this process owns, and the loop over them.

    Args:
        observer: called after each event applied (the replay compares there).
    """

    def __init__(self, process: Process, sessions: Sessions, observer: Observer | None = None) -> None:
        self._process = process
        self._settings = process.settings
        self._observer = observer
        self._contexts = venue_contexts(process.settings)
        self.quarantine = Quarantine(process.client, "books")
        self._reader_client = connect_reader(process.url)
        self._reader = GroupReader(self._reader_client, BOOKS_GROUP)
        kept = process.settings.streams.top_entries
        self._stores = {
            context.name: BookStore(process.client, context.keys, kept) for context in self._contexts
        }
        self._fetchers: dict[str, SnapshotFetcher | WholeBooks] = {
            context.name: SnapshotFetcher(
                RestClient(sessions.rest(context), process.client, context),
                self._stores[context.name],
                process.settings,
                lambda book: self.books.get(book.key) is book,
                self._stumbled,
                partial(self._never_synced, context),
            )
            if context.venue.facts.snapshots == "rest"
            else WholeBooks(process.client)
            for context in self._contexts
        }
        self._tickers = TickerWatch(
            process.client, self._contexts, process.settings.books, process.settings.keeper.audits_kept
        )
        self._history = HistoryWriter(
            process.client,
            self._reader,
            self._contexts,
            process.settings.history,
            lambda book: self.books.get(book.key) is book,
            self.quarantine,
        )
        self.books: dict[str, OwnedBook] = {}
        """The books owned and recovered, by raw stream key."""
        self.ownership = Ownership(process, "books", self._contexts, self, self.quarantine, DEPTH)
        self._reading = BookReading(
            self._reader,
            self.books,
            self.ownership,
            self.quarantine,
            process.settings.books,
            self._take,
            self._commit,
            StreamPlaces(process.client, BOOKS_GROUP, self.quarantine),
        )
        self._rounds = Rounds(
            self._reader_client, process.stop, "books", self.books, process.settings.books.gather_ms,
            count=process.settings.books.read_count,
        )  # fmt: skip
        self._look_all_s = min(
            LOOK_ALL_S, process.settings.books.behind_ms / 4000, process.settings.books.commit_ms / 4000
        )
        self._deadlines = Deadlines()
        self._deadlines.set(ALL, 0.0)
        self._restless: set[str] = set()
        """The books that wait for more than events, by raw stream key."""
        self._round_s = 0.0
        self._breath = Breath()
        self._publishing = BookPublishing(
            process, self._contexts, self._stores, self.books, self.ownership, self.quarantine, self._stumbled
        )
        self._committing = Backoff("commit")
        self._lines = LivingLines(process.registry)
        self._ages = Ages(self._lines, process.settings.books)
        self._streams = StreamWatch(process.client, self._lines)
        self._told_progress_at = 0.0
        self._recording: set[asyncio.Task[None]] = set()

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
        book.wake = partial(self._rounds.touch, book.key)
        book.wake()
        self._history.adopt(book)

    async def hand_over(self, claim: Claim) -> None:
        """Commit a last checkpoint before the lease is given back."""
        book = self.books.get(claim.context.keys.raw(claim.symbol, DEPTH))
        if book is None:
            return
        await self._publishing.publish([book], last=True)
        await self._commit(book)
        await self._history.leave(book)
        if book.lost:  # meanwhile: the next owner must not go on with it
            await self._commit(book)
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
            self._gap(book)
        elif outcome is Outcome.LOST and entry.kind == "break" and entry.data:
            self._told_of_hole(book)
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

    def _gap(self, book: OwnedBook) -> None:
        name, symbol = book.claim.context.name, book.claim.symbol
        gap = book.sync.gap
        expected, got = (gap.expected, gap.got) if gap else (0, 0)
        GAPS.labels(name).inc()
        log.warning("depth_gap", venue=name, symbol=symbol, expected=expected, got=got)
        self._record(book, expected, got)

    def _told_of_hole(self, book: OwnedBook) -> None:
        """The exchange itself said that messages are missing: from the ms of the last one to that at which it did."""
        before, after = (place.partition(b"-")[0] for place in (book.before_last, book.last_stream_id))
        self._record(book, int(before), int(after))

    def _record(self, book: OwnedBook, first: int, last: int) -> None:
        record = GapRecord(DEPTH, first, last, book.sync.reason, "resync")
        after = self._after_gap(book, book.before_last, book.last_stream_id, record)
        task = seen(asyncio.create_task(after, name=f"books: gap of {book.claim.symbol}"))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _after_gap(self, book: OwnedBook, before: bytes, after: bytes, record: GapRecord) -> None:
        """Record a gap, unless the log has what is missing: then an earlier owner, not gone yet, was given it."""
        try:
            following = await self._reader.range(book.key, before, 1) if before != b"0-0" else []
            taken_elsewhere = bool(following) and following[0].stream_id != after
            if taken_elsewhere and self.books.get(book.key) is book:
                STOLEN.labels(book.claim.context.name).inc()
                log.warning("entries_read_elsewhere", symbol=book.claim.symbol, after=before.decode())
                # recovered from its checkpoint when it is taken again, at once
                self.ownership.lost(book.claim, book.token)
                return
            book.lost = book.sync.state is not SyncState.SYNCED
            gaps = book.claim.context.keys.gaps(book.claim.symbol)
            await record_gap(self._process.client, gaps, record, self._settings.streams.gaps)
        except (RedisError, OSError) as error:
            log.error("gap_not_recorded", symbol=book.claim.symbol, first=record.first, error=str(error))

    async def _commit(self, book: OwnedBook) -> None:
        (checkpoint, ids), lost, unsaved = book.checkpoint(), book.lost, book.unsaved
        read = book.delivery.to_be_given
        folded = book.last_stream_id if book.sync.state is SyncState.SYNCED else b""
        store, place = self._stores[book.claim.context.name], (book.claim.context.name, book.claim.symbol)
        if not self._committing.due(*place):
            return
        try:
            done = await store.commit(book.claim.symbol, book.token, DEPTH, checkpoint, ids, read, folded)
        except LeaseLost:
            self.ownership.lost(book.claim, book.token)
            return
        except RedisError as error:
            self._committing.refused(error, *place)
            return
        self._committing.accepted(*place)
        COMMITTED.inc()
        book.reread = book.reread or done.elsewhere
        if read is not None:
            book.delivery.given(read.last)
        book.committed(ids, time.monotonic(), told_loss=lost, told_snapshot=unsaved)

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
        book.sync.tick(now_ms)
        book.noticed()
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
        await self._publishing.publish(books)
        await self._store(books, now)
        if at_all:
            self._tell_progress(now)
        self._schedule(books)
        self._round_s = time.monotonic() - began
        await self._reading.catch_up()
        return sum(taken.values())

    async def _store(self, books: Sequence[OwnedBook], now: float) -> None:
        """Checkpoints of some books, and the history that is due of one."""
        for book in books:
            if book.commit_due(now) and self.books.get(book.key) is book and self.ownership.safe(book.claim):
                await self._commit(book)
                self.ownership.progress.made()
                await self._breath.taken()
        for book in await self._history.step(list(self.books.values()), now):
            self.ownership.lost(book.claim, book.token)

    def _schedule(self, books: Iterable[OwnedBook]) -> None:
        """Have the last change of each book published when its interval is over."""
        now = time.monotonic()
        for book in books:
            if book.pace.waiting and book.showable and self.books.get(book.key) is book:
                due_at = book.pace.due_at_ms / 1000
                self._deadlines.set(book.key, due_at if due_at > now else now + LOOK_RESTLESS_S)

    async def _go_round(self) -> None:
        waits = Backoff("round")
        while not self._process.stop.is_set():
            until = min(self._deadlines.next, self._history.look_at, self._tickers.due_at)
            ready = await self._rounds.next(until)
            try:
                taken = await self.step(ready)
                waits.accepted()
            except (RedisError, OSError) as error:
                self._reading.lost_a_reply()
                self._deadlines.set(ALL, 0.0)
                await asyncio.sleep(min(waits.refused(error), MOST_PAUSE_S))
            else:
                self._rounds.took(
                    taken if self._reading.keeps_up else max(taken, MANY), more=self._reading.has_more
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
