"""The gaps that owners find in depth streams: told, and recorded unless what is missing can be read again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
from workers.model.books.sync import SyncState
from workers.runtime.ownership import Ownership
from workers.runtime.tasks import seen
from workers.store.keys import DEPTH
from workers.store.log.streams import GapRecord, GroupReader, goes_on, record_gap

log = structlog.get_logger()

GAPS = Counter("fleet_depth_gaps_total", "Holes in depth streams", ["venue"])
STOLEN = Counter(
    "fleet_entries_read_elsewhere_total", "Entries an earlier owner read after a takeover", ["venue"]
)


class DepthGaps:
    """Records the gaps of the books one worker owns.

    Args:
        books: those owned, by raw stream key.
        kept: gaps kept of a symbol, about.
    """

    def __init__(
        self,
        client: Redis,
        reader: GroupReader,
        ownership: Ownership,
        books: Mapping[str, OwnedBook],
        kept: int,
    ) -> None:
        self._client = client
        self._reader = reader
        self._ownership = ownership
        self._books = books
        self._kept = kept
        self._recording: set[asyncio.Task[None]] = set()

    def sequence_gap(self, book: OwnedBook) -> None:
        """An event did not follow the one before it."""
        name, symbol = book.claim.context.name, book.claim.symbol
        gap = book.sync.gap
        expected, got = (gap.expected, gap.got) if gap else (0, 0)
        GAPS.labels(name).inc()
        log.warning("depth_gap", venue=name, symbol=symbol, expected=expected, got=got)
        self._record(book, expected, got)

    def announced_gap(self, book: OwnedBook) -> None:
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
        """Record a gap, unless what is missing is pending: then an earlier owner, not gone yet, was given it.

        What the log has and nobody was given, or somebody acknowledged, no owner is given again: a gap like any other.
        """
        try:
            pending = await self._reader.pending(book.key, before, 1) if before != b"0-0" else []
            taken_elsewhere = bool(pending) and goes_on(pending[0].stream_id, after)
            if taken_elsewhere and self._books.get(book.key) is book:
                STOLEN.labels(book.claim.context.name).inc()
                log.warning("entries_read_elsewhere", symbol=book.claim.symbol, after=before.decode())
                # recovered from its checkpoint when it is taken again, at once
                self._ownership.lost(book.claim, book.token)
                return
            book.lost = book.sync.state is not SyncState.SYNCED
            gaps = book.claim.context.keys.gaps(book.claim.symbol)
            await record_gap(self._client, gaps, record, self._kept)
        except (RedisError, OSError) as error:
            log.error("gap_not_recorded", symbol=book.claim.symbol, first=record.first, error=str(error))
