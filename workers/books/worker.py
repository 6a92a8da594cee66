"""The books role: reads the depth streams of the symbols it owns, keeps their books, publishes and commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp
import structlog
from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError, ResponseError

from workers.backoff import Backoff
from workers.books.book import OwnedBook
from workers.books.freshness import LivingLine
from workers.books.history import HistoryWriter
from workers.books.snapshots import SnapshotFetcher
from workers.books.tickers import TickerWatch
from workers.context import venue_contexts
from workers.errors import LeaseLost, StateUnreadable
from workers.model.sync import BookSync, Outcome, SyncState
from workers.ownership import Claim, Ownership
from workers.process import Process
from workers.rest import RestClient
from workers.steady_clock import steady_ms
from workers.store.books import GROUP, BookStore, Publication
from workers.store.connection import connect_reader
from workers.store.keys import DEPTH
from workers.store.rebuilding import begin
from workers.store.refusals import refusal_of
from workers.store.streams import Delivered, GapRecord, GroupReader, record_gap
from workers.tasks import end

log = structlog.get_logger()

PROGRESS_S = 5.0
LOOK_AFTER_S = 0.02
"""Pause between two looks at books to which nothing happened: hundreds of them cost a worker a millisecond."""

PUBLISHED = Counter("fleet_published_total", "Top-of-book payloads published", ["venue"])
WITHDRAWN = Counter("fleet_withdrawn_total", "Books withdrawn because they left sync", ["venue"])
GAPS = Counter("fleet_depth_gaps_total", "Holes in depth streams", ["venue"])
UNREADABLE = Counter("fleet_checkpoint_unreadable_total", "Checkpoints that could not be decoded")
STALE = Counter(
    "fleet_books_stale_total", "Books withheld because their feed was silent and not alive", ["venue"]
)
STOLEN = Counter(
    "fleet_entries_read_elsewhere_total", "Entries an earlier owner read after a takeover", ["venue"]
)
COMMITTED = Counter("fleet_book_commits_total", "Checkpoints stored")
LATENCY = Histogram(
    "fleet_publish_latency_seconds",
    "From the arrival of a change to its publication",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 5),
)
END_TO_END = Histogram(
    "fleet_end_to_end_seconds",
    "From the exchange's event time of a change to its publication",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10),
)

Observer = Callable[[OwnedBook], None]


class BookWorker:
    """The books this process owns, and the loop over them.

    Args:
        observer: called after each event applied (the replay compares there).
    """

    def __init__(
        self, process: Process, session: aiohttp.ClientSession, observer: Observer | None = None
    ) -> None:
        self._process = process
        self._settings = process.settings
        self._observer = observer
        self._contexts = venue_contexts(process.settings)
        self._reader_client = connect_reader(process.url)
        self._reader = GroupReader(self._reader_client, GROUP)
        kept = process.settings.streams.top_entries
        self._stores = {
            context.name: BookStore(process.client, context.keys, kept) for context in self._contexts
        }
        self._fetchers = {
            context.name: SnapshotFetcher(
                RestClient(session, process.client, context),
                self._stores[context.name],
                process.settings,
                lambda book: self.books.get(book.key) is book,
            )
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
        )
        self.books: dict[str, OwnedBook] = {}
        """The books owned and recovered, by raw stream key."""
        self.ownership = Ownership(process, "books", self._contexts, self)
        self._reread = False
        self._publishing, self._committing = Backoff("publish"), Backoff("commit")
        self._alive: dict[str, list[LivingLine]] = {}
        """By venue."""
        self._asked_lines_at = 0.0
        self._look_after_at = 0.0
        self._told_progress_at = 0.0
        self._recording: set[asyncio.Task[None]] = set()

    async def recover(self, claim: Claim, token: int) -> None:
        """Take up a book: checkpoint, entries pending after it, then the new ones; REST is not asked."""
        settings = self._settings.books
        key = claim.context.keys.raw(claim.symbol, DEPTH)
        await self._reader.ensure(key)
        sync = BookSync(
            claim.symbol,
            claim.context.venue.rule,
            max_levels=settings.levels,
            crossed_limit_ms=settings.crossed_ms,
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
        await self._take_pending(book, b"0")
        book.recovered(steady_ms())
        self.books[key] = book
        self._history.adopt(book)

    async def _take_pending(self, book: OwnedBook, after: bytes) -> None:
        while entries := await self._reader.pending(book.key, after, 500):
            self._take(book, entries)
            after = entries[-1].stream_id

    async def hand_over(self, claim: Claim) -> None:
        """Commit a last checkpoint before the lease is given back."""
        book = self.books.get(claim.context.keys.raw(claim.symbol, DEPTH))
        if book is None:
            return
        await self._publish([book], last=True)
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
        book.forget()

    def _take(self, book: OwnedBook, entries: Sequence[Delivered]) -> None:
        now_ms = steady_ms()
        for entry in entries:
            outcome = book.take(entry, now_ms)
            if outcome is Outcome.GAP:
                self._gap(book)
            elif self._observer and outcome in (Outcome.APPLIED, Outcome.SYNCED):
                self._observer(book)

    def _gap(self, book: OwnedBook) -> None:
        name, symbol = book.claim.context.name, book.claim.symbol
        gap = book.sync.gap
        expected, got = (gap.expected, gap.got) if gap else (0, 0)
        GAPS.labels(name).inc()
        log.warning("depth_gap", venue=name, symbol=symbol, expected=expected, got=got)
        record = GapRecord(DEPTH, expected, got, book.sync.reason, "resync")
        task = asyncio.create_task(self._after_gap(book, book.before_last, book.last_stream_id, record))
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
                self.ownership.lost(
                    book.claim
                )  # recovered from its checkpoint when it is taken again, at once
                return
            book.lost = book.sync.state is not SyncState.SYNCED
            gaps = book.claim.context.keys.gaps(book.claim.symbol)
            await record_gap(self._process.client, gaps, record, self._settings.streams.gaps)
        except (RedisError, OSError) as error:
            log.error("gap_not_recorded", symbol=book.claim.symbol, first=record.first, error=str(error))

    async def _read(self) -> int:
        """Read what is new in all streams at once; the number of entries taken in."""
        if self._reread:
            for book in list(self.books.values()):
                await self._take_pending(book, book.last_stream_id)
            self._reread = False
        taken, keys = 0, list(self.books)
        try:
            found = await self._reader.new(keys, self._settings.books.read_count)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            log.error("streams_lost", error=str(error))
            for key in list(self.books):
                await self._reader.ensure(key)
            return 0
        for key, entries in found.items():
            if (owned := self.books.get(key)) is not None:
                self._take(owned, entries)
                taken += len(entries)
        for key in keys:
            if (owned := self.books.get(key)) is not None:
                owned.read = True
        return taken

    async def _publish(self, books: Sequence[OwnedBook], *, last: bool = False) -> None:
        """Write what is due; with `last`, also a change whose interval is not over: nobody would write it later."""
        now = time.monotonic()
        owner = self._process.name
        for context in self._contexts:
            if not self._publishing.due(context.name):
                continue
            publications, published = [], []
            for book in books:
                if not book.decided:
                    continue
                status_due = now - book.status_at >= 1.0
                if not (status_due or book.withdraw or book.pace.waiting):
                    continue  # nothing happened to it
                if book.claim.context.name != context.name or not self.ownership.safe(book.claim):
                    continue
                showable = book.showable
                if book.published and not showable:
                    book.withdraw = True
                due = showable and (book.pace.due(now * 1000) or (last and book.pace.waiting))
                if not (due or status_due or book.withdraw):
                    continue
                payload = book.top() if due else None
                status = book.status(owner) if status_due or book.withdraw else {}
                withdraw = book.withdraw and not showable
                publications.append(Publication(book.claim.symbol, book.token, payload, withdraw, status))
                published.append((book, payload is not None, withdraw, bool(status)))
            try:
                signals = await self._stores[context.name].publish(publications)
            except RedisError as error:
                if not refusal_of(error).of_server:
                    raise
                self._publishing.refused(error, context.name)
                continue
            self._publishing.accepted(context.name)
            self._note_published(published, now)
            for symbol in signals.fenced:
                self.ownership.lost(Claim(context, symbol))
            for symbol, reason in signals.distrusted.items():
                if (distrusted := self.books.get(context.keys.raw(symbol, DEPTH))) is not None:
                    distrusted.sync.lose(reason, steady_ms())
                    distrusted.noticed()

    def _note_published(self, published: Sequence[tuple[OwnedBook, bool, bool, bool]], now: float) -> None:
        wall = time.time()
        for book, shown, withdrawn, told in published:
            if shown:
                book.pace.published(now * 1000)
                book.published = True
                PUBLISHED.labels(book.claim.context.name).inc()
                if book.received_us:  # not known of a book just restored, until its first event
                    LATENCY.observe(max(0.0, wall - book.received_us / 1e6))
                END_TO_END.observe(max(0.0, wall - book.sync.last_event_time / 1e3))
            elif withdrawn:
                book.published = False
                WITHDRAWN.labels(book.claim.context.name).inc()
            # a snapshot that came while the server was asked may have taken the book out of sync
            book.withdraw = book.withdraw and not withdrawn and not book.showable
            if told:
                book.status_at = now

    async def _commit(self, book: OwnedBook) -> None:
        (checkpoint, ids), lost, unsaved = book.checkpoint(), book.lost, book.unsaved
        store, place = self._stores[book.claim.context.name], (book.claim.context.name, book.claim.symbol)
        if not self._committing.due(*place):
            return
        try:
            await store.commit(book.claim.symbol, book.token, DEPTH, checkpoint, ids)
        except LeaseLost:
            self.ownership.lost(book.claim)
            return
        except RedisError as error:
            self._committing.refused(error, *place)
            return
        self._committing.accepted(*place)
        COMMITTED.inc()
        book.committed(ids, time.monotonic(), told_loss=lost, told_snapshot=unsaved)

    async def _ask_lines(self, now: float) -> None:
        """Learn about once a second which venues have a line whose sockets are all alive."""
        if now - self._asked_lines_at < 1.0:
            return
        self._asked_lines_at = now
        lines = await self._process.registry.workers(("ingest-a", "ingest-b"))
        self._alive = {}
        for line in lines:
            living = LivingLine(int(line.get("beat_ms", 0)), int(line.get("since_ms", 0)))
            for name in line.get("alive", "").split(","):
                self._alive.setdefault(name, []).append(living)

    def _judge_age(self, book: OwnedBook, now: float, now_ms: int) -> None:
        """Withhold a book that may be outdated, or show it again."""
        fresh, lines = book.freshness, self._alive.get(book.claim.context.name, [])
        was_stale, was_to_confirm = fresh.stale, fresh.to_confirm
        fresh.judge(lines, now_ms, (now - book.heard_at) * 1000, self._settings.books.stale_ms)
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
            book.sync.tick(now_ms)
            book.noticed()
            self._judge_age(book, now, now_ms)
            self._fetchers[book.claim.context.name].consider(book, now)
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

    async def step(self) -> int:
        """One round: read, fold, publish, commit; the number of entries taken in."""
        taken = await self._read()
        now = time.monotonic()
        now_ms = steady_ms()
        books = list(self.books.values())
        await self._ask_lines(now)
        await self._tickers.look(books, now, now_ms)
        if now >= self._look_after_at:
            self._look_after_at = now + LOOK_AFTER_S
            self._look_after(books, now, now_ms)
        await self._publish(books)
        for book in books:
            if book.commit_due(now) and self.books.get(book.key) is book and self.ownership.safe(book.claim):
                await self._commit(book)
        for claim in await self._history.step(list(self.books.values()), now):
            self.ownership.lost(claim)
        return taken

    async def run(self) -> None:
        """Serve until told to stop; then commit and give everything back."""
        leasing = asyncio.create_task(self.ownership.run())
        pause = self._settings.books.poll_ms / 1000
        try:
            while not self._process.stop.is_set():
                if leasing.done():
                    leasing.result()  # an error nobody foresaw: without leases this process is of no use
                try:
                    await self.step()
                except (RedisError, OSError) as error:
                    log.warning("redis_trouble", role="books", error=str(error))
                    self._reread = True  # a lost reply may have carried entries: they are pending now
                    await asyncio.sleep(0.2)
                await asyncio.sleep(pause)
        finally:
            await end([leasing])
            for fetcher in self._fetchers.values():
                await fetcher.close()
            await self.ownership.release_all()
            await self._history.close()
            await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    connector = aiohttp.TCPConnector(limit=4)
    async with aiohttp.ClientSession(connector=connector) as session:
        await BookWorker(process, session).run()
