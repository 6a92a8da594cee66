"""Questions about single orders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec import UNSET

from workers.api.http.markets import Markets
from workers.api.http.operations import Operation
from workers.api.http.order_types import OrderAnswer, OrderLevel, OrdersAnswer, RestingOrder
from workers.api.http.queries import OrderQuery, OrdersQuery
from workers.api.orders.live import LiveOrders
from workers.errors import NotKnown
from workers.model.books.order_book import Side
from workers.model.level3.queue import Order
from workers.model.level3.sync import OrderSync

DEPTH, FIRST = 10, 20


class OrderRoutes:
    """`/orders`, `/orders/{id}`."""

    def __init__(self, markets: Markets, orders: LiveOrders) -> None:
        self._markets = markets
        self._orders = orders

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/orders",
                "getOrders",
                "Single orders in their queues",
                "books",
                OrdersAnswer,
                self.orders,
                OrdersQuery,
                problems=(404, 422, 503),
                described="The best levels of each side with the first orders of their queues, the head first. Where "
                "`is_complete` is false, sum, number and places are lower bounds.",
            ),
            Operation(
                "GET",
                "/orders/{id}",
                "getOrder",
                "Where an order stands",
                "books",
                OrderAnswer,
                self.order,
                OrderQuery,
                problems=(404, 422, 503),
                described="404 where no order of that id rests now: it is gone, or was never told.",
            ),
        ]

    async def orders(self, query: OrdersQuery) -> OrdersAnswer:
        """`GET /orders`."""
        market = self._markets.find(query.symbol, query.venue)
        sync = (await self._orders.demand(market)).sync
        depth = DEPTH if query.depth is UNSET else query.depth
        first = FIRST if query.first is UNSET else query.first
        return OrdersAnswer(
            venue=market.venue,
            symbol=market.symbol,
            last_id=sync.last_id,
            last_number=sync.last_position,
            event_us=sync.last_us,
            synced_at_us=sync.synced_us,
            is_whole=sync.book.whole,
            orders_count=len(sync.book),
            bids=list(_levels(sync, "bid", depth, first)),
            asks=list(_levels(sync, "ask", depth, first)),
        )

    async def order(self, query: OrderQuery) -> OrderAnswer:
        """`GET /orders/{id}`."""
        market = self._markets.find(query.symbol, query.venue)
        sync = (await self._orders.demand(market)).sync
        order, place = sync.book.order(query.id), sync.book.place(query.id)
        if order is None or place is None:
            raise NotKnown(
                f"No order {query.id!r} of {market.symbol} at {market.venue} rests now",
                "it is gone, or was never told",
                "path.id",
            )
        queue = order.queue
        return OrderAnswer(
            venue=market.venue,
            symbol=market.symbol,
            side=queue.side,
            price=queue.price,
            order=_resting(sync, order),
            orders_ahead=place.position,
            quantity_ahead=place.quantity_ahead,
            is_exact=place.exact,
            level_quantity=queue.quantity,
            level_orders=queue.count,
        )


def _levels(sync: OrderSync, side: Side, depth: int, first: int) -> Iterator[OrderLevel]:
    for queue in islice(sync.book.levels(side), depth):
        orders = [_resting(sync, order) for order in queue.first(first)]
        yield OrderLevel(queue.price, queue.quantity, queue.count, sync.book.complete(queue), orders)


def _resting(sync: OrderSync, order: Order) -> RestingOrder:
    age_us = sync.book.age_us(order.order_id, sync.last_us)
    return RestingOrder(
        order.order_id,
        order.quantity,
        None if order.placed_us < 0 else order.placed_us,
        None if age_us is None else age_us // 1000,
        order.seen,
    )
