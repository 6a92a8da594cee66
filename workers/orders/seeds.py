"""Seeds: all orders of a symbol asked of REST, or the whole book asked of the lines where the stream brings it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import BadNumber, MalformedFrame, RateLimited, RestError
from workers.model.level3.sync import OrderOutcome
from workers.orders.book import OwnedOrders
from workers.runtime.rest import RestClient
from workers.runtime.tasks import end, seen
from workers.settings.orders import OrderSettings
from workers.store.fleet.budget import Urgency
from workers.store.fleet.resubscriptions import ask_anew
from workers.store.keys import ORDERS
from workers.store.orders.publishing import OrderStore

log = structlog.get_logger()

FIRST_S: Final = 2.0
"""How long a book waits for what the subscription itself brings before it asks for it."""
PACE_MS: Final = 1_000
"""Requests for one book within this time are one."""
SEEDS_KEPT: Final = 1
"""In `raw:{S}:orders:snapshot`: they have megabytes."""
SEEDS = Counter("fleet_orders_seeds_total", "Seeds asked for, by what became of them", ["venue", "outcome"])


class WholeOrders:
    """What `SeedFetcher` is for books that their streams bring. Both lines are asked: one may be away, or stand by."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    def consider(self, book: OwnedOrders, now: float) -> None:
        """Ask, if the book is to begin anew and its pause is over (monotonic seconds)."""
        if book.sync.synced or book.fetching or now < book.seed_at:
            return
        if not book.seed_at:  # the subscription itself brings it
            book.seed_at = now + FIRST_S
            return
        book.fetching = True
        task = seen(asyncio.create_task(self._ask(book), name=f"orders: whole book of {book.key}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, book: OwnedOrders) -> None:
        name, symbol, outcome = book.claim.context.name, book.claim.symbol, "failed"
        try:
            why = book.sync.reason
            asked = await ask_anew(self._client, name, symbol, ORDERS, why, line="ab", pace_ms=PACE_MS)
            outcome = "asked" if asked else "asked before"
            log.info("orders_seed", venue=name, symbol=symbol, outcome=outcome)
        except (RedisError, OSError) as error:
            log.warning("orders_seed_failed", venue=name, symbol=symbol, error=str(error))
        finally:
            book.fetching = False
            book.seed_at = time.monotonic() + book.seed_pauses.take()
            SEEDS.labels(name, outcome).inc()

    async def close(self) -> None:
        """Give up what is under way."""
        await end(list(self._tasks))


class SeedFetcher:
    """Asks REST for the seeds of the books of one venue, one at a time: they are large.

    Args:
        still_owned: False once a book is no longer this worker's; its answer is then thrown away.
        failed: called with a book over which our own code failed.
    """

    def __init__(
        self,
        rest: RestClient,
        store: OrderStore,
        settings: OrderSettings,
        still_owned: Callable[[OwnedOrders], bool],
        failed: Callable[[OwnedOrders, Exception], None],
    ) -> None:
        self._rest = rest
        self._store = store
        self._settings = settings
        self._still_owned = still_owned
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()

    def consider(self, book: OwnedOrders, now: float) -> None:
        """Ask, if the book wants a seed and its pause is over (monotonic seconds)."""
        if not book.wants_seed or now < book.seed_at or self._tasks:
            return
        if not book.seed_at:  # asked at once, REST would answer from before the first message
            book.seed_at = now + self._settings.seed_delay_ms / 1000
            return
        book.fetching = True
        task = seen(asyncio.create_task(self._fetch(book), name=f"orders: seed of {book.claim.symbol}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch(self, book: OwnedOrders) -> None:
        name, symbol = book.claim.context.name, book.claim.symbol
        outcome, wait_s = "failed", book.seed_pauses.next_s
        try:
            outcome = (await self._ask(book)).value
        except RateLimited as error:
            wait_s = error.retry_after_s
            log.warning("orders_seed_failed", venue=name, symbol=symbol, error=str(error))
        except (RestError, MalformedFrame, BadNumber, RedisError, OSError) as error:
            log.warning("orders_seed_failed", venue=name, symbol=symbol, error=str(error))
        except Exception as error:  # a reply, or a book, that nobody foresaw
            if self._still_owned(book):
                self._failed(book, error)
        finally:
            book.fetching = False
            book.seed_pauses.take()
            book.seed_at = time.monotonic() + wait_s
            SEEDS.labels(name, outcome).inc()
            book.noticed()
            book.wake()

    async def _ask(self, book: OwnedOrders) -> OrderOutcome:
        feed, symbol = book.feed, book.claim.symbol
        request = feed.seed_request(symbol) if feed.seed_request is not None else None
        body = await self._rest.get(request, Urgency.START, self._settings.seed_timeout_s)
        if feed.seed is None or not self._still_owned(book):
            return OrderOutcome.IGNORED
        seed = feed.seed(body)
        outcome = book.sync.on_seed(seed)
        book.changed = True
        log.info("orders_seed", venue=book.claim.context.name, symbol=symbol, orders=len(seed.orders),
                 position=seed.position, outcome=outcome.value)  # fmt: skip
        if outcome is OrderOutcome.APPLIED:
            book.proven = True
            await self._store.keep_seed(symbol, body, time.time_ns() // 1000, SEEDS_KEPT)
        return outcome

    async def close(self) -> None:
        """Give up what is under way."""
        await end(list(self._tasks))
