"""The continuous audit: one book after the other is compared with a REST snapshot, within a share of the weight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop
from operator import itemgetter
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError, ResponseError

from workers.errors import MalformedFrame, RateLimited, RestError, StateUnreadable, WireError
from workers.keeper.audit_pace import AuditPace
from workers.model.books.audit import AuditOutcome, Confirmation, compare_checkpoint, differs
from workers.model.books.checkpoint import Checkpoint
from workers.model.books.sync import SyncState
from workers.model.events import DepthEvent, Snapshot
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.dead_streams import revive
from workers.runtime.process import Process
from workers.runtime.quarantine import Quarantine
from workers.runtime.rest import RestClient
from workers.runtime.steady_clock import steady_ms
from workers.runtime.tasks import seen
from workers.settings.schema import Settings
from workers.store.books.audits import Audit, AuditStore, LastAudit
from workers.store.books.publishing import BookStore
from workers.store.fleet.budget import Urgency
from workers.store.keys import DEPTH
from workers.store.log.streams import Delivered
from workers.store.refusals import refusal_of
from workers.venues.entries import depth_of

log = structlog.get_logger()

AUDITS = Counter("fleet_audits_total", "Audits by what they found", ["venue", "outcome"])
MISMATCHED = Counter(
    "fleet_audit_mismatched_levels_total", "Levels that differed from the exchange's", ["venue"]
)
AGE = Gauge("fleet_audit_age_seconds", "Time since the longest uncompared book was compared", ["venue"])

DISTRUST: Final = "audit mismatch"
STREAM_BEHIND: Final = "stream behind"
STREAM_DEAD: Final = "stream dead"
STEP_S: Final = 0.25
POLL_S: Final = 0.25
RETRY_S: Final = 5.0
"""Until a book that was not in sync is looked at again."""
AT_ONCE: Final = 8
NEVER: Final = LastAudit(0, "")
AUDIT: Final = "audit"
"""The work, as the quarantine knows it."""
_LEVELS: Final = {
    AuditOutcome.MATCH: "info",
    AuditOutcome.UNKNOWN: "info",
    AuditOutcome.UNCONFIRMED: "warning",
    AuditOutcome.MISMATCH: "error",
}


@dataclass(eq=False)
class _Audited:
    """One symbol and its place in the round."""

    context: VenueContext
    symbol: str
    compared_at: float
    """Monotonic seconds; at first the start of the keeper."""
    tried_ms: int = 0
    due: float = 0.0
    hurried: bool = False
    """To be confirmed: before all others."""
    running: bool = False
    told: tuple[AuditOutcome, str] | None = None
    """The last outcome and reason."""
    confirmation: Confirmation = field(default_factory=Confirmation)


_Queue = list[tuple[bool, int, int, _Audited]]
"""Books by: whether they may wait, when they were tried last, their place in the list."""


class Auditor:
    """Audits every symbol of every venue, the longest unaudited first, never one twice at once.

    Args:
        rest: by venue.
    """

    def __init__(
        self, process: Process, contexts: list[VenueContext], rest: Mapping[str, RestClient]
    ) -> None:
        self._process = process
        self._settings: Settings = process.settings
        self._keeper = process.settings.keeper
        self._rest = rest
        kept, top = self._keeper.audits_kept, process.settings.streams.top_entries
        self._stores = {one.name: AuditStore(process.client, one.keys, kept) for one in contexts}
        self._books = {one.name: BookStore(process.client, one.keys, top) for one in contexts}
        self._limits = {
            one.name: one.settings.weight_per_minute or one.venue.facts.weight_a_minute for one in contexts
        }
        self._paces = {one.venue.pool: AuditPace() for one in contexts}
        self._contexts = [context for context in contexts if context.venue.facts.second_source == "rest"]
        now = time.monotonic()
        self._audited = [_Audited(one, symbol, now) for one in self._contexts for symbol in one.symbols]
        """Those followed, as of the last round."""
        self._quarantine = Quarantine(process.client, "keeper")
        self._tasks: set[asyncio.Task[None]] = set()
        self._loaded = False
        self.counts = dict.fromkeys(AuditOutcome, 0)
        self._waits = Backoff("audit")

    def learned(self, context: VenueContext, limit: int) -> None:
        """The exchange told its request-weight limit; one fixed by the settings stands instead."""
        self._limits[context.name] = context.settings.weight_per_minute or limit

    @property
    def details(self) -> dict[str, str | int | float]:
        """What the keeper's heartbeat says of the audits."""
        return {f"audits_{outcome.value}": count for outcome, count in self.counts.items()}

    async def run(self) -> None:
        """Audit until told to stop; at once over if the settings want no audits."""
        try:
            while self._keeper.audit_s and not self._process.stop.is_set():
                try:
                    await self.step(time.monotonic())
                    self._waits.accepted()
                except (RedisError, OSError) as error:
                    self._waits.refused(error)
                await self._process.sleep(STEP_S)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def step(self, now: float) -> None:
        """One round (monotonic seconds): begin the audits that are due, tell how old the oldest is."""
        if not self._loaded:
            await self._load(now)
        self._follow(now)
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()  # an error nobody foresaw
        agenda = self._agenda(now)
        while len(self._tasks) < AT_ONCE and (book := self._next(agenda, now)) is not None:
            try:
                if await self._stores[book.context.name].state(book.symbol) != SyncState.SYNCED.value:
                    await self._not_in_sync(book, now)
                    continue
            except ResponseError as error:
                await self._held_back(book, error)
                continue
            book.running = True
            self._paces[book.context.venue.pool].asking()
            self._tasks.add(
                seen(asyncio.create_task(self._audit(book), name=f"keeper: audit of {book.symbol}"))
            )
        for context in self._contexts:
            ages = [now - one.compared_at for one in self._audited if one.context.name == context.name]
            AGE.labels(context.name).set(max(ages, default=0.0))

    async def _load(self, now: float) -> None:
        """Go on where the last keeper stopped."""
        now_ms = int(time.time() * 1000)
        found: dict[tuple[str, str], LastAudit] = {}
        for context in self._contexts:
            last = await self._stores[context.name].last_audits(context.symbols)
            found |= {(context.name, symbol): one for symbol, one in last.items()}
        for book in self._audited:
            # not found: given up since, or taken up since and never audited
            last_ms, outcome = found.get((book.context.name, book.symbol), NEVER)
            ago_s = max(0, now_ms - last_ms) / 1000
            book.tried_ms = last_ms
            if last_ms and outcome != AuditOutcome.UNKNOWN.value:
                book.due = now - ago_s + self._keeper.audit_s
                book.compared_at = now - ago_s
        self._loaded = True

    def _follow(self, now: float) -> None:
        """Take up symbols that came to be followed since, and drop those that are followed no more."""
        known = {(one.context.name, one.symbol) for one in self._audited}
        self._audited = [one for one in self._audited if one.symbol in one.context.symbols]
        self._audited += [
            _Audited(context, symbol, now)
            for context in self._contexts
            for symbol in context.symbols
            if (context.name, symbol) not in known
        ]

    def _weight(self, book: _Audited) -> tuple[int, float]:
        """What an audit costs, and the weight all audits of its pool may use in a minute."""
        request = book.context.venue.snapshot_request(book.symbol)
        return request.weight if request else 0, self._keeper.audit_weight_share * self._limits[
            book.context.name
        ]

    def _agenda(self, now: float) -> list[_Queue]:
        """What is due, venue by venue, each as a heap of which the next one is the first. O(symbols), once a round."""
        queues: dict[str, _Queue] = {context.name: [] for context in self._contexts}
        for place, book in enumerate(self._audited):
            if not book.running and book.due <= now:
                queues[book.context.name].append((not book.hurried, book.tried_ms, place, book))
        for queue in queues.values():
            heapify(queue)
        return list(queues.values())

    def _next(self, agenda: list[_Queue], now: float) -> _Audited | None:
        """The longest unaudited whose pool may ask now, taken off the agenda. O(venues + log symbols)."""
        ready = [
            queue
            for queue in agenda
            if queue and self._paces[queue[0][3].context.venue.pool].ready(now, *self._weight(queue[0][3]))
        ]
        return heappop(min(ready, key=itemgetter(0)))[3] if ready else None

    async def _not_in_sync(self, book: _Audited, now: float) -> None:
        """Put a book off without asking REST; told once, not every few seconds."""
        book.due, book.hurried = now + RETRY_S, False
        told = (AuditOutcome.UNKNOWN, "book not in sync")
        if book.told != told:
            await self._tell(book, Audit(int(time.time() * 1000), *told))

    async def _audit(self, book: _Audited) -> None:
        book.hurried = False
        try:
            audit = await self._compare(book)
            pause_s = self._keeper.audit_confirm_s if book.hurried else self._keeper.audit_s
            book.due = time.monotonic() + pause_s
            await self._tell(book, audit)
            self._waits.accepted(book.context.name, book.symbol)
        except (RedisError, OSError) as error:
            if refusal_of(error).of_server:
                wait_s = self._waits.refused(error, book.context.name, book.symbol)
                book.due = time.monotonic() + max(RETRY_S, wait_s)
            else:
                await self._held_back(book, error)
        except Exception as error:
            book.due = time.monotonic() + RETRY_S
            self._quarantine.stumbled(book.context, book.symbol, AUDIT, error)
        else:
            self._quarantine.worked(book.context, book.symbol, AUDIT)
        finally:
            book.running = False

    async def _held_back(self, book: _Audited, error: RedisError | OSError) -> None:
        """A key of one book cannot be used: the others are audited."""
        book.due = time.monotonic() + max(RETRY_S, self._keeper.audit_s)
        await self._quarantine.failed(book.context, book.symbol, AUDIT, error)

    async def _snapshot(self, book: _Audited) -> Snapshot:
        venue, pace = book.context.venue, self._paces[book.context.venue.pool]
        try:
            body = await self._rest[book.context.name].get(
                venue.snapshot_request(book.symbol), Urgency.AUDIT, self._settings.books.snapshot_timeout_s
            )
        finally:
            pace.sent(time.monotonic(), *self._weight(book))
        return venue.snapshot(book.symbol, body)

    async def _compare(self, book: _Audited) -> Audit:
        """One audit: a snapshot, the checkpoint that has passed it, the stream between them."""
        try:
            snapshot = await self._snapshot(book)
        except (RestError, MalformedFrame) as error:
            if isinstance(error, RateLimited):
                self._paces[book.context.venue.pool].hold(time.monotonic() + error.retry_after_s)
            log.warning("snapshot_failed", venue=book.context.name, symbol=book.symbol, error=str(error))
            return self._unknown("no snapshot")
        if snapshot.last_update_id < 0:
            return self._unknown("never traded", snapshot)
        started = time.monotonic()
        checkpoint = await self._reached(book, snapshot.last_update_id)
        waited_s = time.monotonic() - started
        if isinstance(checkpoint, str):
            if checkpoint == STREAM_BEHIND and await self._dead(book, snapshot):
                checkpoint = STREAM_DEAD
            return self._unknown(checkpoint, snapshot, waited_s)
        store = self._stores[book.context.name]
        shown = await store.shown(book.symbol)
        events = self._decoded(book, await store.entries_from(book.symbol, snapshot.last_update_id))
        try:
            found = compare_checkpoint(checkpoint, snapshot, events, shown, self._settings.books.levels)
        except WireError:
            return self._unknown("bad number in the snapshot", snapshot, waited_s)
        if isinstance(found, str):
            return self._unknown(found, snapshot, waited_s)
        now_ms, suspected = int(time.time() * 1000), book.confirmation.suspicious
        verdict = book.confirmation.judge(found, snapshot.last_update_id, checkpoint.synced_at, steady_ms())
        book.hurried = book.confirmation.suspicious and not suspected
        return Audit(
            now_ms, *verdict, found.update_id, snapshot.last_update_id, found.compared, found.differences,
            found.low, found.high, waited_s,
        )  # fmt: skip

    async def _reached(self, book: _Audited, update_id: int) -> Checkpoint | str:
        """The first checkpoint found at or beyond an update id; or why there was none in time."""
        store = self._stores[book.context.name]
        deadline = time.monotonic() + self._keeper.audit_wait_s
        while True:
            problem = STREAM_BEHIND
            if await store.last_update_id(book.symbol) >= update_id:
                problem = "no checkpoint"
                try:
                    checkpoint = await store.checkpoint(book.symbol)
                except StateUnreadable as error:
                    log.error("checkpoint_unreadable", symbol=book.symbol, error=str(error))
                    return "checkpoint unreadable"
                if checkpoint is not None:
                    if not checkpoint.synced or checkpoint.last_update_id >= update_id:
                        return checkpoint
                    problem = "checkpoint behind"
            if time.monotonic() >= deadline:
                return problem
            await asyncio.sleep(POLL_S)

    async def _dead(self, book: _Audited, snapshot: Snapshot) -> bool:
        """Whether the stream brings nothing though the exchange's book is another one by now; then act on it.

        It stood behind the snapshot for `audit_wait_s`. That ids went on is no proof; that levels differ from those
        of the book as it was last committed, all of its stream being in it, is one.
        """
        store = self._stores[book.context.name]
        at = await store.last_update_id(book.symbol)
        try:
            checkpoint = await store.checkpoint(book.symbol)
            if at >= snapshot.last_update_id or checkpoint is None or checkpoint.last_update_id != at:
                return False
            if not differs(checkpoint, snapshot, self._settings.books.levels):
                return False
        except (StateUnreadable, WireError):
            return False
        await self._books[book.context.name].distrust(book.symbol, STREAM_DEAD)
        await revive(self._process.client, book.context, book.symbol, DEPTH, "an audit's snapshot is ahead")
        return True

    @staticmethod
    def _decoded(book: _Audited, entries: list[Delivered]) -> list[DepthEvent]:
        events = []
        for entry in entries:
            try:
                events.append(depth_of(book.context.venue, book.symbol, entry))
            except MalformedFrame:
                continue  # its owner said so; if it matters, the next event does not follow
        return events

    @staticmethod
    def _unknown(reason: str, snapshot: Snapshot | None = None, waited_s: float = 0.0) -> Audit:
        at = snapshot.last_update_id if snapshot else -1
        return Audit(int(time.time() * 1000), AuditOutcome.UNKNOWN, reason, snapshot_id=at, waited_s=waited_s)

    async def _tell(self, book: _Audited, audit: Audit) -> None:
        """Act on an audit, record it and say so."""
        name, outcome = book.context.name, audit.outcome
        if book.symbol not in book.context.symbols:
            return  # given up meanwhile
        if outcome is AuditOutcome.MISMATCH:
            await self._books[name].distrust(book.symbol, DISTRUST)
        await self._stores[name].record(book.symbol, audit)
        book.tried_ms, book.told = audit.time_ms, (outcome, audit.reason)
        if outcome is not AuditOutcome.UNKNOWN:
            book.compared_at = time.monotonic()
        self.counts[outcome] += 1
        AUDITS.labels(name, outcome.value).inc()
        MISMATCHED.labels(name).inc(len(audit.differences))
        getattr(log, _LEVELS[outcome])("audit", venue=name, symbol=book.symbol, **audit.fields())
