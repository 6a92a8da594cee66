"""The single orders of a replay: their owner beside those of books and trades, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.model.level3.top import decode_orders_top, top_levels
from workers.orders.book import OwnedOrders
from workers.orders.worker import OrderWorker
from workers.verification.stored import Book, FleetReader

TOP = 10


def unsettled(worker: OrderWorker) -> list[str]:
    """What was read and is not stored or published yet, in sentences."""
    return [
        f"{book.key}: its orders are not stored, or not published."
        for book in worker.books.values()
        if book.pending or (book.sync.synced and (book.pace.waiting or not book.shown))
    ]


def outcomes(worker: OrderWorker) -> Mapping[str, OwnedOrders]:
    """By name in the report, the books of orders that something came of."""
    return {
        f"{book.claim.context.keys.prefix}{book.claim.symbol}": book
        for book in worker.books.values()
        if book.last_stream_id != b"0-0"
    }


async def add_orders(
    client: Any,
    reader: FleetReader,
    owned: Mapping[str, OwnedOrders],
    found: dict[str, Any],
    problems: list[str],
) -> None:
    """What the report says of single orders: how the books fared, and the best levels as they were published."""
    for book in reader.books:
        if (orders := owned.get(book.name)) is None:
            continue
        sync = orders.sync
        bids, asks = top_levels(sync.book, TOP, 0)
        counts = {name: sync.counts[name] for name in ("syncs", "lost", "repeated", "unknown")}
        found["orders"][book.name] = {
            "state": "synced" if sync.synced else "broken",
            "id": sync.last_id,
            "orders": len(sync.book),
            "whole": sync.book.whole,
            "bids": [[level.price, level.quantity, level.orders] for level in bids],
            "asks": [[level.price, level.quantity, level.orders] for level in asks],
            **counts,
        }
        if sync.counts["lost"]:
            problems.append(f"{book.name}: the single orders left sync {sync.counts['lost']} time(s).")
        if not sync.synced:
            problems.append(f"{book.name}: the single orders are not in sync ({sync.reason}).")
        elif (shown := await _shown(client, book)) != sync.last_id:
            problems.append(
                f"{book.name}: what is published of single orders stands at {shown or 'nothing'}."
            )


async def _shown(client: Any, book: Book) -> str:
    newest = await client.xrevrange(book.context.keys.orders_top(book.symbol), count=1)
    return decode_orders_top(newest[0][1][b"data"]).u if newest else ""
