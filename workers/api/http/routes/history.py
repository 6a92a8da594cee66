"""Questions about a book at a second of the last 24 h, and beyond them where an archive is kept."""

from __future__ import annotations

import time
from functools import partial

from msgspec import UnsetType
from redis.asyncio import Redis

from workers.api.books.replica import as_wanted
from workers.api.http.markets import Market, Markets
from workers.api.http.operations import Operation
from workers.api.http.queries import (
    HistoryBookQuery,
    HistoryQuantityQuery,
    OfSymbol,
    number,
    price_text,
    to_second,
)
from workers.api.http.types import HistoryAnswer, HistoryBookAnswer, HistoryGapRecord, HistoryQuantityAnswer
from workers.archive.files.past import FiledPast
from workers.archive.files.storage import Storage
from workers.errors import BadInput, NotKnown
from workers.model.history.block import Unknown
from workers.store.history.reading import HistoryReader
from workers.venues.entries import depth_of

MOST_BEHIND_S = 3 * 86_400
"""By how much our clock may be wrong for a question about the present to be answered still."""


class Histories:
    """The history of every venue's books.

    Args:
        archive: has what Redis has no more; None: nobody has.
    """

    def __init__(self, markets: Markets, client: Redis, archive: Storage | None = None) -> None:
        self._past = {name: FiledPast(archive, name) for name in markets.contexts} if archive else {}
        self._readers = {
            name: HistoryReader(
                client,
                context.keys,
                rule=context.venue.book_rule,
                decode=partial(depth_of, context.venue),
                filed=self._past.get(name),
            )
            for name, context in markets.contexts.items()
        }

    def of(self, market: Market) -> HistoryReader:
        """The reader for a market."""
        return self._readers[market.venue]

    async def archived(self, market: Market) -> tuple[int, int] | None:
        """The seconds at which the first and the last archived block start; None: there is none."""
        try:
            return await self._past[market.venue].ends(market.symbol) if self._past else None
        except OSError:
            return None  # whoever asks for one of its seconds is told

    async def quantity(self, market: Market, price: str, second: int) -> str | None:
        """The quantity at a price in a second, `"0"` for none; None: not known."""
        found = await self.of(market).quantity_at(market.symbol, price, second)
        return None if isinstance(found, Unknown) else found.quantity

    async def known_quantity(self, market: Market, price: str, second: int, where: str) -> str:
        """The same. Raises: NotKnown, with the reason."""
        found = await self.of(market).quantity_at(market.symbol, price, second)
        if isinstance(found, Unknown):
            raise unknown(market, found, where)
        return found.quantity


def unknown(market: Market, found: Unknown, where: str) -> NotKnown:
    """The problem of a second that is not known."""
    detail = f"second {found.second} of {market}: {found.reason}; GET /history lists what is held"
    return NotKnown("unknown second", detail, where)


class HistoryRoutes:
    """`/history`, `/history/book`, `/history/quantity`."""

    def __init__(self, markets: Markets, histories: Histories, most_seconds: int) -> None:
        self._markets = markets
        self._histories = histories
        self._most_seconds = most_seconds

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/history",
                "getHistory",
                "What is held of a book's history",
                "history",
                HistoryAnswer,
                self.statistics,
                OfSymbol,
                problems=(404, 422, 503),
                described="`from` and `to` are the first and the last second told of in blocks; newer seconds are "
                "answered from the stream. Seconds from `archived_from` to the minute of `archived_to` are in the "
                "archive, and are answered as the others are; `gaps` tells of the blocks in Redis alone.",
            ),
            Operation(
                "GET",
                "/history/book",
                "getHistoryBook",
                "The book at a second",
                "history",
                HistoryBookAnswer,
                self.book,
                HistoryBookQuery,
                problems=(404, 422, 503),
                described="The book after every event up to the second `at`. 404 `unknown second`, with the reason, "
                "where it is not known.",
            ),
            Operation(
                "GET",
                "/history/quantity",
                "getHistoryQuantity",
                "The quantity at a price, second by second",
                "history",
                HistoryQuantityAnswer,
                self.quantity,
                HistoryQuantityQuery,
                problems=(404, 422, 503),
                described="Every second from `from` to `to`; null where it is not known, `0` where the book is known "
                "to have had nothing at that price.",
            ),
        ]

    async def statistics(self, query: OfSymbol) -> HistoryAnswer:
        """`GET /history`."""
        market = self._markets.find(query.symbol, query.venue)
        stored = await self._histories.of(market).statistics(market.symbol)
        archived = await self._histories.archived(market)
        if not stored.blocks and not archived:
            market.refuse_unlisted("query.symbol")
        return HistoryAnswer(
            venue=market.venue,
            symbol=market.symbol,
            from_=stored.first,
            to=stored.last,
            seconds_held=stored.seconds_held,
            blocks=stored.blocks,
            bytes=stored.bytes,
            archived_from=archived[0] if archived else None,
            archived_to=archived[1] if archived else None,
            gaps=[HistoryGapRecord(from_=gap.first, to=gap.last, reason=gap.reason) for gap in stored.gaps],
        )

    async def book(self, query: HistoryBookQuery) -> HistoryBookAnswer:
        """`GET /history/book`."""
        market = self._markets.find(query.symbol, query.venue)
        depth = None if isinstance(query.depth, UnsetType) else query.depth
        second = to_second(query.at)
        found = await self._histories.of(market).book_at(market.symbol, second, depth)
        if isinstance(found, Unknown):
            raise unknown(market, found, "query.at")
        return HistoryBookAnswer(
            venue=market.venue,
            symbol=market.symbol,
            timestamp=found.second,
            last_update_id=found.update_id,
            known_low=found.known_low,
            known_high=found.known_high,
            bids=as_wanted(found.bids, query.numbers),
            asks=as_wanted(found.asks, query.numbers),
        )

    async def quantity(self, query: HistoryQuantityQuery) -> HistoryQuantityAnswer:
        """`GET /history/quantity`."""
        market = self._markets.find(query.symbol, query.venue)
        price = price_text(query.price, "query.price")
        first, last = to_second(query.from_), to_second(query.to)
        if last < first:
            raise BadInput("The range is empty", "`to` must not be before `from`", "query.to")
        if last - first >= self._most_seconds:
            raise BadInput("The range is too long", f"at most {self._most_seconds} seconds", "query.to")
        if first > time.time() + MOST_BEHIND_S:
            raise BadInput("The range has not come yet", "ask for the past", "query.from")
        series = await self._histories.of(market).series(market.symbol, price, first, last)
        return HistoryQuantityAnswer(
            venue=market.venue,
            symbol=market.symbol,
            price=number(price, query.numbers),
            from_=first,
            to=last,
            seconds=[
                (second, None if quantity is None else number(quantity, query.numbers))
                for second, quantity in series
            ],
        )
