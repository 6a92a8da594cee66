"""The single orders of one symbol that this worker owns: their sync, what is not yet acknowledged, and what is due."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from workers.errors import MalformedFrame
from workers.model.books.top_of_book import Pace
from workers.model.level3.checkpoint import encode_orders
from workers.model.level3.phantoms import LASTING_US
from workers.model.level3.rules import Beginning
from workers.model.level3.sync import OrderOutcome, OrderSync
from workers.model.level3.top import OrdersTop, encode_orders_top, top_levels
from workers.model.pauses import Pauses
from workers.orders.best_prices import BestPrices
from workers.runtime.ownership import Claim
from workers.settings.orders import OrderSettings
from workers.store.keys import ORDERS
from workers.store.log.streams import Delivered
from workers.venues.order_feed import OrderFeed

log = structlog.get_logger()

TOLD_AT_MOST: Final = 10
"""Entries in a row of one stream that the log names one by one."""
COMMIT_SHARE: Final = 20
"""A checkpoint is made again after so many times what making it took."""

EVENTS = Counter(
    "fleet_orders_events_total", "Messages of single orders, by what became of them", ["venue", "outcome"]
)
MALFORMED = Counter(
    "fleet_orders_malformed_total", "Entries of single orders that could not be decoded", ["venue"]
)
LOST = Counter("fleet_orders_lost_total", "Times a book of orders left sync", ["venue", "reason"])
IN_SYNC = Gauge("fleet_orders_in_sync", "Books of orders in sync in this worker", ["venue"])
ORDERS_HELD = Gauge("fleet_orders_held", "Orders in the books of this worker", ["venue"])
COUNTED: Final = {
    "syncs": Counter("fleet_orders_syncs_total", "Times a book of orders came into sync", ["venue"]),
    "repeated": Counter("fleet_orders_repeated_total", "Messages of orders that the book had", ["venue"]),
    "unknown": Counter("fleet_orders_unknown_total", "Changes of orders that nobody knew", ["venue"]),
    "replaced": Counter(
        "fleet_orders_replaced_total", "Seeded orders whose creation came after the seed", ["venue"]
    ),
    "purged_crossing": Counter(
        "fleet_orders_purged_crossing_total", "Seeded orders that kept a book crossed, and went", ["venue"]
    ),
    "purged_level2": Counter(
        "fleet_orders_purged_level2_total",
        "Seeded orders better than the book of levels, which went",
        ["venue"],
    ),
    "checksums": Counter(
        "fleet_orders_checksums_total", "Checksums that books of orders were compared with", ["venue"]
    ),
    "level2_compared": Counter(
        "fleet_orders_level2_compared_total", "Comparisons of best prices with the book of levels", ["venue"]
    ),
    "level2_differed": Counter(
        "fleet_orders_level2_differed_total", "Those of them that differed", ["venue"]
    ),
}
"""The counts of `OrderSync`; of what was lost the reason is counted too."""


class OwnedOrders:
    """A book of orders this worker owns.

    Args:
        token: the fencing number of its lease.
        sync: fresh, or restored from the checkpoint.
    """

    def __init__(
        self, claim: Claim, token: int, feed: OrderFeed, sync: OrderSync, settings: OrderSettings
    ) -> None:
        self.claim = claim
        self.token = token
        self.feed = feed
        self.sync = sync
        self.pace = Pace(settings.publish_ms)
        self._settings = settings
        self.pending: list[bytes] = []
        """Stream ids taken in and not acknowledged."""
        self.last_stream_id = b"0-0"
        self.before_last = b"0-0"
        """The stream id taken in before the last one."""
        self.received_us = 0
        self.shown = True
        """Whether readers may think the book good: at first, because the last owner may have left one."""
        self.status_at = self.committed_at = 0.0
        self._commit_at_once = False
        self._commit_pause_s = settings.commit_ms / 1000
        self._crossed_at: float | None = None
        """Since when the book is crossed (monotonic seconds): the exchange's time stands still where nothing comes."""
        self.changed = False
        """Whether the stored checkpoint is not of what the book is."""
        self.looked_into = False
        """Whether it is being found out if the log has what is missing: meanwhile the stored checkpoint stays."""
        self.unreadable = ""
        """Why its stream cannot be read now and what to do about it, for people; empty: it can."""
        self.unwritable = ""
        """The same of what is published of it."""
        self.reread = False
        """Whether entries may have been given to an owner that never saw them: they are pending now."""
        self.read = False
        """Whether its stream has been read to its end since it was recovered."""
        self.current_at = self.heard_at = time.monotonic()
        """Until when all that its stream brought is in the book; when that brought something (monotonic seconds)."""
        self.proven = False
        """Whether an event has followed since it was recovered: what has been stored may be of long ago."""
        self.alive = False
        """Whether a line has all its sockets to the venue alive: then silence of a stream is the market's."""
        self.malformed = 0
        self.seed_at = 0.0
        self.seed_pauses = Pauses(settings.seed_retry_s, settings.seed_retry_max_s)
        self.fetching = False
        self.best = BestPrices()
        self.compare_at = 0.0
        self.wake: Callable[[], None] = lambda: None
        """Called when something happened to it: the next round is to see to it."""
        self._counted = Counts(sync.counts)
        self._was_synced = sync.synced
        self._held = 0
        self._note_crossing()
        if sync.synced:
            IN_SYNC.labels(claim.context.name).inc()
            self.pace.changed()
            self.best.note(sync)

    @property
    def key(self) -> str:
        """Its raw stream."""
        return self.claim.context.keys.raw(self.claim.symbol, ORDERS)

    def take(self, entry: Delivered) -> OrderOutcome | None:
        """Fold one stream entry in; None for one that says nothing of orders."""
        self.pending.append(entry.stream_id)
        follows = self.feed.by_id or _number(entry.stream_id) == _number(self.last_stream_id) + 1
        self.before_last, self.last_stream_id = self.last_stream_id, entry.stream_id
        self.heard_at = time.monotonic()
        self.changed = True
        if entry.kind == "break":
            return self._lose("connection")
        if not follows and self.sync.synced and entry.kind != "snapshot":
            return self._lose("a message is missing")
        if not entry.data:
            return self._lose("trimmed before it was read")
        try:
            message = self.feed.message(entry.data)
        except MalformedFrame as error:
            self._tell_malformed(entry, error)
            return self._lose("malformed message")
        if message is None:
            return None
        was_synced = self.sync.synced
        outcome = self.sync.on_message(message)
        EVENTS.labels(self.claim.context.name, outcome.value).inc()
        self._note_crossing()
        if self.sync.synced:
            self.received_us = entry.received_us
            self.proven = True
            self.pace.changed()
            self.best.note(self.sync)
        if was_synced != self.sync.synced or outcome is OrderOutcome.LOST:
            self.noticed()
        return outcome

    def _note_crossing(self) -> None:
        if not self.sync.book.crossed:
            self._crossed_at = None
        elif self._crossed_at is None:
            self._crossed_at = time.monotonic()

    def _lose(self, reason: str) -> OrderOutcome:
        outcome = self.sync.lose(reason)
        self.noticed()
        return outcome

    def lose(self, reason: str) -> None:
        """Let the book go for a reason of ours."""
        self._lose(reason)
        self.changed = True

    def _tell_malformed(self, entry: Delivered, error: MalformedFrame) -> None:
        MALFORMED.labels(self.claim.context.name).inc()
        self.malformed += 1
        if self.malformed <= TOLD_AT_MOST or self.malformed % 1000 == 0:
            log.warning("orders_malformed", key=self.key, entry=entry.stream_id.decode(),
                        entries=self.malformed, error=str(error))  # fmt: skip

    def noticed(self) -> None:
        """Draw the consequences of a change of state."""
        self._note_crossing()
        synced, name, symbol = self.sync.synced, self.claim.context.name, self.claim.symbol
        if synced == self._was_synced:
            return
        self._was_synced = synced
        self.wake()
        if synced:
            IN_SYNC.labels(name).inc()
            self.seed_pauses.reset()
            self._commit_at_once = True  # from now on the next owner needs no seed
            self.pace.changed()
            log.info("orders_synced", venue=name, symbol=symbol, orders=len(self.sync.book),
                     whole=self.sync.book.whole)  # fmt: skip
        else:
            IN_SYNC.labels(name).dec()
            LOST.labels(name, self.sync.reason.partition(":")[0]).inc()
            self.best.forget()
            self.seed_at = time.monotonic() + self._settings.seed_delay_ms / 1000
            log.warning("orders_lost", venue=name, symbol=symbol, reason=self.sync.reason)

    def tell_counts(self) -> None:
        """Add what was counted since the last time to the metrics, and tell the log what was purged."""
        name, counts = self.claim.context.name, self.sync.counts
        for what, metric in COUNTED.items():
            more = counts[what] - self._counted[what]
            if more <= 0:
                continue
            self._counted[what] = counts[what]
            metric.labels(name).inc(more)
            if what.startswith("purged"):
                log.warning("orders_purged", venue=name, symbol=self.claim.symbol, rule=what, orders=more)
        held = len(self.sync.book)
        ORDERS_HELD.labels(name).inc(held - self._held)
        self._held = held

    def read_until(self, now: float, *, end: bool) -> None:
        """What was read has been folded; `end`: it was all there was at `now` (monotonic seconds)."""
        if end:
            self.current_at, self.read = now, True

    def forget(self) -> None:
        """The book is no longer ours."""
        ORDERS_HELD.labels(self.claim.context.name).dec(self._held)
        if self._was_synced:
            IN_SYNC.labels(self.claim.context.name).dec()

    def cannot_be_read(self, why: str) -> None:
        """Say why its stream cannot be read now; empty: it can.

        What came meanwhile may be gone with it, so the book is shown once something has followed.
        """
        self.unreadable = why
        self.proven = self.proven and not why

    @property
    def listens(self) -> bool:
        """Whether a new entry of its stream can be read at once."""
        return not (self.unreadable or self.reread)

    def withheld(self, now: float) -> str:
        """Why the book is not to be shown (monotonic seconds); empty where it is."""
        sync, settings = self.sync, self._settings
        if self.unreadable or self.unwritable:
            return "unreadable"
        if not sync.synced:
            return "waiting" if sync.reason == "not begun" else "broken"
        if (now - self.current_at) * 1000 > settings.behind_ms:
            return "behind"
        if not self.proven or (not self.alive and (now - self.heard_at) * 1000 > settings.stale_ms):
            return "stale"
        since_us = sync.crossing.since_us
        if since_us is not None and sync.last_us - since_us > settings.publish_ms * 1000:
            return "crossed"
        if self._crossed_at is not None and (now - self._crossed_at) * 1_000_000 > LASTING_US:
            return "crossed"
        return ""

    def payload(self, now: float) -> bytes:
        """What is to be published now (monotonic seconds)."""
        sync, published = self.sync, time.time_ns() // 1000
        if withheld := self.withheld(now):
            return encode_orders_top(OrdersTop(s=self.claim.symbol, withheld=withheld, published=published))
        bids, asks = top_levels(sync.book, self._settings.levels, self._settings.heads)
        return encode_orders_top(
            OrdersTop(
                s=self.claim.symbol,
                b=bids,
                a=asks,
                orders=len(sync.book),
                whole=sync.book.whole,
                u=sync.last_id,
                n=sync.last_position,
                E=sync.last_us,
                synced_at=sync.synced_us,
                received=self.received_us,
                published=published,
            )
        )

    def status(self, owner: str, now: float) -> dict[str, str | int | float]:
        """The fields of `orders:{S}:status`."""
        sync = self.sync
        bids, asks = sync.book.counts
        counts = {what: sync.counts[what] for what in (*COUNTED, "lost")}
        return {
            "state": self.withheld(now) or "synced",
            "reason": self.unreadable or self.unwritable or sync.reason,
            "begins": self.feed.rules.beginning.value,
            "whole": int(sync.book.whole),
            "orders": len(sync.book),
            "bids": bids,
            "asks": asks,
            "doubts": sum(map(len, sync.book.doubts)),
            "last_id": sync.last_id,
            "last_number": sync.last_position,
            "event_us": sync.last_us,
            "synced_at": sync.synced_us if sync.synced else 0,
            "age_ms": int((now - self.heard_at) * 1000),
            "behind_ms": int((now - self.current_at) * 1000),
            **counts,
            "updated": int(time.time() * 1000),
            "owner": owner,
            "fence": self.token,
        }

    @property
    def wants_seed(self) -> bool:
        """Whether REST is to be asked for all orders."""
        return self.feed.rules.beginning is Beginning.REST and self.sync.needs_seed and not self.fetching

    def commit_due(self, now: float) -> bool:
        """Whether a checkpoint is due (monotonic seconds)."""
        paused = now - self.committed_at < self._commit_pause_s and not self._commit_at_once
        return self.changed and not self.looked_into and not paused

    def checkpoint(self) -> tuple[bytes, list[bytes]]:
        """What to commit now: the state, and the ids of the entries it has. O(orders)."""
        began = time.process_time()
        state = encode_orders(self.sync, self.last_stream_id.decode())
        took_s = time.process_time() - began
        self._commit_pause_s = max(self._settings.commit_ms / 1000, COMMIT_SHARE * took_s)
        self.changed = self._commit_at_once = False
        return state, self.pending[:]

    def committed(self, ids: list[bytes], now: float) -> None:
        """A commit was accepted."""
        del self.pending[: len(ids)]
        self.committed_at = now


def _number(stream_id: bytes) -> int:
    """The log's own count of an entry, where the exchange has none."""
    return int(stream_id.partition(b"-")[2])
