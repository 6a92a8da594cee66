"""Questions about a book as it is now."""

from __future__ import annotations

import time
from decimal import Context, Decimal
from typing import Final

from msgspec import UnsetType

from workers.api.books.live import LiveBooks
from workers.api.books.replica import Replica
from workers.api.http.markets import Market, Markets
from workers.api.http.operations import Operation, Rendered
from workers.api.http.queries import AsNumbers, BookQuery, NearestQuery, number, price_text, to_second
from workers.api.http.routes.history import Histories
from workers.api.http.types import BookAnswer, NearestAnswer, QuantityAnswer, QuantityRequest
from workers.errors import NotKnown
from workers.model.books.level_numbers import LONGEST_NUMBER
from workers.model.events import Level

EXACT: Final = Context(prec=2 * LONGEST_NUMBER)
"""No difference of two prices or quantities has more digits."""


class BookRoutes:
    """`/orderbook`, `/quantity`, `/nearest-level`."""

    def __init__(self, markets: Markets, books: LiveBooks, histories: Histories) -> None:
        self._markets = markets
        self._histories = histories
        self._books = books

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/orderbook",
                "getOrderbook",
                "The book, complete or its best levels",
                "books",
                BookAnswer,
                self.orderbook,
                BookQuery,
                problems=(404, 422, 503),
                described="Every level that is known, or `depth` of each side. While the book is not in sync the "
                "answer is 503 with state and reason, never stale levels. The ETag changes with the update id.",
            ),
            Operation(
                "POST",
                "/quantity",
                "postQuantity",
                "The quantity at a price, now or at a second",
                "books",
                QuantityAnswer,
                self.quantity,
                AsNumbers,
                body=QuantityRequest,
                problems=(404, 413, 422, 503),
                described="With `timestamp`: the quantity at exactly that price in that second, on whichever side "
                "had it, `0` where the book is known to have had none; 404 where the second or the price is unknown. "
                "Without: the level nearest to the price now, 404 where another one, not known, could be nearer. "
                "`difference` is against the last whole second that is "
                "one second or more before, at the actual price; null where the book of that second is not known.",
            ),
            Operation(
                "GET",
                "/nearest-level/{price}",
                "getNearestLevel",
                "The level nearest to a price",
                "books",
                NearestAnswer,
                self.nearest,
                NearestQuery,
                problems=(404, 422, 503),
                described="404 where another level could be nearer: beyond the known range nobody knows which there "
                "are.",
            ),
        ]

    async def orderbook(self, query: BookQuery) -> Rendered:
        """`GET /orderbook`."""
        market = self._markets.find(query.symbol, query.venue)
        replica = self._books.ready(market) or await self._books.demand(market)
        return replica.rendered(0 if isinstance(query.depth, UnsetType) else query.depth, query.numbers)

    async def quantity(self, query: AsNumbers, body: QuantityRequest) -> QuantityAnswer:
        """`POST /quantity`."""
        market = self._markets.find(body.symbol, body.venue, "body")
        price = price_text(body.price, "body.price")
        if body.timestamp is not None:
            return await self._quantity_at(market, price, to_second(body.timestamp), query.numbers)
        replica = self._books.ready(market) or await self._books.demand(market)
        actual, quantity = _nearest(replica, market, price, "body.price")
        second = (replica.event_time + replica.age_ms()) // 1000 - 1
        if second * 1000 >= replica.event_time:  # nothing has come since
            before: str | None = quantity
        else:
            before = await self._histories.quantity(market, actual, second)
        return QuantityAnswer(
            target_price=number(price, query.numbers),
            actual_price=number(actual, query.numbers),
            timestamp=round(time.time(), 3),
            quantity=number(quantity, query.numbers),
            difference=_difference(quantity, before, query.numbers),
            is_nearest_level=Decimal(actual) != Decimal(price),
        )

    async def _quantity_at(self, market: Market, price: str, second: int, numbers: bool) -> QuantityAnswer:
        """At a second: exactly that price, or a problem."""
        quantity = await self._histories.known_quantity(market, price, second, "body.timestamp")
        before = await self._histories.quantity(market, price, second - 1)
        return QuantityAnswer(
            target_price=number(price, numbers),
            actual_price=number(price, numbers),
            timestamp=second,
            quantity=number(quantity, numbers),
            difference=_difference(quantity, before, numbers),
            is_nearest_level=False,
        )

    async def nearest(self, query: NearestQuery) -> NearestAnswer:
        """`GET /nearest-level/{price}`."""
        market = self._markets.find(query.symbol, query.venue)
        price = price_text(query.price, "path.price")
        replica = self._books.ready(market) or await self._books.demand(market)
        actual, quantity = _nearest(replica, market, price, "path.price")
        return NearestAnswer(
            target_price=number(price, query.numbers),
            nearest_price=number(actual, query.numbers),
            quantity=number(quantity, query.numbers),
            timestamp=round(time.time(), 3),
            price_difference=number(exact_difference(actual, price), query.numbers),
        )


def _difference(quantity: str, before: str | None, numbers: bool) -> str | float | None:
    if before is None:
        return None
    difference: str | float = number(exact_difference(quantity, before), numbers)
    return difference


def exact_difference(text: str, other: str) -> str:
    """One number less another, with every digit."""
    return format(EXACT.subtract(Decimal(text), Decimal(other)), "f")


def _nearest(replica: Replica, market: Market, price: str, where: str) -> Level:
    """The level nearest to a price, where it is known that no other is nearer. Raises: NotKnown."""
    book = replica.book
    found = book.nearest_level(price)
    if found is None:
        raise NotKnown(f"The book of {market.symbol} is empty", "it has no level on either side")
    level, target = found[1], Decimal(price)
    away = abs(Decimal(level[0]) - target)
    low, high = Decimal(book.known_low), Decimal(book.known_high)
    # the ends of the book itself are "0" and "inf": nothing is beyond them
    if (target - away < low and low > 0) or target + away > high:
        raise NotKnown(
            "What is near to this price is not known",
            f"the book of {market} is known from {book.known_low} to {book.known_high}",
            where,
        )
    return level
