"""Reading single orders as they are published."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec
from redis.asyncio import Redis

from workers.client.books import LOOK_S
from workers.client.feed import Feed
from workers.client.naming import keys_of
from workers.client.numbers import Number
from workers.client.records import OrderLevel, OrderPlace, Orders, OrdersTop, RestingOrder, Withheld
from workers.client.tokens import Place
from workers.errors import StateUnreadable
from workers.model.books.order_book import Side
from workers.model.level3 import top as level3
from workers.model.level3.queue import Order
from workers.model.level3.sync import OrderSync
from workers.store.books.shown import UNHEARD_MS
from workers.store.keys import Keys
from workers.store.log.follower import START, Entry
from workers.store.orders.rebuilding import OrderStatement, order_statements


def orders_top(symbol: str, position: str, top: level3.OrdersTop) -> OrdersTop:
    """The record of a publication. Raises: ValueError: a number of it is none."""
    return OrdersTop(
        symbol,
        position,
        [_level(level) for level in top.b],
        [_level(level) for level in top.a],
        top.orders,
        top.whole,
        top.u,
        top.n,
        top.E,
        top.synced_at,
        top.received,
        top.published,
    )


def _level(level: level3.TopLevel) -> OrderLevel:
    first = [
        RestingOrder(
            order.order_id,
            Number(order.quantity),
            None if order.placed_us < 0 else order.placed_us,
            order.seen,
        )
        for order in level.first
    ]
    return OrderLevel(Number(level.price), Number(level.quantity), level.orders, level.complete, first)


def orders_of(symbol: str, sync: OrderSync, depth: int | None, first: int | None) -> Orders:
    """The best levels with the first of their queues; None: all of them. O(orders given)."""

    def side(name: Side) -> list[OrderLevel]:
        return [
            OrderLevel(
                Number(queue.price),
                Number(queue.quantity),
                queue.count,
                sync.book.complete(queue),
                [_resting(order) for order in queue.first(queue.count if first is None else first)],
            )
            for queue in islice(sync.book.levels(name), depth)
        ]

    return Orders(
        symbol,
        side("bid"),
        side("ask"),
        len(sync.book),
        sync.book.whole,
        sync.last_id,
        sync.last_position,
        sync.last_us,
        sync.synced_us,
    )


def place_of(symbol: str, sync: OrderSync, order_id: str) -> OrderPlace | None:
    """Where an order stands; None: no order of that id rests."""
    order, place = sync.book.order(order_id), sync.book.place(order_id)
    if order is None or place is None:
        return None
    queue = order.queue
    return OrderPlace(
        symbol,
        queue.side,
        Number(queue.price),
        _resting(order),
        place.position,
        Number(place.quantity_ahead),
        place.exact,
        Number(queue.quantity),
        queue.count,
    )


def _resting(order: Order) -> RestingOrder:
    placed_us = None if order.placed_us < 0 else order.placed_us
    return RestingOrder(order.order_id, Number(order.quantity), placed_us, order.seen)


class OrdersFeed(Feed[OrdersTop]):
    """The published tops of single orders: first the newest, then each newest one; `Withheld` while there is none.

    What is published is good as long as its owner is heard, so what owners say is read beside it.
    """

    channel = "orders"

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        *,
        resume: str | None = None,
        from_ms: int | None = None,
    ) -> None:
        super().__init__(connect, symbols, Keys.orders_top, resume, from_ms)
        self._published: dict[str, tuple[Place, OrdersTop | str]] = {}
        """Where it stands, and a top, or why it is withheld."""
        self._given: dict[str, Withheld | OrdersTop] = {}
        self._said: dict[str, OrderStatement | StateUnreadable] = {}
        self._asked_at = 0.0

    async def _began(self) -> None:
        fresh = [name for name in self.symbols if name not in self._resumed] if self._from_ms is None else []
        for name in fresh:
            position = self._places[name].position
            if position == START:
                continue
            if found := await self._client.xrange(self._key_of[name], position, position):
                self._take(name, found)

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        stream_id, fields = entries[-1]
        position = stream_id.decode()
        try:
            top = level3.decode_orders_top(fields.get(b"data", b""))
            self._published[name] = Place(position), top.withheld or orders_top(name, position, top)
        except (msgspec.MsgspecError, ValueError):
            self._undecodable(name, position)
            return
        if top.withheld:
            self._asked_at = 0.0  # the owner's statement says why

    async def _look(self) -> None:
        now = time.monotonic()
        if now - self._asked_at >= LOOK_S:
            found = await order_statements(self._client, [keys_of(name) for name in self.symbols])
            self._said = dict(zip(self.symbols, found, strict=True))
            self._asked_at = now
        for name in self.symbols:
            place, newest = self._published.get(name, (None, None))
            record = _withheld(name, self._said[name], newest) or newest
            if isinstance(record, Withheld | OrdersTop) and self._given.get(name) != record:
                self._given[name] = record
                self._put(name, place, record)


def _withheld(
    name: str, said: OrderStatement | StateUnreadable, newest: OrdersTop | str | None
) -> Withheld | None:
    """Why the newest publication is not to be used, if it is not; `newest`: None: nothing was read yet."""
    if isinstance(said, StateUnreadable):
        return Withheld(name, "unreadable", str(said))
    if not said.owner:
        return Withheld(name, "not owned", "no worker holds their lease")
    if said.unheard_ms > UNHEARD_MS:
        return Withheld(name, "unheard", "their owner says nothing")
    state, reason = said.fields.get("state", "waiting"), said.fields.get("reason", "")
    if newest is None:
        return None if state == "synced" else Withheld(name, state, reason)
    if isinstance(newest, OrdersTop):
        return Withheld(name, state, reason) if said.withdraws(newest.published_us) else None
    return Withheld(name, newest, reason if state == newest else "")
