"""The part of the client that reads what a fleet finds: alerts, and what is inferred of books and trades."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from workers.client.naming import keys_of
from workers.model.analytics.events import AnalyticsEvent
from workers.store.alerts.book import AlertBook, OpenAlert, Told
from workers.store.analytics.reading import AnalyticsNow, AnalyticsReader


class FindingsClient(ABC):
    """Reads of alerts and analytics."""

    _client: Any

    @abstractmethod
    async def _name(self, text: str) -> str:
        """The name as keys have it."""

    async def alerts(self) -> list[OpenAlert]:
        """The alerts that are open now, the oldest first, each with what a language model said of it, if anything."""
        return await AlertBook(self._client).opened()

    async def newest_alerts(self, count: int = 100) -> list[Told]:
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
