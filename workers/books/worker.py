"""The books role: reads the depth streams of the symbols it owns, keeps their books, publishes and commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
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
from workers.runtime.context import venue_contexts
from workers.runtime.living_lines import LivingLines
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.pulse import Breath
from workers.runtime.quarantine import Quarantine
from workers.runtime.rest import RestClient
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
LOOK_AFTER_S = 0.02
"""Pause between two looks at books to which nothing happened: hundreds of them cost a worker a millisecond."""

GAPS = Counter("fleet_depth_gaps_total", "Holes in depth streams", ["venue"])
UNREADABLE = Counter("fleet_checkpoint_unreadable_total", "Checkpoints that could not be decoded")
STALE = Counter(
    "fleet_books_stale_total", "Books withheld because their feed was silent and not alive", ["venue"]
)
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
        self.ownership = Ownership(process, "books", self._contexts, self, self.quarantine)
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
        self._round_s = 0.0
        self._breath = Breath()
        self._publishing = BookPublishing(
            process, self._contexts, self._stores, self.books, self.ownership, self.quarantine, self._stumbled
        )
        self._committing = Backoff("commit")
        self._lines = LivingLines(process.registry)
        self._streams = StreamWatch(process.client, self._lines)
        self._look_after_at = 0.0
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
        self._history.forget(book)
        self.quarantine.forget(*book.claim)
        book.forget()

    def _take(self, book: OwnedBook, entries: Sequence[Delivered]) -> None:
        now_ms = steady_ms()
        for entry in entries:
            try:
                outcome = book.take(entry, now_ms)
            except Exception as error:
                self._stumbled(book, error)
                continue
            if outcome is Outcome.GAP:
                self._gap(book)
            elif self._observer and outcome in (Outcome.APPLIED, Outcome.SYNCED):
                self._observer(book)

    def _stumbled(self, book: OwnedBook, error: Exception) -> None:
        """Our own code failed over one book: it is synced anew, and the others go on."""
        self.quarantine.stumbled(*book.claim, "fold", error)
        book.sync.lose("failed", steady_ms())
        book.noticed()

    def _gap(self, book: OwnedBook) -> None:
        name, symbol = book.claim.context.name, book.claim.symbol
        gap = book.sync.gap
        expected, got = (gap.expected, gap.got) if gap else (0, 0)
        GAPS.labels(name).inc()
        log.warning("depth_gap", venue=name, symbol=symbol, expected=expected, got=got)
        record = GapRecord(DEPTH, expected, got, book.sync.reason, "resync")
        after = self._after_gap(book, book.before_last, book.last_stream_id, record)
        task = seen(asyncio.create_task(after, name=f"books: gap of {symbol}"))
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
        store, place = self._stores[book.claim.context.name], (book.claim.context.name, book.claim.symbol)
        if not self._committing.due(*place):
            return
        try:
            await store.commit(book.claim.symbol, book.token, DEPTH, checkpoint, ids)
        except LeaseLost:
            self.ownership.lost(book.claim, book.token)
            return
        except RedisError as error:
            self._committing.refused(error, *place)
            return
        self._committing.accepted(*place)
        COMMITTED.inc()
        book.committed(ids, time.monotonic(), told_loss=lost, told_snapshot=unsaved)

    def _judge_age(self, book: OwnedBook, now: float, now_ms: int) -> None:
        """Withhold a book that may be outdated, or show it again."""
        fresh, lines = book.freshness, self._lines.of(book.claim.context.name)
        was_stale, was_to_confirm, was_dead = fresh.stale, fresh.to_confirm, book.overtaking.dead
        silent_s = now - book.heard_at
        fresh.judge(lines, now_ms, silent_s * 1000, self._settings.books.stale_ms)
        if book.overtaking.judge(now, silent_s) and not was_dead:
            book.withdraw = True  # `stream_dead` says why, and how often
        if fresh.to_confirm and not was_to_confirm:  # REST answers from a cache that lags
            book.snapshot_at = max(book.snapshot_at, now + self._settings.books.snapshot_delay_ms / 1000)
        if fresh.stale and not was_stale:
            book.withdraw = True
            STALE.labels(book.claim.context.name).inc()
            log.warning("book_stale", venue=book.claim.context.name, symbol=book.claim.symbol)
        elif was_stale and not fresh.stale:
            book.pace.changed()

    def _look_after(self, books: Sequence[OwnedBook], now: float, now_ms: int) -> None:
        """What time does to the books: crossed for too long, silent, in want of a snapshot."""
        for book in books:
            try:
                self._look_after_one(book, now, now_ms)
            except Exception as error:
                self._stumbled(book, error)
        for fetcher in self._fetchers.values():
            fetcher.start_busiest()
        in_sync = sum(book.showable for book in books)
        if in_sync < len(books) and now - self._told_progress_at >= PROGRESS_S:
            self._told_progress_at = now
            log.info("books_syncing", in_sync=in_sync, owned=len(books))
        self._process.details = {
            "symbols": len(books),
            "in_sync": in_sync,
            "gaps": sum(book.sync.gap_count for book in books),
        }

    def _look_after_one(self, book: OwnedBook, now: float, now_ms: int) -> None:
        book.sync.tick(now_ms)
        book.noticed()
        self._judge_age(book, now, now_ms)
        self._fetchers[book.claim.context.name].consider(book, now)
        if book.sync.state is SyncState.SYNCED:
            self.quarantine.worked(*book.claim, "fold")

    async def step(self) -> int:
        """One round: read, fold, publish, commit; the number of entries taken in."""
        began = time.monotonic()
        try:
            taken = await self._reading.round(self._round_s)
        except (RedisError, OSError):
            await self._publishing.publish(
                list(self.books.values())
            )  # what could not be read for long is withheld
            raise
        now = time.monotonic()
        now_ms = steady_ms()
        books = list(self.books.values())
        await self._lines.ask(now)
        await self._tickers.look(books, now, now_ms)
        await self._streams.look(books, now)
        if now >= self._look_after_at:
            self._look_after_at = now + LOOK_AFTER_S
            self._look_after(books, now, now_ms)
        await self._publishing.publish(books)
        for book in books:
            if book.commit_due(now) and self.books.get(book.key) is book and self.ownership.safe(book.claim):
                await self._commit(book)
                self.ownership.progress.made()
                await self._breath.taken()
        for book in await self._history.step(list(self.books.values()), now):
            self.ownership.lost(book.claim, book.token)
        self._round_s = time.monotonic() - began
        return taken + await self._reading.catch_up()

    async def _rounds(self) -> None:
        pause, waits = self._settings.books.poll_ms / 1000, Backoff("round")
        while not self._process.stop.is_set():
            try:
                await self.step()
                waits.accepted()
            except (RedisError, OSError) as error:
                self._reading.lost_a_reply()
                await asyncio.sleep(min(waits.refused(error), MOST_PAUSE_S))
            self.ownership.progress.made()
            await asyncio.sleep(pause)

    async def run(self) -> None:
        """Serve until told to stop; then commit and give everything back."""
        try:
            await self.ownership.guard(self._rounds())
        finally:
            for fetcher in self._fetchers.values():
                await fetcher.close()
            await self.ownership.release_all()
            await self._history.close()
            await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    async with Sessions(limit=4) as sessions:
        await BookWorker(process, sessions).run()
