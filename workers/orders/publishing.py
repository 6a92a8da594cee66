"""What the owner of books of orders writes of them round by round: tops, withdrawals, statuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.orders.book import OwnedOrders
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.quarantine import Quarantine
from workers.store.orders.publishing import OrdersPublication, OrderStore
from workers.store.refusals import refusal_of

log = structlog.get_logger()

STATUS_S: Final = 1.0
PUBLISH: Final = "publish"
"""The work, as the quarantine knows it."""
PUBLISHED = Counter("fleet_orders_published_total", "Tops of books of orders published", ["venue"])
WITHHELD = Counter("fleet_orders_withheld_total", "Times a book of orders was withdrawn", ["venue", "reason"])


class OrderPublishing:
    """Publishes the books of orders one worker owns.

    Args:
        stores: by venue.
        stumbled: called with a book over which our own code failed.
    """

    def __init__(
        self,
        owner: str,
        contexts: Sequence[VenueContext],
        stores: Mapping[str, OrderStore],
        ownership: Ownership,
        quarantine: Quarantine,
        stumbled: Callable[[OwnedOrders, Exception], None],
    ) -> None:
        self._owner = owner
        self._contexts = contexts
        self._stores = stores
        self._ownership = ownership
        self._quarantine = quarantine
        self._stumbled = stumbled
        self._backoff = Backoff(PUBLISH)

    async def publish(self, books: Iterable[OwnedOrders], *, last: bool = False) -> None:
        """Write what is due; with `last`, also a change whose interval is not over: nobody would write it later."""
        now, chosen = time.monotonic(), list(books)
        for context in self._contexts:
            if not self._backoff.due(context.name):
                continue
            made: list[tuple[OwnedOrders, OrdersPublication, str]] = []
            for book in chosen:
                if book.claim.context.name == context.name and self._ownership.safe(book.claim):
                    try:
                        if (found := self._publication(book, now, last)) is not None:
                            made.append((book, *found))
                    except Exception as error:
                        self._stumbled(book, error)
            try:
                signals = await self._stores[context.name].publish([written for _, written, _ in made])
            except RedisError as error:
                if not refusal_of(error).of_server:
                    raise
                self._backoff.refused(error, context.name)
                continue
            self._backoff.accepted(context.name)
            tokens = {written.symbol: written.token for _, written, _ in made}
            for symbol in signals.fenced:
                self._ownership.lost(Claim(context, symbol), tokens[symbol])
            for book, written, withheld in made:
                if (refused := signals.refused.get(written.symbol)) is not None:
                    await self._cannot(book, refused, now)
                else:
                    self._note(book, written, withheld, now)

    async def _cannot(self, book: OwnedOrders, error: Exception, now: float) -> None:
        """A key of one book is of another type: nothing can be published, and what stands there not be withdrawn."""
        book.status_at = now
        if self._quarantine.due(*book.claim, PUBLISH):
            await self._quarantine.failed(*book.claim, PUBLISH, error)
        book.unwritable = self._quarantine.reason(*book.claim, PUBLISH)

    def _publication(self, book: OwnedOrders, now: float, last: bool) -> tuple[OrdersPublication, str] | None:
        """What is to be written of a book now, and why it is withheld; None: nothing."""
        if not book.read:
            return None  # what its stream brought meanwhile may say that it is lost
        withheld = book.withheld(now)
        withdraw = bool(withheld) and (book.shown or bool(book.unwritable))
        if book.unwritable and not self._quarantine.due(*book.claim, PUBLISH):
            withdraw = False  # the status alone, which may be written
        # for a moment a book is crossed while a match is told: what was true before it stays
        due = not withheld and book.sync.trusted
        due = due and (not book.shown or book.pace.due(now * 1000) or (last and book.pace.waiting))
        told = withdraw or now - book.status_at >= STATUS_S
        if not (due or told):
            return None
        payload = book.payload(now) if due or withdraw else None
        status = book.status(self._owner, now) if told else {}
        return OrdersPublication(book.claim.symbol, book.token, payload, status), withheld

    def _note(self, book: OwnedOrders, written: OrdersPublication, withheld: str, now: float) -> None:
        name = book.claim.context.name
        if written.status:
            book.status_at = now
        if written.payload is None:
            return
        self._quarantine.worked(*book.claim, PUBLISH)
        book.unwritable = ""
        book.shown = not withheld
        if withheld:
            WITHHELD.labels(name, withheld).inc()
            log.warning("orders_withheld", venue=name, symbol=book.claim.symbol, reason=withheld)
        else:
            book.pace.published(now * 1000)
            PUBLISHED.labels(name).inc()
