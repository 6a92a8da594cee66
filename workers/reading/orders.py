"""`fleet orders`: the single orders of a symbol in their queues, and where one of them stands."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from workers.errors import BookWithheld, CommandError
from workers.model.books.order_book import Side
from workers.model.level3.queue import Order
from workers.model.level3.sync import OrderSync
from workers.reading.opening import fleet_of, run_reading, symbol_name
from workers.runtime.context import VenueContext, venue_contexts
from workers.store.connection import connect
from workers.store.orders.rebuilding import OrderDecoding, trusted_orders
from workers.terminal.saying import say, say_json


class Request(NamedTuple):
    """The command line."""

    symbol: str
    depth: int
    first: int
    order_id: str


def run_orders(request: Request, config: Path | None, *, as_json: bool) -> int:
    """Show the orders; the exit code."""
    effective = fleet_of(config)
    name = symbol_name(effective, request.symbol)
    venue, _, symbol = name.rpartition(":")
    contexts = venue_contexts(effective.settings)
    context = next((one for one in contexts if one.name == venue), contexts[0])
    most = effective.settings.orders.max_orders

    async def read(url: str) -> None:
        client = connect(url)
        try:
            sync = await _orders(client, context, symbol, most)
        finally:
            await client.aclose()
        if request.order_id:
            _show_order(sync, request.order_id, name, as_json=as_json)
        else:
            _show(sync, request, as_json=as_json)

    return run_reading(effective, [name], read, None)


async def _orders(client: Any, context: VenueContext, symbol: str, most: int) -> OrderSync:
    """The orders as Redis has them. Raises: CommandError, where they are withheld or not followed."""
    feed = context.venue.order_feed
    if feed is None:
        wanted = context.settings.orders_wanted
        raise CommandError(f"Single orders of {context.name} are not followed. It takes {wanted}.")
    decoding = OrderDecoding(feed.rules, feed.by_id, feed.message)
    try:
        return await trusted_orders(client, context.keys, symbol, decoding, most)
    except BookWithheld as error:
        raise CommandError(str(error)) from error


def _show(sync: OrderSync, request: Request, *, as_json: bool) -> None:
    sides = {side: list(_levels(sync, side, request)) for side in ("bid", "ask")}
    if as_json:
        head = {
            "symbol": sync.symbol,
            "orders": len(sync.book),
            "whole": sync.book.whole,
            "event_us": sync.last_us,
        }
        say_json({**head, "bids": sides["bid"], "asks": sides["ask"]})
        return
    say(
        f"{sync.symbol}  {len(sync.book)} orders{'' if sync.book.whole else ', and others that are not known'}"
    )
    for side, levels in (("ask", sides["ask"][::-1]), ("bid", sides["bid"])):
        for level in levels:
            queue = "  ".join(
                f"{order['quantity']}{'' if order['seen'] else '?'}" for order in level["first"]
            )
            more = level["orders"] - len(level["first"])
            tail = f"  … {more} more" if more else ""
            sign = "" if level["complete"] else "≥"
            say(
                f"{side}  {level['price']}  {sign}{level['quantity']}  {sign}{level['orders']} orders:  {queue}{tail}"
            )


def _levels(sync: OrderSync, side: Side, request: Request) -> Iterator[dict[str, Any]]:
    for queue in islice(sync.book.levels(side), request.depth):
        yield {
            "price": queue.price,
            "quantity": queue.quantity,
            "orders": queue.count,
            "complete": sync.book.complete(queue),
            "first": [_row(order) for order in queue.first(request.first)],
        }


def _row(order: Order) -> dict[str, Any]:
    placed_us = None if order.placed_us < 0 else order.placed_us
    return {"id": order.order_id, "quantity": order.quantity, "placed_us": placed_us, "seen": order.seen}


def _show_order(sync: OrderSync, order_id: str, name: str, *, as_json: bool) -> None:
    order, place = sync.book.order(order_id), sync.book.place(order_id)
    if order is None or place is None:
        raise CommandError(f"No order {order_id} of {name} rests now: it is gone, or was never told.")
    age_us = sync.book.age_us(order_id, sync.last_us)
    row = {
        **_row(order),
        "side": order.queue.side,
        "price": order.queue.price,
        "orders_ahead": place.position,
        "quantity_ahead": place.quantity_ahead,
        "exact": place.exact,
        "age_ms": None if age_us is None else age_us // 1000,
    }
    if as_json:
        say_json(row)
        return
    least = "" if place.exact else "at least "
    age = "since when is not known" if age_us is None else f"for {age_us / 1e6:.1f} s"
    say(
        f"{row['side']} {row['quantity']} at {row['price']}, {age}; "
        f"{least}{place.position} orders with {place.quantity_ahead} ahead"
    )
