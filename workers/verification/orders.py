"""Checking the single orders a fleet holds against the simulated exchange: each by id, price, quantity and place."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.model.level3.checkpoint import decode_orders
from workers.model.level3.sync import OrderSync
from workers.store.orders.publishing import OrderStore
from workers.verification.stored import Book
from workers.verification.truth import Findings
from workers.verification.truth_source import TruthSource

TRAILING_S: Final = 30.0
"""How long a stopped market's last orders may take to be stored, a seed that is on its way included."""

Rows = list[list[str]]
"""Price, what is left, and id: best price first, and each price in the order of its queue."""


async def check_orders(client: Redis, book: Book, source: TruthSource, findings: Findings) -> None:
    """Compare the orders of a stopped market, where the fleet follows them."""
    if book.context.venue.order_feed is None:
        return
    truth = await source.orders(book.context.settings.market, book.symbol)
    deadline, difference = time.monotonic() + TRAILING_S, "nothing is stored"
    while difference and time.monotonic() < deadline:
        sync = await _stored(client, book)
        difference = _difference(sync, truth) if sync is not None else "nothing is stored"
        if difference:
            await asyncio.sleep(0.1)
    if difference:
        findings.orders_differ += 1
        findings.tell(f"{book.name}: of its single orders {difference}.")
    else:
        findings.orders_equal += len(truth["bids"]) + len(truth["asks"])


async def _stored(client: Redis, book: Book) -> OrderSync | None:
    feed = book.context.venue.order_feed
    try:
        stored = await OrderStore(client, book.context.keys, 1).checkpoint(book.symbol)
        return None if stored is None or feed is None else decode_orders(stored, feed.rules)[0]
    except StateUnreadable:
        return None


def _difference(sync: OrderSync, truth: dict[str, Any]) -> str:
    """What differs first; empty: nothing."""
    if not sync.synced:
        return f"the book is not in sync ({sync.reason})"
    if sync.last_id != truth["event_id"]:
        return f"the book stands at {sync.last_id or 'no event'}, the exchange at {truth['event_id']}"
    sides: tuple[tuple[str, Rows], ...] = (
        ("bids", _rows(sync, bids=True)),
        ("asks", _rows(sync, bids=False)),
    )
    for name, held in sides:
        really: Rows = truth[name]
        if held != really:
            at = next(
                (at for at, pair in enumerate(zip(held, really, strict=False)) if pair[0] != pair[1]), -1
            )
            return f"{len(held)} {name} are held and there are {len(really)}; the first that differs is {at}"
    return ""


def _rows(sync: OrderSync, *, bids: bool) -> Rows:
    queues = sync.book.levels("bid" if bids else "ask")
    return [[queue.price, order.quantity, order.order_id] for queue in queues for order in queue]
