"""Questions about what is inferred of a symbol's book and trades."""

from __future__ import annotations

from msgspec import UNSET
from redis.asyncio import Redis

from workers.api.http.analytics_types import AnalyticsAnswer
from workers.api.http.health import Health
from workers.api.http.markets import Market, Markets
from workers.api.http.operations import Operation
from workers.api.http.queries import AnalyticsQuery, rows
from workers.store.analytics.reading import AnalyticsReader


class AnalyticsRoutes:
    """`/analytics`."""

    def __init__(self, markets: Markets, health: Health, client: Redis, most_rows: int) -> None:
        self._markets = markets
        self._health = health
        self._readers = {
            name: AnalyticsReader(client, context.keys) for name, context in markets.contexts.items()
        }
        self._most_rows = most_rows

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/analytics",
                "getAnalytics",
                "Figures of a book and its trades, and walls, icebergs and flicker inferred of them",
                "analytics",
                AnalyticsAnswer,
                self.analytics,
                AnalyticsQuery,
                problems=(404, 422, 503),
                described="Inferences, never facts. While the book is withheld so are its figures. `figures` null: "
                "nobody ever computed them; no `owner`: nobody does now.",
            )
        ]

    async def analytics(self, query: AnalyticsQuery) -> AnalyticsAnswer:
        """`GET /analytics`."""
        market = self._markets.find(query.symbol, query.venue)
        count = (
            0 if query.events is UNSET or not query.events else rows(query.events, self._most_rows, "events")
        )
        return await self._health.answered(self._now(market, count))

    async def _now(self, market: Market, count: int) -> AnalyticsAnswer:
        reader = self._readers[market.venue]
        owner, figures = await reader.now(market.symbol)
        if figures is None:
            market.refuse_unlisted("query.symbol")
        events = await reader.newest(market.symbol, count)
        return AnalyticsAnswer.of(market.venue, market.symbol, owner, figures, events)
