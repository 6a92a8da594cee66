"""Comparing the best prices of books of orders with the fleet's own books of levels of the same symbols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from redis.exceptions import RedisError

from workers.errors import BadNumber
from workers.model.books.top_of_book import TopOfBook, decode_top
from workers.orders.book import OwnedOrders
from workers.runtime.backoff import Backoff
from workers.store.orders.publishing import OrderStore


class Level2Watch:
    """Holds each whole book against `LIVE_ORDERBOOK` now and then.

    The two streams are up to a second apart, so a best price counts as the same if the book of orders had it within a
    second of the other's time. What differs for longer than `workers.model.level3.phantoms` bears is a phantom, or a
    book that is wrong.

    Args:
        stores: by venue.
        pause_ms: between two comparisons of one book; 0: none.
    """

    def __init__(self, stores: Mapping[str, OrderStore], pause_ms: int) -> None:
        self._stores = stores
        self._pause_s = pause_ms / 1000
        self._backoff = Backoff("compare")

    async def look(self, books: Iterable[OwnedOrders], now: float) -> None:
        """Compare the books whose pause is over (monotonic seconds). One round trip a venue, where there are any."""
        due: dict[str, dict[str, OwnedOrders]] = {}
        for book in books:
            if self._pause_s and book.sync.synced and book.sync.book.whole and now >= book.compare_at:
                book.compare_at = now + self._pause_s
                due.setdefault(book.claim.context.name, {})[book.claim.symbol] = book
        for venue, compared in due.items():
            try:
                shown = await self._stores[venue].books_of(list(compared))
            except RedisError as error:
                self._backoff.refused(error, venue)
                continue
            self._backoff.accepted(venue)
            for symbol, payload in shown.items():
                try:
                    _compare(compared[symbol], decode_top(payload))
                except (msgspec.MsgspecError, BadNumber):
                    continue  # the keeper makes it anew


def _compare(book: OwnedOrders, top: TopOfBook) -> None:
    sync = book.sync
    book.best.told((top.b[0] if top.b else None, top.a[0] if top.a else None), top.E * 1000)
    for best, same in book.best.compared(sync.last_us):
        if sync.synced:
            sync.on_level2_top(*best, sync.last_us, same=same)
            book.changed = True
    book.noticed()
