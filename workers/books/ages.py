"""Which books are too old to be shown: nothing came for long, and nobody says that nothing happened."""

from __future__ import annotations

import structlog
from prometheus_client import Counter

from workers.books.book import OwnedBook
from workers.runtime.living_lines import LivingLines
from workers.settings.schema import BookSettings

log = structlog.get_logger()

STALE = Counter(
    "fleet_books_stale_total", "Books withheld because their feed was silent and not alive", ["venue"]
)


class Ages:
    """Judges the books of one worker.

    Args:
        lines: those that live prove that a silent stream had nothing to say.
    """

    def __init__(self, lines: LivingLines, settings: BookSettings) -> None:
        self._lines = lines
        self._settings = settings

    def judge(self, book: OwnedBook, now: float, now_ms: int) -> None:
        """Withhold a book that may be outdated, or show it again (monotonic seconds, and ms since 1970)."""
        fresh, lines = book.freshness, self._lines.of(book.claim.context.name, book.claim.symbol)
        was_stale, was_to_confirm, was_dead = fresh.stale, fresh.to_confirm, book.overtaking.dead
        silent_s = now - book.heard_at
        fresh.judge(lines, now_ms, silent_s * 1000, self._settings.stale_ms)
        if book.overtaking.judge(now, silent_s) and not was_dead:
            book.withdraw = True  # `stream_dead` says why, and how often
        if fresh.to_confirm and not was_to_confirm:  # REST answers from a cache that lags
            book.snapshot_at = max(book.snapshot_at, now + self._settings.snapshot_delay_ms / 1000)
        if fresh.stale and not was_stale:
            book.withdraw = True
            STALE.labels(book.claim.context.name).inc()
            log.warning("book_stale", venue=book.claim.context.name, symbol=book.claim.symbol)
        elif was_stale and not fresh.stale:
            book.pace.changed()
