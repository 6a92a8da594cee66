"""Asking for the whole books of streams that bring them in band: paced per symbol, once for many askers."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
from workers.runtime.tasks import end
from workers.store.fleet.resubscriptions import ask_anew
from workers.store.keys import DEPTH

log = structlog.get_logger()

ASKED = Counter("fleet_whole_books_asked_total", "Whole books asked for of the lines", ["venue"])
FIRST_S: Final = 2.0
"""How long a book waits for the whole book of the subscription itself before it asks for one."""
LINES: Final = "ab"
PACE_MS: Final = 1_000
"""Requests for one book within this time are one."""


class WholeBooks:
    """What `SnapshotFetcher` is for books that REST begins. Both lines are asked: one may be away, or stand by."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    def consider(self, book: OwnedBook, now: float) -> None:
        """Ask if the book wants to begin anew, or to be borne out, and its pause is over (monotonic seconds)."""
        if not (book.sync.wants_snapshot or book.freshness.to_confirm):
            return
        if book.fetching or now < book.snapshot_at:
            return
        if not book.snapshot_at and not book.sync.sync_count:
            book.snapshot_at = now + FIRST_S
            return
        book.fetching = True
        task = asyncio.create_task(self._ask(book), name=f"books: whole book of {book.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def start_busiest(self) -> None:
        """Nothing: the exchange sends what it is asked for when it can."""

    async def _ask(self, book: OwnedBook) -> None:
        name, symbol = book.claim.context.name, book.claim.symbol
        try:
            why = book.sync.reason or "it was never in sync"
            if await ask_anew(self._client, name, symbol, DEPTH, why, line=LINES, pace_ms=PACE_MS):
                ASKED.labels(name).inc()
                log.info("whole_book_asked", venue=name, symbol=symbol, why=why)
        except (RedisError, OSError) as error:
            log.warning("whole_book_not_asked", venue=name, symbol=symbol, error=str(error))
        finally:
            book.fetching = False
            book.snapshot_at = time.monotonic() + book.snapshot_pauses.take()

    async def close(self) -> None:
        """Give up what is under way."""
        await end(list(self._tasks))
