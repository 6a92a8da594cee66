"""What the owner of books writes of them round by round: payloads, withdrawals, statuses; and what the answers tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError

from workers.books.book import OwnedBook
from workers.books.status import status_fields
from workers.errors import StateUnreadable
from workers.model.books.top_of_book import TOP_LEVELS, TopOfBook, encode_top
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.quarantine import Quarantine
from workers.runtime.steady_clock import steady_ms
from workers.runtime.unreadable import UnreadableKeys
from workers.store.books.publishing import BookStore, Publication, Signals
from workers.store.keys import DEPTH
from workers.store.refusals import refusal_of

PUBLISHED = Counter("fleet_published_total", "Top-of-book payloads published", ["venue"])
WITHDRAWN = Counter("fleet_withdrawn_total", "Books withdrawn because they left sync", ["venue"])
LATENCY = Histogram(
    "fleet_publish_latency_seconds",
    "From the arrival of a change to its publication",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 5),
)
END_TO_END = Histogram(
    "fleet_end_to_end_seconds",
    "From the exchange's event time of a change to its publication",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10),
)

_Published = tuple[OwnedBook, Publication]


class BookPublishing:
    """Publishes the books one worker owns.

    Args:
        stores: by venue.
        books: those owned, by raw stream key.
        stumbled: called with a book over which our own code failed.
    """

    def __init__(
        self,
        process: Process,
        contexts: Sequence[VenueContext],
        stores: Mapping[str, BookStore],
        books: Mapping[str, OwnedBook],
        ownership: Ownership,
        quarantine: Quarantine,
        stumbled: Callable[[OwnedBook, Exception], None],
    ) -> None:
        self._process = process
        self._contexts = contexts
        self._stores = stores
        self._books = books
        self._ownership = ownership
        self._quarantine = quarantine
        self._stumbled = stumbled
        self._backoff = Backoff("publish")
        self._unreadable = UnreadableKeys("books")

    async def publish(self, books: Sequence[OwnedBook], *, last: bool = False) -> None:
        """Write what is due; with `last`, also a change whose interval is not over: nobody would write it later."""
        now = time.monotonic()
        owner = self._process.name
        for context in self._contexts:
            if not self._backoff.due(context.name):
                continue
            published: list[_Published] = []
            for book in books:
                book.judge_lag(now)
                if (
                    book.claim.context.name == context.name
                    and book.decided
                    and self._ownership.safe(book.claim)
                ):
                    try:
                        made = self._publication(book, now, owner, last)
                    except Exception as error:
                        self._stumbled(book, error)
                        continue
                    if made is not None:
                        published.append(made)
            try:
                signals = await self._stores[context.name].publish([made for _, made in published])
            except RedisError as error:
                if not refusal_of(error).of_server:
                    raise
                self._backoff.refused(error, context.name)
                continue
            self._backoff.accepted(context.name)
            self._note_published(published, now)
            await self._heed(context, signals, {made.symbol: made.token for _, made in published})

    def _publication(self, book: OwnedBook, now: float, owner: str, last: bool) -> _Published | None:
        """What is to be written of a book now, if anything."""
        status_due = now - book.status_at >= 1.0
        if not (status_due or book.withdraw or book.pace.waiting):
            return None  # nothing happened to it
        showable = book.showable
        if book.published and not showable:
            book.withdraw = True
        due = showable and (book.pace.due(now * 1000) or (last and book.pace.waiting))
        if not (due or status_due or book.withdraw):
            return None
        payload = _payload(book) if due else None
        status = status_fields(book, owner) if status_due or book.withdraw else {}
        withdraw = book.withdraw and not showable
        return book, Publication(
            book.claim.symbol, book.token, payload, withdraw, status, book.delivery.to_be_given
        )

    async def _heed(self, context: VenueContext, signals: Signals, tokens: Mapping[str, int]) -> None:
        """Act on what a publication told."""
        for symbol in signals.fenced:
            self._ownership.lost(Claim(context, symbol), tokens[symbol])
        for symbol, reason in signals.distrusted.items():
            if (distrusted := self._books.get(context.keys.raw(symbol, DEPTH))) is not None:
                distrusted.sync.lose(reason, steady_ms())
                distrusted.noticed()
        for symbol in signals.gone:
            if (gone := self._books.get(context.keys.raw(symbol, DEPTH))) is not None:
                gone.pace.changed()
        for symbol in signals.elsewhere:
            if (misled := self._books.get(context.keys.raw(symbol, DEPTH))) is not None:
                misled.reread = True
        for symbol in tokens.keys() - signals.refused.keys():
            self._quarantine.worked(context, symbol, "publish")
        for symbol, error in signals.refused.items():
            if self._quarantine.due(context, symbol, "publish"):
                await self._quarantine.failed(context, symbol, "publish", error)
        bad = []
        if signals.replaced:
            bad.append(
                StateUnreadable(context.keys.live_orderbook, f"it was a {signals.replaced}, and is made anew")
            )
        self._unreadable.looked(context.name, bad)

    def _note_published(self, published: Sequence[_Published], now: float) -> None:
        wall = time.time()
        for book, made in published:
            shown, withdrawn, told = made.payload is not None, made.withdraw, bool(made.status)
            if shown:
                book.pace.published(now * 1000)
                book.published = True
                PUBLISHED.labels(book.claim.context.name).inc()
                if book.received_us:  # not known of a book just restored, until its first event
                    LATENCY.observe(max(0.0, wall - book.received_us / 1e6))
                END_TO_END.observe(max(0.0, wall - book.sync.last_event_time / 1e3))
            elif withdrawn:
                book.published = False
                WITHDRAWN.labels(book.claim.context.name).inc()
            if made.read is not None:
                book.delivery.given(made.read.last)
            # a snapshot that came while the server was asked may have taken the book out of sync
            book.withdraw = book.withdraw and not withdrawn and not book.showable
            if told:
                book.status_at = now


def _payload(book: OwnedBook) -> bytes:
    sync = book.sync
    bids, asks = sync.book.known_top(TOP_LEVELS)
    return encode_top(
        TopOfBook(
            s=book.claim.symbol,
            b=bids,
            a=asks,
            u=sync.last_update_id,
            E=sync.last_event_time,
            T=book.transaction_time,
            synced_at=sync.synced_at,
            received=book.received_us,
            published=time.time_ns() // 1000,
        )
    )
