"""The single orders this process can serve: followed on first demand, dropped when nobody asks.

A replica is a fold of the same stream as the owner's, begun with the owner's checkpoint, and is served only while it
is a continuation of what the owner says is in sync. What the owner alone learns (a seed of REST, orders purged
because level 2 has another top) shows in its status, and the replica begins anew from the next checkpoint.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from workers.api.books.reader import Reader
from workers.api.books.replica import SILENT_S, Withheld
from workers.api.http.markets import Market
from workers.errors import NotKnown, OrdersNotServed, StateUnreadable
from workers.model.level3.sync import OrderSync
from workers.model.pauses import Pauses
from workers.runtime.tasks import end, seen
from workers.settings.schema import Settings
from workers.store.books.shown import UNHEARD_MS
from workers.store.books.watch import Entry
from workers.store.keys import ORDERS
from workers.store.log.streams import delivered
from workers.store.orders.rebuilding import (
    OrderDecoding,
    OrderFold,
    OrderStatement,
    order_statement,
    rebuild_orders,
)

log = structlog.get_logger()

FOLLOWED = Gauge("fleet_api_orders", "Books of single orders the API follows", ["venue"])
REBUILDS = Counter(
    "fleet_api_orders_rebuilds_total",
    "Books of single orders rebuilt from checkpoint and stream",
    ["venue", "outcome"],
)

FIRST_WAIT_S: Final = 5.0
"""How long the first questions about a symbol wait for its orders; later ones are answered at once."""
POLL_S: Final = 0.25
"""How often the owners' statements are read."""
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0


class OrderReplica:
    """The followed orders of one market."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.fold: OrderFold | None = None
        self.statement: OrderStatement | StateUnreadable | None = None
        self.born_at = self.used_at = time.monotonic()

    @property
    def key(self) -> str:
        """Its raw stream."""
        return self.market.context.keys.raw(self.market.symbol, ORDERS)

    @property
    def sync(self) -> OrderSync:
        """The orders; only while `withheld` is None."""
        assert self.fold is not None
        return self.fold.sync

    def take(self, entries: Sequence[Entry]) -> None:
        """Fold entries of the raw stream in."""
        if self.fold is not None:
            for entry in delivered(entries):
                self.fold.take(entry)

    @property
    def continues(self) -> bool:
        """Whether it is a continuation of what the owner said last."""
        if self.fold is None or not isinstance(self.statement, OrderStatement):
            return False
        return self.fold.continues(self.statement.fields)

    def withheld(self, heard_at: float) -> Withheld | None:
        """Why the orders must not be served now, or None; `heard_at`: when Redis last answered."""
        said, why = self.statement, unvouched(self.statement, heard_at)
        if why is not None or not isinstance(said, OrderStatement):
            return why
        state = said.fields.get("state", "")
        if state != "synced":
            return Withheld(state or "waiting", said.fields.get("reason", ""))
        if not self.continues:
            return Withheld("rebuilding", "this server is following them anew")
        return None if self.sync.trusted else Withheld("crossed", "a match is being told")


def unvouched(said: OrderStatement | StateUnreadable | None, heard_at: float) -> Withheld | None:
    """Why nobody vouches for orders, whatever was published; None: their owner does. `heard_at`: as above."""
    if time.monotonic() - heard_at > SILENT_S:
        return Withheld("unknown", "Redis does not answer")
    if said is None:
        return Withheld("unknown", "nothing is known of them yet")
    if isinstance(said, StateUnreadable):
        return Withheld("unreadable", str(said))
    if not said.owner:
        return Withheld("not owned", "no worker holds their lease")
    return Withheld("unheard", "their owner says nothing") if said.unheard_ms > UNHEARD_MS else None


def refuse_unfollowed(market: Market, where: str) -> None:
    """Raise NotKnown where single orders of a market's venue are not followed."""
    if market.context.venue.order_feed is None:
        wanted = market.context.settings.orders_wanted
        raise NotKnown(f"Single orders of {market.venue} are not followed", f"it takes {wanted}", where)


class LiveOrders:
    """Replicas of single orders, by market.

    Args:
        client: asked for checkpoints, streams and statements.
        reader: follows the raw streams.
    """

    def __init__(self, client: Any, reader: Reader, settings: Settings) -> None:
        self._client = client
        self._reader = reader
        self._most = settings.orders.max_orders
        self._idle_s = settings.api.idle_s
        self._replicas: dict[Market, OrderReplica] = {}
        self._rebuilding: dict[Market, asyncio.Task[None]] = {}
        self._hurry = reader.every(POLL_S, self._poll)

    @property
    def followed(self) -> list[Market]:
        """The markets whose orders are followed now."""
        return list(self._replicas)

    async def demand(self, market: Market) -> OrderReplica:
        """The replica of a market, ready to be served.

        Raises:
            NotKnown: single orders of that venue are not followed.
            OrdersNotServed: they are not in sync, or cannot be followed in time.
        """
        refuse_unfollowed(market, "query.venue")
        replica = self._replicas.get(market)
        if replica is None:
            replica = self._replicas[market] = OrderReplica(market)
            FOLLOWED.labels(market.venue).inc()
            self._hurry()
        replica.used_at = time.monotonic()
        until = replica.born_at + FIRST_WAIT_S
        while (why := replica.withheld(self._reader.heard_at)) is not None:
            waits = until if why.state in ("unknown", "rebuilding") else replica.used_at + POLL_S
            if why.state not in ("unknown", "rebuilding", "crossed") or time.monotonic() >= waits:
                detail = f"their state is {why.state!r}" + (
                    f", because of {why.reason!r}" if why.reason else ""
                )
                title = f"The orders of {market.symbol} at {market.venue} are withheld"
                raise OrdersNotServed(title, f"{detail}; try again")
            await asyncio.sleep(0.01)
        return replica

    async def _poll(self) -> None:
        """Learn what the owners say; begin anew what is no continuation of it; drop what nobody asked for lately."""
        now = time.monotonic()
        for market, replica in list(self._replicas.items()):
            if now - replica.used_at > self._idle_s:
                del self._replicas[market]
                self._reader.leave(replica.key)
                FOLLOWED.labels(market.venue).dec()
                continue
            try:
                replica.statement = await order_statement(self._client, market.context.keys, market.symbol)
            except StateUnreadable as error:
                replica.statement = error
            if not replica.continues and market not in self._rebuilding:
                task = self._rebuilding[market] = seen(
                    asyncio.create_task(self._rebuild(replica), name=f"api: orders of {market.symbol}")
                )
                task.add_done_callback(partial(self._rebuilt, market))

    def _rebuilt(self, market: Market, _: asyncio.Task[None]) -> None:
        self._rebuilding.pop(market, None)

    async def _rebuild(self, replica: OrderReplica) -> None:
        """Rebuild until the orders are a continuation of what the owner says."""
        pauses, market = Pauses(RETRY_FIRST_S, RETRY_MAX_S), replica.market
        feed, name = market.context.venue.order_feed, market.context.name
        while feed is not None and self._replicas.get(market) is replica:
            said = replica.statement
            if isinstance(said, OrderStatement) and said.fields.get("state") == "synced":
                decoding = OrderDecoding(feed.rules, feed.by_id, feed.message)
                try:
                    fold = await rebuild_orders(
                        self._client, market.context.keys, market.symbol, decoding, self._most
                    )
                except (RedisError, OSError, StateUnreadable) as error:
                    REBUILDS.labels(name, "failed").inc()
                    log.warning("orders_not_rebuilt", venue=name, symbol=market.symbol, error=str(error))
                else:
                    if self._replicas.get(market) is not replica:
                        return  # dropped meanwhile
                    replica.fold = fold
                    if replica.continues:
                        self._reader.follow(replica.key, replica.take, fold.stream_id)
                        REBUILDS.labels(name, "done").inc()
                        return
                    REBUILDS.labels(name, "not in sync").inc()
            await asyncio.sleep(pauses.take())

    async def close(self) -> None:
        """End what is under way."""
        await end(list(self._rebuilding.values()))
