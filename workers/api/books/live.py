"""The books this process can serve: followed on first demand, dropped when nobody asks."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from functools import partial

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from workers.api.books.reader import Reader
from workers.api.books.replica import Replica, Withheld
from workers.api.http.markets import Market
from workers.errors import StateUnreadable
from workers.model.books.sync import SyncState
from workers.model.pauses import Pauses
from workers.runtime.tasks import end, seen
from workers.settings.schema import Settings
from workers.store.books.rebuilding import rebuild
from workers.venues.entries import depth_of

log = structlog.get_logger()

FOLLOWED = Gauge("fleet_api_books", "Books the API follows", ["venue"])
REBUILDS = Counter(
    "fleet_api_rebuilds_total", "Books rebuilt from checkpoint and stream", ["venue", "outcome"]
)

FIRST_WAIT_S = 3.0
"""How long the first questions about a symbol wait for its book; later ones are answered at once."""
RANGE_WAIT_S = 5.0
"""Least pause between two rebuilds that only move the known range."""
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
STATEMENT_S = 1.0
"""How often the owners' statements are read; they write them once a second."""


class LiveBooks:
    """Replicas by market.

    Args:
        client: asked for checkpoints and streams, when a book is rebuilt.
        reader: follows the raw streams.
    """

    def __init__(self, client: object, reader: Reader, settings: Settings) -> None:
        self._client = client
        self._reader = reader
        self._levels = settings.books.levels
        self._idle_s = settings.api.idle_s
        self._replicas: dict[Market, Replica] = {}
        self._rebuilding: dict[Market, asyncio.Task[None]] = {}
        self._ranged_at: dict[Market, float] = {}
        self._hurry_shown = reader.every(settings.api.status_ms / 1000, self._poll_shown)
        self._hurry_statements = reader.every(STATEMENT_S, self._poll_statements)

    @property
    def followed(self) -> list[Market]:
        """The markets whose books are followed now."""
        return list(self._replicas)

    def replica(self, market: Market) -> Replica:
        """The replica of a market, made now if need be; look at `withheld` before using it."""
        found = self._replicas.get(market)
        if found is None:
            found = self._replicas[market] = Replica(market, self._rebuild_soon)
            FOLLOWED.labels(market.venue).inc()
            self._hurry_shown()
            self._hurry_statements()
            self._rebuild_soon(found)
        found.used_at = time.monotonic()
        return found

    def ready(self, market: Market) -> Replica | None:
        """The replica of a market if it may be served now."""
        found = self._replicas.get(market)
        if found is None or found.withheld(self._reader.heard_at) is not None:
            return None
        found.used_at = time.monotonic()
        return found

    async def demand(self, market: Market) -> Replica:
        """The replica of a market, ready to be served.

        Raises:
            BookNotServed: it is not in sync, or cannot be followed in time.
            NotKnown: the exchange does not list the symbol.
        """
        replica = self.replica(market)
        until = replica.born_at + FIRST_WAIT_S
        while (why := replica.withheld(self._reader.heard_at)) is not None:
            if why.state not in ("unknown", "rebuilding") or time.monotonic() >= until:
                market.refuse_unlisted()
                break
            await asyncio.sleep(0.01)
        replica.demand(self._reader.heard_at)
        return replica

    def withheld(self, replica: Replica) -> Withheld | None:
        """Why a replica must not be served now, or None."""
        return replica.withheld(self._reader.heard_at)

    def _rebuild_soon(self, replica: Replica) -> None:
        market = replica.market
        if market not in self._rebuilding and self._replicas.get(market) is replica:
            task = self._rebuilding[market] = seen(
                asyncio.create_task(self._rebuild(replica), name=f"api: rebuild {market.symbol}")
            )
            task.add_done_callback(lambda _: self._rebuilding.pop(market, None))

    async def _rebuild(self, replica: Replica) -> None:
        """Rebuild until the book is a continuation of what the owner shows."""
        pauses = Pauses(RETRY_FIRST_S, RETRY_MAX_S)
        context, symbol = replica.market.context, replica.market.symbol
        while self._replicas.get(replica.market) is replica:
            if replica.asked_owner and replica.shown_since is None:
                await asyncio.sleep(RETRY_FIRST_S)  # nothing to be a continuation of
                continue
            try:
                rebuilt = await rebuild(
                    self._client,  # type: ignore[arg-type]  # a Redis client, which only store/ may name
                    context.keys,
                    symbol,
                    rule=context.venue.book_rule,
                    decode=partial(depth_of, context.venue),
                    now_ms=int(time.time() * 1000),
                    max_levels=self._levels,
                )
            except (RedisError, OSError, StateUnreadable) as error:
                REBUILDS.labels(context.name, "failed").inc()
                log.warning("replica_not_rebuilt", venue=context.name, symbol=symbol, error=str(error))
            else:
                if self._replicas.get(replica.market) is not replica:
                    return  # dropped meanwhile
                since = replica.shown_since
                fits = since is None or rebuilt.sync.synced_at == since
                if rebuilt.state is SyncState.SYNCED and fits:
                    replica.install(rebuilt.sync)
                    self._reader.follow(replica.key, replica.take, rebuilt.stream_id)
                    REBUILDS.labels(context.name, "done").inc()
                    return
                REBUILDS.labels(context.name, "not in sync").inc()
            await asyncio.sleep(pauses.take())

    def _by_venue(self) -> list[tuple[Market, list[Replica]]]:
        grouped: dict[str, list[Replica]] = defaultdict(list)
        for market, replica in self._replicas.items():
            grouped[market.venue].append(replica)
        return [(replicas[0].market, replicas) for replicas in grouped.values()]

    async def _poll_shown(self) -> None:
        """Learn what the owners show; drop what nobody asked for lately."""
        self._drop_idle()
        for market, replicas in self._by_venue():
            symbols = [replica.market.symbol for replica in replicas]
            shown = await self._reader.watch.shown(market.context.keys, symbols)
            for replica, payload in zip(replicas, shown, strict=True):
                if replica.owner_shows(payload):
                    self._hurry_statements()
                if (
                    replica.sync is None
                ):  # what rebuilt its predecessor, dropped just before, has not begun with it
                    self._rebuild_soon(replica)

    async def _poll_statements(self) -> None:
        now = time.monotonic()
        for market, replicas in self._by_venue():
            symbols = [replica.market.symbol for replica in replicas]
            statements = await self._reader.watch.statements(market.context.keys, symbols)
            for replica, statement in zip(replicas, statements, strict=True):
                replica.statement = statement
                if replica.range_differs and now - self._ranged_at.get(replica.market, 0.0) >= RANGE_WAIT_S:
                    self._ranged_at[replica.market] = now
                    self._rebuild_soon(replica)

    def _drop_idle(self) -> None:
        now = time.monotonic()
        for market, replica in list(self._replicas.items()):
            if not replica.watchers and now - replica.used_at > self._idle_s:
                del self._replicas[market]
                self._ranged_at.pop(market, None)
                self._reader.leave(replica.key)
                FOLLOWED.labels(market.venue).dec()

    async def close(self) -> None:
        """End what is under way."""
        await end(list(self._rebuilding.values()))
