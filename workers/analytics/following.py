"""Following the single orders of the symbols whose analytics a worker owns: a plain reader beside the role `orders`.

A book is a fold of the same stream as that of its owner, begun with the owner's checkpoint, and is used for as long as
it is a continuation of what the owner says is in sync. Else the symbol is looked at on level 2.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.analytics.owned import OwnedAnalytics
from workers.errors import StateUnreadable
from workers.runtime.quarantine import Quarantine
from workers.store.analytics.publishing import AnalyticsStore
from workers.store.analytics.reading import AnalyticsReader
from workers.store.log.tail import Place
from workers.store.orders.rebuilding import OrderDecoding, OrderStatement, order_statements, rebuild_orders
from workers.store.refusals import refusal_of

WORK: Final = "orders"
"""The work, as the quarantine knows it."""
IN_SYNC: Final = ("synced", "crossed")
"""What the owner says of a book that is right: crossed is one for as long as a match is being told."""
EVENTS_LOOKED_AT: Final = 200
"""Newest events among which a new owner looks for icebergs that were told."""


class OrdersFollowing:
    """Takes up books of orders, and lets them go.

    Args:
        stores: by venue.
        max_orders: of one book.
    """

    def __init__(
        self, client: Redis, stores: Mapping[str, AnalyticsStore], quarantine: Quarantine, max_orders: int
    ) -> None:
        self._client = client
        self._stores = stores
        self._quarantine = quarantine
        self._max_orders = max_orders

    async def remember(self, owned: OwnedAnalytics) -> None:
        """Learn what earlier owners told of icebergs, not to tell it again. One round trip."""
        context, symbol = owned.claim
        try:
            newest = await AnalyticsReader(self._client, context.keys).newest(symbol, EVENTS_LOOKED_AT)
        except ResponseError as error:
            if refusal_of(error).of_server:
                raise
            return  # whoever writes there finds out
        for event in reversed(newest):
            owned.analytics.orders.told.is_news(event)

    async def look(self, symbols: Iterable[OwnedAnalytics]) -> dict[OwnedAnalytics, Place]:
        """Let go what does not continue what its owner says, and take up what can be; where to read those on.

        Cost: one round trip, where orders of any are followed; for each that is taken up those of `rebuild_orders`.
        """
        wanted = [owned for owned in symbols if owned.claim.context.venue.order_feed is not None]
        if not wanted:
            return {}
        said = await order_statements(
            self._client, [(owned.claim.context.keys, owned.claim.symbol) for owned in wanted]
        )
        begun: dict[OwnedAnalytics, Place] = {}
        for owned, statement in zip(wanted, said, strict=True):
            if not self._is_good(statement):
                self.let_go(owned)
            elif isinstance(statement, OrderStatement):
                fold = owned.analytics.orders.fold
                if fold is not None and fold.continues(statement.fields):
                    continue
                if (place := await self._begin(owned, statement)) is not None:
                    begun[owned] = place
        return begun

    @staticmethod
    def _is_good(said: OrderStatement | StateUnreadable) -> bool:
        return isinstance(said, OrderStatement) and said.heard and said.fields.get("state") in IN_SYNC

    async def _begin(self, owned: OwnedAnalytics, said: OrderStatement) -> Place | None:
        self.let_go(owned)
        context, symbol = owned.claim
        feed, now = context.venue.order_feed, time.monotonic()
        if feed is None or now < owned.orders_at or not self._quarantine.due(context, symbol, WORK):
            return None
        owned.orders_at = now + owned.orders_pauses.take()
        try:
            fold = await rebuild_orders(
                self._client,
                context.keys,
                symbol,
                OrderDecoding(feed.rules, feed.by_id, feed.message),
                self._max_orders,
            )
            place = await self._stores[context.name].place_of(owned.orders_key, fold.stream_id.decode())
        except (ResponseError, StateUnreadable) as error:
            await self.failed(owned, error)
            return None
        self._quarantine.worked(context, symbol, WORK)
        if place is None or not fold.continues(said.fields):
            return None
        owned.orders_pauses.reset()
        owned.analytics.begin_orders(fold)
        owned.tell_level()
        return place

    async def failed(self, owned: OwnedAnalytics, error: BaseException) -> None:
        """A key of the orders cannot be used."""
        self.let_go(owned)
        await self._quarantine.failed(*owned.claim, WORK, error)

    @staticmethod
    def let_go(owned: OwnedAnalytics) -> None:
        """Go on with level 2, if that is not so already."""
        owned.analytics.end_orders()
        owned.tell_level()
