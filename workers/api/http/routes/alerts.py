"""Questions about alerts."""

from __future__ import annotations

from workers.api.http.alert_types import AlertsAnswer, event_of, with_comment
from workers.api.http.health import Health
from workers.api.http.operations import Operation
from workers.api.http.queries import AlertsQuery, rows
from workers.store.alerts.book import AlertBook


class AlertRoutes:
    """`/alerts`."""

    def __init__(self, health: Health, alerts: AlertBook, most_rows: int) -> None:
        self._health = health
        self._alerts = alerts
        self._most_rows = most_rows

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/alerts",
                "getAlerts",
                "Alerts that are open, and what became of alerts",
                "fleet",
                AlertsAnswer,
                self.alerts,
                AlertsQuery,
                problems=(422, 503),
                described="A comment is text that a language model wrote, and may be wrong. No `owner`: nobody looks.",
            )
        ]

    async def alerts(self, query: AlertsQuery) -> AlertsAnswer:
        """`GET /alerts`."""
        return await self._health.answered(self._alerts_now(rows(query.limit, self._most_rows)))

    async def _alerts_now(self, count: int) -> AlertsAnswer:
        owner, opened = await self._alerts.owner(), await self._alerts.opened()
        newest = await self._alerts.newest(count)
        return AlertsAnswer(
            owner or None,
            [with_comment(one) for one in opened],
            sum(one.alert.left_out for one in opened),
            [event_of(one) for one in newest],
        )
