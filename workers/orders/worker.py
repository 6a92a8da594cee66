"""The orders role: reads the streams of single orders of the symbols it owns, keeps their books, publishes, commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.errors import LeaseLost, StateUnreadable
from workers.model.level3.checkpoint import decode_orders
from workers.model.level3.sync import OrderOutcome, OrderSync
from workers.orders.book import OwnedOrders
from workers.orders.level2 import Level2Watch
from workers.orders.publishing import OrderPublishing
from workers.orders.reading import OrderReading
from workers.orders.seeds import SeedFetcher, WholeOrders
from workers.runtime.backoff import MOST_PAUSE_S, Backoff
from workers.runtime.context import venue_contexts
from workers.runtime.deadlines import Deadlines
from workers.runtime.living_lines import LivingLines
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.pulse import Breath
from workers.runtime.quarantine import Quarantine
from workers.runtime.rest import RestClient
from workers.runtime.rounds import Rounds
from workers.runtime.steady_clock import steady_ms
from workers.runtime.stream_places import StreamPlaces
from workers.runtime.tasks import seen
from workers.store.connection import connect_reader
from workers.store.keys import ORDERS, ORDERS_GROUP
from workers.store.log.streams import Delivered, GapRecord, GroupReader, record_gap
from workers.store.orders.publishing import OrderStore

log = structlog.get_logger()

LOOK_ALL_S: Final = 0.5
"""Longest pause between two rounds over all books, for what the seconds do to them and for their status."""
ALL: Final = " all"
"""The round over all, among the keys of single books, in the schedule."""

HOLES: Final = ("a message is missing", "connection")
"""Of the reasons for which a book is lost those that are a hole in its stream."""

STOLEN = Counter(
    "fleet_orders_read_elsewhere_total", "Entries of orders an earlier owner read after a takeover", ["venue"]
)
UNREADABLE = Counter(
    "fleet_orders_checkpoint_unreadable_total", "Checkpoints of orders that could not be decoded", ["venue"]
)
COMMITTED = Counter("fleet_orders_commits_total", "Checkpoints of orders stored", ["venue"])


class OrderWorker:
    """The books of orders this process owns, and the loop over them."""

    def __init__(self, process: Process, sessions: Sessions) -> None:
        self._process = process
        self._settings = settings = process.settings.orders
        self._contexts = [
            context for context in venue_contexts(process.settings) if context.venue.order_feed is not None
        ]
        self.quarantine = Quarantine(process.client, ORDERS_GROUP)
        self._reader_client = connect_reader(process.url)
        self._reader = GroupReader(self._reader_client, ORDERS_GROUP)
        self._stores = {
            context.name: OrderStore(process.client, context.keys, settings.top_entries)
            for context in self._contexts
        }
        self._seeds: dict[str, SeedFetcher | WholeOrders] = {
            context.name: SeedFetcher(
                RestClient(sessions.rest(context), process.client, context),
                self._stores[context.name],
                settings,
                lambda book: self.books.get(book.key) is book,
                self._stumbled,
            )
            if context.venue.order_feed is not None and context.venue.order_feed.seed_request is not None
            else WholeOrders(process.client)
            for context in self._contexts
        }
        self.books: dict[str, OwnedOrders] = {}
        """The books owned and recovered, by raw stream key."""
        self.ownership = Ownership(process, ORDERS_GROUP, self._contexts, self, self.quarantine)
        self._reading = OrderReading(
            self._reader,
            self.books,
            self.ownership,
            self.quarantine,
            self._take,
            self._commit,
            StreamPlaces(process.client, ORDERS_GROUP, self.quarantine),
            settings.read_count,
        )
        self._rounds = Rounds(self._reader_client, process.stop, ORDERS_GROUP, self.books, settings.gather_ms)
        self._publishing = OrderPublishing(
            process.name, self._contexts, self._stores, self.ownership, self.quarantine, self._stumbled
        )
        self._level2 = Level2Watch(self._stores, settings.compare_ms)
        self._lines = LivingLines(process.registry)
        self._deadlines = Deadlines()
        self._deadlines.set(ALL, 0.0)
        self._breath = Breath()
        self._committing = Backoff("commit")
        self._looking: set[asyncio.Task[None]] = set()

    async def recover(self, claim: Claim, token: int) -> None:
        """Take up a book: checkpoint, entries pending after it, then the new ones; REST is not asked."""
        feed, name = claim.context.venue.order_feed, claim.context.name
        if feed is None:
            return
        sync, folded = OrderSync(claim.symbol, feed.rules, self._settings.max_orders), b"0-0"
        try:
            stored = await self._stores[name].checkpoint(claim.symbol)
            if stored is not None:
                key = claim.context.keys.orders_checkpoint(claim.symbol)
                found, stream_id = decode_orders(stored, feed.rules, self._settings.max_orders, key)
                if found.symbol == claim.symbol:
                    sync, folded = found, stream_id.encode()
        except StateUnreadable as error:
            UNREADABLE.labels(name).inc()
            log.error("orders_checkpoint_unreadable", venue=name, symbol=claim.symbol, error=str(error))
        book = OwnedOrders(claim, token, feed, sync, self._settings)
        book.last_stream_id = book.before_last = folded
        book.heard_at -= max(0, steady_ms() - sync.last_us // 1000) / 1000 if sync.synced else 0.0
        await self._reading.adopt(book)
        self.books[book.key] = book
        book.wake = partial(self._rounds.touch, book.key)
        book.wake()

    async def hand_over(self, claim: Claim) -> None:
        """Commit a last checkpoint before the lease is given back."""
        book = self.books.get(claim.context.keys.raw(claim.symbol, ORDERS))
        if book is None:
            return
        await self._publishing.publish([book], last=True)
        if not book.looked_into:
            await self._commit(book)
        self._drop(book)

    def forget(self, claim: Claim) -> None:
        """Drop a book that is another worker's now."""
        book = self.books.get(claim.context.keys.raw(claim.symbol, ORDERS))
        if book is not None:
            self._drop(book)

    def retired(self, claim: Claim) -> None:
        """Nothing more to forget: the keeper lets the keys expire."""

    def _drop(self, book: OwnedOrders) -> None:
        self.books.pop(book.key, None)
        self._deadlines.drop(book.key)
        self.quarantine.forget(*book.claim)
        book.forget()

    def _take(self, book: OwnedOrders, entries: Sequence[Delivered]) -> None:
        for entry in entries:
            was_synced, before = book.sync.synced, book.last_stream_id
            try:
                outcome = book.take(entry)
            except Exception as error:
                self._stumbled(book, error)
                continue
            if outcome is OrderOutcome.LOST and was_synced:
                self._look_into(book, before, entry.stream_id)

    def _stumbled(self, book: OwnedOrders, error: Exception) -> None:
        """Our own code failed over one book: it begins anew, and the others go on."""
        self.quarantine.stumbled(*book.claim, "fold", error)
        book.lose("failed")

    def _look_into(self, book: OwnedOrders, before: bytes, after: bytes) -> None:
        """A book was lost over an entry: find out if the log has what is missing, and write the loss down."""
        book.looked_into = True
        task = seen(
            asyncio.create_task(self._after_loss(book, before, after), name=f"orders: loss of {book.key}")
        )
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _after_loss(self, book: OwnedOrders, before: bytes, after: bytes) -> None:
        """Where an earlier owner that was not gone yet was given an entry, the book goes on from its checkpoint."""
        reason, keys = book.sync.reason, book.claim.context.keys
        try:
            following = await self._reader.range(book.key, before, 1) if before != b"0-0" else []
            if following and following[0].stream_id != after and self.books.get(book.key) is book:
                STOLEN.labels(book.claim.context.name).inc()
                log.warning("orders_read_elsewhere", symbol=book.claim.symbol, after=before.decode())
                # recovered from its checkpoint when it is taken again, at once
                self.ownership.lost(book.claim, book.token)
                return
            if reason not in HOLES:
                return
            first, last = (int(entry.partition(b"-")[2]) for entry in (before, after))
            record = GapRecord(ORDERS, first, last, reason, "resync")
            await record_gap(
                self._process.client,
                keys.gaps(book.claim.symbol),
                record,
                self._process.settings.streams.gaps,
            )
        except (RedisError, OSError) as error:
            log.error("gap_not_recorded", symbol=book.claim.symbol, error=str(error))
        finally:
            book.looked_into = False

    async def _commit(self, book: OwnedOrders) -> None:
        name, symbol = book.claim.context.name, book.claim.symbol
        if not self._committing.due(name, symbol):
            return
        try:
            checkpoint, ids = book.checkpoint()
        except Exception as error:
            self._stumbled(book, error)
            return
        try:
            await self._stores[name].commit(symbol, book.token, checkpoint, ids)
        except LeaseLost:
            self.ownership.lost(book.claim, book.token)
            return
        except RedisError as error:
            book.changed = True
            self._committing.refused(error, name, symbol)
            return
        self._committing.accepted(name, symbol)
        COMMITTED.labels(name).inc()
        book.committed(ids, time.monotonic())

    async def step(self, ready: Collection[str] | None = None) -> int:
        """One round: read, fold, publish, commit; the number of entries taken in.

        Args:
            ready: the streams to be read; None: all. Now and then all books are seen to.
        """
        began = time.monotonic()
        due = set(self._deadlines.due(began))
        at_all = ALL in due
        if at_all:
            self._deadlines.set(ALL, began + LOOK_ALL_S)
        try:
            taken = await self._reading.round(None if at_all else ready)
        except (RedisError, OSError):
            await self._publishing.publish(self.books.values())  # what could not be read for long is withheld
            raise
        now = time.monotonic()
        if at_all:
            await self._lines.ask(now)
        concerned = self.books.keys() if at_all or ready is None else due.union(taken, ready)
        books = [self.books[key] for key in concerned if key in self.books]
        await self._level2.look(books, now)
        self._look_after(books, now)
        await self._publishing.publish(books)
        for book in books:
            if book.commit_due(now) and self.books.get(book.key) is book and self.ownership.safe(book.claim):
                await self._commit(book)
                self.ownership.progress.made()
                await self._breath.taken()
        self._schedule(books)
        if at_all:
            self._process.details = {
                "symbols": len(self.books),
                "in_sync": sum(book.sync.synced for book in self.books.values()),
                "orders": sum(len(book.sync.book) for book in self.books.values()),
            }
        return sum(taken.values())

    def _look_after(self, books: Iterable[OwnedOrders], now: float) -> None:
        """What the seconds and the others do to books: seeds, living lines, counts."""
        for book in books:
            name = book.claim.context.name
            book.alive = bool(self._lines.of(name, book.claim.symbol))
            self._seeds[name].consider(book, now)
            book.tell_counts()
            if book.sync.synced:
                self.quarantine.worked(*book.claim, "fold")

    def _schedule(self, books: Iterable[OwnedOrders]) -> None:
        """Have the last change of each book published when its interval is over."""
        now = time.monotonic()
        for book in books:
            if book.pace.waiting and self.books.get(book.key) is book and not book.withheld(now):
                self._deadlines.set(book.key, max(book.pace.due_at_ms / 1000, now + 0.01))

    async def _go_round(self) -> None:
        waits = Backoff("round")
        while not self._process.stop.is_set():
            ready = await self._rounds.next(self._deadlines.next)
            try:
                taken = await self.step(ready)
                waits.accepted()
            except (RedisError, OSError) as error:
                self._reading.lost_a_reply()
                self._deadlines.set(ALL, 0.0)
                await asyncio.sleep(min(waits.refused(error), MOST_PAUSE_S))
            else:
                self._rounds.took(taken, more=self._reading.has_more)
            self.ownership.progress.made()

    async def run(self) -> None:
        """Serve until told to stop; then commit and give everything back."""
        try:
            await self.ownership.guard(self._go_round())
        finally:
            for seeds in self._seeds.values():
                await seeds.close()
            await self.ownership.release_all()
            await self._rounds.close()
            await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    async with Sessions(limit=4) as sessions:
        await OrderWorker(process, sessions).run()
