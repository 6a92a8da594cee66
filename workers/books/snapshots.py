"""Asking REST for the snapshots that books want: paced per symbol, within the fleet's budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
from workers.errors import BadNumber, LeaseLost, MalformedFrame, RateLimited, RestError
from workers.model.books.reference import Reference
from workers.model.books.sync import SAME_ID_MS, SequenceRule, SnapshotOutcome, SyncState
from workers.model.events import Snapshot
from workers.runtime.rest import RestClient
from workers.runtime.steady_clock import steady_ms
from workers.runtime.tasks import end, seen
from workers.settings.schema import Settings
from workers.store.books.publishing import BookStore
from workers.store.fleet.budget import Urgency
from workers.venues.entries import depth_of

log = structlog.get_logger()

REFRESH_CHECK_S = 0.25
CROWD = 4
"""When all books that never had a snapshot need more than one part in so many of what may be asked for in a minute,
each begins with a small one."""
SMALL = 3
"""So many times cheaper a small one has to be."""

TAKEN = (SnapshotOutcome.ACCEPTED, SnapshotOutcome.HELD, SnapshotOutcome.REFRESHED)
"""What makes a book as deep as the snapshot, or will when the events have reached it."""

SNAPSHOTS = Counter(
    "fleet_snapshots_total", "Snapshots asked for, by what became of them", ["venue", "outcome"]
)
FORWARDED = Counter(
    "fleet_snapshots_forwarded_total",
    "Snapshots older than the buffer, brought forward over the log",
    ["venue"],
)


class SnapshotFetcher:
    """Fetches snapshots for the books of one venue.

    Lost books, and those whose market nears the edge of what they know, ask at once. Of the books that were never
    in sync one at a time waits for the budget, always the busiest: that is where a fleet that starts is missed most.
    Where many wait, each begins with as few levels as a comparison has, which is enough to show it. These shallow books
    ask for all their levels one at a time, first the one nearest to its edge, of the weight that is not needed to show
    the books that are not shown yet, also those whose stream has been quiet so far.

    Args:
        still_owned: False once a book is no longer this worker's; its answer is then thrown away.
        never_synced: how many books of the venue, of all workers, were never in sync.
    """

    def __init__(
        self,
        rest: RestClient,
        store: BookStore,
        settings: Settings,
        still_owned: Callable[[OwnedBook], bool],
        failed: Callable[[OwnedBook, Exception], None],
        never_synced: Callable[[], int],
    ) -> None:
        self._failed = failed
        self._count_never_synced = never_synced
        self._rest = rest
        self._store = store
        self._books = settings.books
        self._kept = settings.streams.snapshots
        self._still_owned = still_owned
        self._tasks: set[asyncio.Task[None]] = set()
        self._never_synced: list[OwnedBook] = []
        self._shallow: list[OwnedBook] = []
        self._crowded = False
        """Whether many waited for their first snapshot when one was started last."""
        self._in_turn: OwnedBook | None = None
        self._deepened: OwnedBook | None = None
        """The shallow one that waits for the budget: it keeps none from its turn."""

    def consider(self, book: OwnedBook, now: float) -> None:
        """Start a request if the book wants a snapshot and its pause is over (monotonic seconds).

        One that was never in sync waits for `start_busiest`.
        """
        to_compare = book.sync.wants_comparison or book.freshness.to_confirm
        if book.fetching or not (book.heard or to_compare) or now < book.snapshot_at:
            return
        if not book.sync.wants_snapshot:
            if book.sync.state is not SyncState.SYNCED:
                return
            if not to_compare and book.shallow:
                self._shallow.append(book)
                return
            if not to_compare and not self._near_edge(book, now):
                return
            if not book.sync.refreshing:  # else an answer that was too old is followed by one that is not
                book.sync.begin_refresh()
        elif not book.snapshot_at and self._books.snapshot_delay_ms:
            # REST answers from a cache that lags the stream: asked at once, it would be older than our first event
            book.snapshot_at = now + self._books.snapshot_delay_ms / 1000
            return
        if book.sync.sync_count:
            self._start(book)
        else:
            self._never_synced.append(book)

    def start_busiest(self) -> None:
        """Of the books considered that were never in sync, start the busiest, unless one waits for the budget; where
        there is none, a shallow one."""
        if self._in_turn is None and self._never_synced:
            self._crowded = self._is_crowd(self._never_synced[0], self._count_never_synced())
            self._in_turn = max(self._never_synced, key=lambda book: len(book.delivery.pending))
            self._start(self._in_turn)
        elif self._in_turn is None and self._deepened is None and self._shallow:
            self._deepened = min(self._shallow, key=lambda book: book.sync.book.edge_distance())
            if not self._deepened.sync.refreshing:
                self._deepened.sync.begin_refresh()
            self._start(self._deepened)
        self._never_synced.clear()
        self._shallow.clear()

    def _is_crowd(self, book: OwnedBook, many: int) -> bool:
        """Whether so many are not shown that each shall begin with a small snapshot, if that is much cheaper; what was
        a crowd is one to its last book."""
        context, symbol = book.claim
        whole = context.venue.snapshot_request(symbol)
        small = context.venue.snapshot_request(symbol, self._books.compared_levels)
        if whole is None or small is None or small.weight * SMALL > whole.weight:
            return False
        enough = many * whole.weight * CROWD > context.venue.facts.weight_a_minute
        return enough or (self._crowded and many > 1)

    def _spared_by(self, book: OwnedBook) -> int:
        """The weight that a shallow book leaves: what shows those that are not shown yet, a first snapshot and its
        comparison each.

        Raises:
            LeaseLost: it is another's by now; a ban may last for days.
        """
        if not self._still_owned(book):
            raise LeaseLost(book.claim.symbol, book.token)
        context, symbol = book.claim
        small = context.venue.snapshot_request(symbol, self._books.compared_levels)
        return 2 * small.weight * self._count_never_synced() if small and self._deepened is book else 0

    def _end_turn(self, book: OwnedBook) -> None:
        if self._in_turn is book:
            self._in_turn = None
        if self._deepened is book:
            self._deepened = None

    def _start(self, book: OwnedBook) -> None:
        book.fetching = True
        task = seen(asyncio.create_task(self._fetch(book), name=f"books: snapshot of {book.claim.symbol}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _near_edge(self, book: OwnedBook, now: float) -> bool:
        """Whether the market has come so near an end of the known range that it must be moved."""
        if now < book.refresh_check_at:
            return False
        book.refresh_check_at = now + REFRESH_CHECK_S
        return book.sync.book.edge_distance() < self._books.refresh_below

    async def _fetch(self, book: OwnedBook) -> None:
        name, symbol = book.claim.context.name, book.claim.symbol
        outcome = "failed"
        wait_s = book.snapshot_pauses.next_s
        try:
            outcome = await self._ask(book)
        except RateLimited as error:
            wait_s = error.retry_after_s
            log.warning("snapshot_failed", venue=name, symbol=symbol, error=str(error))
        except LeaseLost:
            outcome = "not owned"
        except (RestError, MalformedFrame, BadNumber) as error:
            log.warning("snapshot_failed", venue=name, symbol=symbol, error=str(error))
        except (RedisError, OSError) as error:
            log.warning("snapshot_failed", venue=name, symbol=symbol, error=str(error))
        except Exception as error:  # a reply, or a book, that nobody foresaw
            if self._still_owned(book):
                self._failed(book, error)
        finally:
            self._end_turn(book)
            book.fetching = False
            if outcome in ("accepted", "same") and book.sync.wants_comparison:
                # in a crowd a copy of the first one would cost another book its turn: after this time it is none
                least_ms = SAME_ID_MS if book.shallow else 0
                wait_s = max(self._books.compare_after_ms, least_ms) / 1000
            # it may have been lost meanwhile, or by this very answer
            book.snapshot_at = max(book.snapshot_at, time.monotonic() + wait_s)
            if outcome in ("accepted", "refreshed", "agreed", "same"):
                book.snapshot_pauses.reset()
            else:
                book.snapshot_pauses.take()
        SNAPSHOTS.labels(name, outcome).inc()

    async def _ask(self, book: OwnedBook) -> str:
        venue, symbol, sync = book.claim.context.venue, book.claim.symbol, book.sync
        begins_shallow = self._crowded and self._in_turn is book and not sync.sync_count
        levels = self._books.compared_levels if sync.wants_comparison or begins_shallow else None
        # a comparison costs little and keeps a book from being shown: it goes before what may wait
        broken = sync.wants_comparison or (sync.sync_count and sync.wants_snapshot)
        usual = Urgency.DEPTH if book.shallow else Urgency.START
        body = await self._rest.get(
            venue.snapshot_request(symbol, levels),
            Urgency.BROKEN if broken else usual,
            self._books.snapshot_timeout_s,
            lambda: self._end_turn(book),
            lambda: self._spared_by(book),
        )
        snapshot = venue.snapshot(symbol, body, levels)
        snapshot.partial = snapshot.partial and not begins_shallow
        if not self._still_owned(book):
            return "not owned"
        bid, ask = (side[0] if side else None for side in (snapshot.bids, snapshot.asks))
        book.seen_ahead(snapshot.last_update_id, bid, ask, "a snapshot is ahead")
        outcome = sync.on_snapshot(snapshot, steady_ms())
        if outcome is SnapshotOutcome.TOO_OLD:
            outcome = await self._over_the_log(book, snapshot)
        if outcome in TAKEN:
            book.shallow = begins_shallow or (book.shallow and levels is not None)
        book.noticed()
        if outcome in (SnapshotOutcome.REFRESHED, SnapshotOutcome.AGREED):
            book.borne_out()
        why = {"error": str(sync.bad_number)} if outcome is SnapshotOutcome.UNUSABLE else {}
        log.info("snapshot", venue=venue.name, symbol=symbol, u=snapshot.last_update_id, levels=snapshot.limit,
                 outcome=outcome.name, **why)  # fmt: skip
        # whoever reads a kept one takes it for as many levels as are always asked for
        if outcome is not SnapshotOutcome.TOO_OLD and levels is None:
            await self._store.keep_snapshot(symbol, body, time.time_ns() // 1000, self._kept)
        return outcome.name.lower()

    async def _over_the_log(self, book: OwnedBook, snapshot: Snapshot) -> SnapshotOutcome:
        """Use a snapshot that is older than the events the book has buffered: the log has those between."""
        venue, symbol, sync = book.claim.context.venue, book.claim.symbol, book.sync
        reference = Reference(snapshot, sync.rule, sync.book.max_levels)
        async for page in self._store.log_from(symbol, snapshot.last_update_id):
            for entry in page:
                try:
                    problem = reference.advance(depth_of(venue, symbol, entry))
                except MalformedFrame:
                    if sync.rule is SequenceRule.RISING:
                        return SnapshotOutcome.TOO_OLD
                    continue  # if it mattered, the next one does not follow
                usable = sync.oldest_usable_id
                if problem or usable is None or not self._still_owned(book):
                    return SnapshotOutcome.TOO_OLD
                if reference.update_id >= usable:
                    FORWARDED.labels(venue.name).inc()
                    return sync.on_reference(reference, steady_ms(), partial=snapshot.partial)
            await asyncio.sleep(0)  # the books have their turn
        return SnapshotOutcome.TOO_OLD

    async def close(self) -> None:
        """Give up what is under way."""
        await end(list(self._tasks))
