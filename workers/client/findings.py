"""The part of the client that reads single orders, and what a fleet finds: alerts, and what is inferred of books and
trades."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from workers.client.decoding import WireDecoder, bar
from workers.client.feed import Feed
from workers.client.naming import keys_of
from workers.client.orders import OrdersFeed, orders_of, place_of
from workers.client.records import AnalyticsRecord, Bar, OrderPlace, Orders
from workers.client.tokens import Place
from workers.errors import BookWithheld
from workers.model.analytics.events import AnalyticsEvent
from workers.model.level3.sync import OrderSync
from workers.model.trades.windows import INTERVALS_MS
from workers.store.alerts.book import AlertBook, AlertEntry, OpenAlert
from workers.store.analytics.reading import AnalyticsNow, AnalyticsReader, events_in
from workers.store.keys import Keys
from workers.store.log.follower import Entry
from workers.store.log.recorded import RecordedAudit, RecordedGap, newest_audits, newest_gaps
from workers.store.orders.rebuilding import trusted_orders
from workers.store.trades.bars import BarReader

MOST_ORDERS: Final = 10_000_000
"""Of one symbol: whoever owns them bounds them (`orders.max_orders`)."""


class AnalyticsFeed(Feed[AnalyticsRecord]):
    """What is told of walls, icebergs and flicker of some symbols."""

    channel = "analytics"

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        *,
        resume: str | None = None,
        from_ms: int | None = None,
    ) -> None:
        super().__init__(connect, symbols, Keys.analytics_events, resume, from_ms)

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        for stream_id, fields in entries:
            position = stream_id.decode()
            found = events_in(fields)
            if not found:
                self._undecodable(name, position)
            for event in found:
                place = Place(position) if event is found[-1] else None
                self._put(name, place, AnalyticsRecord(name, position, event))


class FindingsClient(ABC):
    """Reads of single orders, alerts and analytics."""

    _client: Any

    @abstractmethod
    async def _name(self, text: str) -> str:
        """The name as keys have it."""

    @abstractmethod
    async def _decoder(self, name: str) -> WireDecoder:
        """The decoder of the venue of a symbol, named as keys have it."""

    @abstractmethod
    def _reader(self) -> Any:
        """A connection of its own for a reading."""

    def orders(
        self, symbols: Sequence[str], *, resume: str | None = None, from_ms: int | None = None
    ) -> OrdersFeed:
        """The best levels of single orders: `OrdersTop`, with `Withheld`, `Gap` and `Interrupted` among them.

        The first record of a symbol is the newest publication; of those that came at once only the newest is given.
        `resume` and `from_ms` are those of `books`.
        """
        return OrdersFeed(self._reader, symbols, resume=resume, from_ms=from_ms)

    async def get_orders(self, symbol: str, depth: int | None = None, first: int | None = None) -> Orders:
        """The single orders of a symbol now, from their checkpoint and stream.

        Args:
            depth: levels of each side, best first; None: all.
            first: orders of each level, the head of its queue first; None: all.

        Raises:
            BookWithheld: they cannot be trusted now, or nobody follows them.
            StateUnreadable: their checkpoint or status is damaged.

        Cost: a few round trips and the decoding of the checkpoint: 110,000 orders take a second.
        """
        name, sync = await self._orders(symbol)
        return orders_of(name, sync, depth, first)

    async def get_order(self, symbol: str, order_id: str) -> OrderPlace | None:
        """Where an order stands, and what is ahead of it; None: none of that id rests now.

        Raises, cost: as of `get_orders`.
        """
        name, sync = await self._orders(symbol)
        return place_of(name, sync, order_id)

    async def _orders(self, symbol: str) -> tuple[str, OrderSync]:
        text = await self._name(symbol)
        keys, name = keys_of(text)
        decoding = (await self._decoder(text)).orders
        if decoding is None:
            raise BookWithheld(text, "not followed", "of its exchange", "the single orders of ")
        return text, await trusted_orders(self._client, keys, name, decoding, MOST_ORDERS)

    def analytics(
        self, symbols: Sequence[str], *, resume: str | None = None, from_ms: int | None = None
    ) -> AnalyticsFeed:
        """Each wall, iceberg and flicker when it is told: `AnalyticsRecord`, with `Gap` and `Interrupted` among them.

        `resume` and `from_ms` are those of `books`.
        """
        return AnalyticsFeed(self._reader, symbols, resume=resume, from_ms=from_ms)

    async def get_stats(self, symbol: str) -> dict[str, Bar]:
        """The newest window of each interval, open or not yet followed by another; empty before the first trade."""
        text = await self._name(symbol)
        keys, name = keys_of(text)
        windows = await BarReader(self._client, keys).open_windows(name, list(INTERVALS_MS))
        return {
            interval: bar(
                text, interval, "", {field.encode(): value.encode() for field, value in fields.items()}
            )
            for interval, fields in windows.items()
        }

    async def get_gaps(self, symbol: str, count: int = 100) -> list[RecordedGap]:
        """The newest holes in what was received of a symbol, and what became of them, newest first.

        Raises:
            StateUnreadable: `gaps:{S}` is no stream.
        """
        keys, name = keys_of(await self._name(symbol))
        return await newest_gaps(self._client, keys, name, count)

    async def get_audits(self, symbol: str, count: int = 100) -> list[RecordedAudit]:
        """The newest comparisons of a book with an independent source, newest first.

        Raises:
            StateUnreadable: `audit:{S}` is no stream.
        """
        keys, name = keys_of(await self._name(symbol))
        return await newest_audits(self._client, keys, name, count)

    async def alerts(self) -> list[OpenAlert]:
        """The alerts that are open now, the oldest first, each with what a language model said of it, if anything."""
        return await AlertBook(self._client).opened()

    async def newest_alerts(self, count: int = 100) -> list[AlertEntry]:
        """What became of alerts, newest first: `event`, and the `Alert` or `Comment` it is about."""
        return await AlertBook(self._client).newest(count)

    async def get_analytics(self, symbol: str) -> AnalyticsNow:
        """Figures, walls and icebergs of a symbol as they were last told; None in place of what is withheld.

        Raises:
            StateUnreadable: the hash has what no owner writes.
        """
        keys, name = keys_of(await self._name(symbol))
        return await AnalyticsReader(self._client, keys).now(name)

    async def newest_analytics(self, symbol: str, count: int = 100) -> list[AnalyticsEvent]:
        """Walls, icebergs and flicker of a symbol as they were told, newest first."""
        keys, name = keys_of(await self._name(symbol))
        return await AnalyticsReader(self._client, keys).newest(name, count)
