"""The channel `orders`: the best levels of single orders with the heads of their queues, as their owner publishes them.

What stands in `orders:{S}:top` is good for as long as its owner is heard; so the owners' statements are read beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from workers.api.books.reader import Reader
from workers.api.books.replica import Withheld
from workers.api.http.markets import Market
from workers.api.http.order_types import OrderLevel, RestingOrder
from workers.api.live import messages
from workers.api.live.messages import Channel, encode
from workers.api.live.topics import PATIENCE_S, NewestTopic, Topic
from workers.api.orders.live import refuse_unfollowed, unvouched
from workers.errors import StateUnreadable
from workers.model.level3.top import OrdersTop, TopLevel, TopOrder, decode_orders_top
from workers.store.books.watch import Entry
from workers.store.log.follower import entry_before
from workers.store.orders.rebuilding import OrderStatement, order_statements

STATEMENTS_S: Final = 1.0
"""How often the owners' statements are read; each says one as often."""
_WARMING: Final = ("unknown", "waiting")


class OrdersTopic(NewestTopic):
    """The single orders of a market: the newest publication, or why there is none to be trusted."""

    channel: Channel = "orders"

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._newest: OrdersTop | Withheld = Withheld("waiting", "nothing was published yet")
        self._said: OrderStatement | StateUnreadable | None = None
        self._since = time.monotonic()
        self._shown: OrdersTop | Withheld | None = None

    @property
    def key(self) -> str:
        """Its stream."""
        return self.market.context.keys.orders_top(self.market.symbol)

    def take(self, entries: Sequence[Entry]) -> bool:
        """Take the newest of some publications; whether it withdraws the orders. O(one of them)."""
        try:
            self._newest = decode_orders_top(entries[-1][1].get(b"data", b""))
        except msgspec.DecodeError:
            self._newest = Withheld("unreadable", f"the newest entry of {self.key} is none of the fleet's")
            return True
        return bool(self._newest.withheld)

    def said(self, statement: OrderStatement | StateUnreadable) -> None:
        """Take what the owner said."""
        self._said = statement

    def publish(self, heard_at: float) -> None:
        """Send what is new; `heard_at`: when Redis last answered (monotonic seconds)."""
        shown = self._now(heard_at)
        is_warming = self._shown is None and isinstance(shown, Withheld) and shown.state in _WARMING
        if shown == self._shown or (is_warming and time.monotonic() - self._since < PATIENCE_S):
            return
        self._shown = shown
        self.show(self._encoded(shown))

    def _now(self, heard_at: float) -> OrdersTop | Withheld:
        said = self._said
        if (why := unvouched(said, heard_at)) is not None or not isinstance(said, OrderStatement):
            return why or Withheld("unknown", "")
        newest = self._newest
        if isinstance(newest, Withheld):
            return newest
        if not newest.withheld:
            withdrawn = said.withdraws(newest.published)
            return (
                Withheld(said.fields.get("state", ""), said.fields.get("reason", "")) if withdrawn else newest
            )
        is_of_it = said.fields.get("state") == newest.withheld
        return Withheld(newest.withheld, said.fields.get("reason", "") if is_of_it else "")

    def _encoded(self, shown: OrdersTop | Withheld) -> bytes:
        venue, symbol = self.market.venue, self.market.symbol
        if isinstance(shown, Withheld):
            return encode(messages.OrdersGone(venue, symbol, shown.state, shown.reason))
        return encode(
            messages.OrdersSnapshot(
                venue,
                symbol,
                last_id=shown.u,
                last_number=shown.n,
                event_us=shown.E,
                synced_at_us=shown.synced_at,
                is_whole=shown.whole,
                orders_count=shown.orders,
                bids=[_level(level, shown.E) for level in shown.b],
                asks=[_level(level, shown.E) for level in shown.a],
            )
        )


def _level(level: TopLevel, event_us: int) -> OrderLevel:
    orders = [_resting(order, event_us) for order in level.first]
    return OrderLevel(level.price, level.quantity, level.orders, level.complete, orders)


def _resting(order: TopOrder, event_us: int) -> RestingOrder:
    is_dated = order.placed_us >= 0
    return RestingOrder(
        order.order_id,
        order.quantity,
        order.placed_us if is_dated else None,
        max(0, event_us - order.placed_us) // 1000 if is_dated else None,
        order.seen,
    )


class OrderTopics:
    """The topics of the channel `orders`.

    Args:
        client: asked for the owners' statements.
        reader: follows the streams of publications.
    """

    def __init__(self, client: Any, reader: Reader) -> None:
        self._client = client
        self._reader = reader
        self._topics: dict[Market, OrdersTopic] = {}
        self._hurry = reader.every(STATEMENTS_S, self._poll)
        reader.after_each_round(self._publish)

    def refuse(self, market: Market) -> None:
        """Raise NotKnown where single orders of the venue are not followed."""
        refuse_unfollowed(market, "symbols")

    def stream(self, market: Market) -> str:
        """That of the publications."""
        return market.context.keys.orders_top(market.symbol)

    def open(self, market: Market, end: bytes) -> OrdersTopic:
        """The orders of a market, the newest publication first."""
        topic = self._topics[market] = OrdersTopic(market)
        self._reader.follow(topic.key, partial(self._take, topic), entry_before(end))
        self._hurry()
        return topic

    def close(self, topic: Topic) -> None:
        """Nobody follows a market's any more."""
        self._reader.leave(self._topics.pop(topic.market).key)

    def _take(self, topic: OrdersTopic, entries: Sequence[Entry]) -> None:
        if topic.take(entries):
            self._hurry()  # the statement says why

    async def _poll(self) -> None:
        if topics := list(self._topics.values()):
            symbols = [(topic.market.context.keys, topic.market.symbol) for topic in topics]
            for topic, said in zip(topics, await order_statements(self._client, symbols), strict=True):
                topic.said(said)

    def _publish(self) -> None:
        for topic in self._topics.values():
            topic.publish(self._reader.heard_at)
