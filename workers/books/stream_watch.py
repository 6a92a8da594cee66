"""Looking whether the silent streams of owned books are dead: trades of the symbol go on, and depth does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
from workers.model.books.sync import SyncState
from workers.runtime.backoff import Backoff
from workers.runtime.dead_streams import revive
from workers.runtime.living_lines import LivingLines
from workers.store.keys import DEPTH
from workers.store.log.activity import trades_after

POLL_S: Final = 0.5
SILENT_S: Final = 1.0
"""A stream silent for less is not looked at."""
ASK_AGAIN_S: Final = 5.0
LATER_MS: Final = 1_000
"""Trades this much newer than the last depth event (both in exchange time) should have been followed by one."""
MOST_AT_ONCE: Final = 500
FEWEST_TRADES: Final = 3
"""Of a single trade the book may show nothing (RPI orders of the futures markets are in no depth event)."""


class StreamWatch:
    """Finds dead depth streams among the owned books, and has them subscribed anew.

    Args:
        lines: whom to ask: where none listens, a stream brings nothing for that alone.
    """

    def __init__(self, client: Redis, lines: LivingLines) -> None:
        self._client = client
        self._lines = lines
        self._due = 0.0
        self._asked: dict[str, float] = {}
        """When the lines were last asked, for each dead stream."""
        self._waits = Backoff("activity")

    async def look(self, books: Iterable[OwnedBook], now: float) -> None:
        """Look at what is silent, and act on what is dead (monotonic seconds)."""
        if now < self._due or not self._waits.due():
            return
        self._due = now + POLL_S
        try:
            await self._look([book for book in books if self._silent(book, now)], now)
        except (RedisError, OSError) as error:
            self._waits.refused(error)
        else:
            self._waits.accepted()

    @staticmethod
    def _silent(book: OwnedBook, now: float) -> bool:
        is_watched = book.read and not book.unreadable and book.sync.state is SyncState.SYNCED
        return is_watched and now - book.heard_at >= SILENT_S

    async def _look(self, silent: list[OwnedBook], now: float) -> None:
        dead = [book for book in silent if book.overtaking.dead]
        waiting = [book for book in silent if not book.overtaking.dead]
        for first in range(0, len(waiting), MOST_AT_ONCE):
            part = waiting[first : first + MOST_AT_ONCE]
            asked = [
                (book.claim.context.keys, book.claim.symbol, book.sync.last_event_time + LATER_MS)
                for book in part
            ]
            for book, found in zip(part, await trades_after(self._client, asked, FEWEST_TRADES), strict=True):
                if found.newest_depth == book.last_stream_id and len(found.trades) >= FEWEST_TRADES:
                    book.overtaking.ahead("trades went on", now, event_ms=found.trades[-1])
        self._asked = {book.key: self._asked[book.key] for book in dead if book.key in self._asked}
        for book in dead:
            claim, asked_at = book.claim, self._asked.get(book.key)
            if not self._lines.listen_to(claim.context.name, claim.symbol):
                continue
            if asked_at is None or now - asked_at >= ASK_AGAIN_S:
                self._asked[book.key] = now
                evidence, is_news = book.overtaking.evidence, asked_at is None
                await revive(self._client, claim.context, claim.symbol, DEPTH, evidence, is_news=is_news)
