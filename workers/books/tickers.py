"""Checking the best levels of the owned books against the exchange's bookTicker, where it is followed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.books.book import MALFORMED, OwnedBook
from workers.errors import BadNumber, MalformedFrame
from workers.model.books.audit import AuditOutcome, BestLevelCheck, describe
from workers.runtime.context import VenueContext
from workers.store.books.audits import Audit, AuditStore
from workers.store.keys import TICKER
from workers.store.log.streams import Delivered
from workers.store.log.tickers import TickerReader

log = structlog.get_logger()

COMPARED = Counter(
    "fleet_best_levels_compared_total",
    "Times a book and a bookTicker stood at one update id",
    ["venue", "outcome"],
)
MISMATCHES = Counter(
    "fleet_best_level_mismatch_total", "Books lost because bookTickers contradicted them", ["venue"]
)

POLL_S: Final = 0.1
READ_COUNT: Final = 500
"""Tickers of one symbol read at once: 5,000 a second; what is more waits, and is trimmed at last."""


class TickerWatch:
    """Reads the tickers of the owned books and takes a contradicted book out of sync.

    Args:
        kept: entries kept, about, in each `audit:{S}`.
    """

    def __init__(self, client: Redis, contexts: Iterable[VenueContext], kept: int) -> None:
        self._reader = TickerReader(client)
        self._stores = {
            one.name: AuditStore(client, one.keys, kept) for one in contexts if one.settings.book_ticker
        }
        self._due = 0.0

    @property
    def due_at(self) -> float:
        """When there is to be looked for tickers again (monotonic seconds)."""
        return self._due if self._stores else math.inf

    async def look(self, books: Iterable[OwnedBook], now: float, now_ms: int) -> None:
        """Take in what came since the last time, and judge (monotonic seconds, and ms since 1970).

        Raises:
            RedisError: the streams could not be read.
        """
        if not self._stores or now < self._due:
            return
        self._due = now + POLL_S
        watched = {
            book.claim.context.keys.raw(book.claim.symbol, TICKER): book
            for book in books
            if book.best_levels is not None
        }
        for key, entries in (await self._reader.new(list(watched), READ_COUNT)).items():
            self.take(key, watched[key], entries)
        await self.judge(watched.values(), now_ms)

    def take(self, key: str, book: OwnedBook, entries: Sequence[Delivered]) -> None:
        """Entries of a book's ticker stream."""
        check, context = book.best_levels, book.claim.context
        if check is None:
            return
        for entry in entries:
            try:
                ticker = context.venue.ticker(entry.data)
                check.observe_ticker(ticker.update_id, *ticker.bid, *ticker.ask)
                book.seen_ahead(ticker.update_id, ticker.bid, ticker.ask, "a bookTicker is ahead")
            except (MalformedFrame, BadNumber) as error:
                MALFORMED.labels(context.name).inc()
                log.warning("malformed_entry", key=key, entry=entry.stream_id.decode(), error=str(error))

    async def judge(self, watched: Iterable[OwnedBook], now_ms: int) -> None:
        """Lose the books that are certainly wrong."""
        for book in watched:
            if (check := book.best_levels) is None:
                continue
            told = book.told_comparisons
            if told != (check.compared, check.disagreed):
                book.told_comparisons = (check.compared, check.disagreed)
                differing = check.disagreed - told[1]
                COMPARED.labels(book.claim.context.name, "mismatch").inc(differing)
                COMPARED.labels(book.claim.context.name, "match").inc(check.compared - told[0] - differing)
            if (reason := check.verdict(now_ms)) is not None:
                await self._contradicted(book, check, reason, now_ms)

    async def _contradicted(self, book: OwnedBook, check: BestLevelCheck, reason: str, now_ms: int) -> None:
        """Lose the book, and say so."""
        name, symbol = book.claim.context.name, book.claim.symbol
        audit = Audit(
            now_ms, AuditOutcome.MISMATCH, reason, check.update_id, compared=2,
            differences=check.differences, source="bookTicker",
        )  # fmt: skip
        MISMATCHES.labels(name).inc()
        log.error("best_level_mismatch", venue=name, symbol=symbol, u=audit.update_id,
                  differences="; ".join(map(describe, audit.differences)))  # fmt: skip
        book.sync.lose(reason, now_ms)
        book.noticed()
        try:
            await self._stores[name].record(symbol, audit)
        except (RedisError, OSError) as error:
            log.error("audit_not_recorded", venue=name, symbol=symbol, error=str(error))
