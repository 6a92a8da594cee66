"""The channel `alerts`: what is open at a market, its venue and the fleet, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workers.api.books.reader import Reader
from workers.api.http.alert_types import event_of, with_comment
from workers.api.http.markets import Market
from workers.api.live import messages
from workers.api.live.messages import Channel, encode
from workers.api.live.topics import NewestTopic, Topic
from workers.model.alerts.records import Alert
from workers.model.alerts.rules import BEYOND_LIMIT, Target
from workers.store.alerts.book import AlertBook, AlertEntry, OpenAlert, alert_entries
from workers.store.books.watch import Entry
from workers.store.keys import ALERTS

OPENED_S: Final = 1.0
"""How often those that are open are read."""


class AlertsTopic(NewestTopic):
    """The alerts of one market: the open ones as a whole each time they change, and what was told one by one."""

    channel: Channel = "alerts"

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._targets = {Target(market.venue, market.symbol), Target(market.venue), Target(), BEYOND_LIMIT}
        self._concerned: set[str] = set()
        """Alerts that were seen to be of these targets: a comment says the alert's id alone."""

    def opened(self, alerts: Sequence[OpenAlert]) -> None:
        """Take all alerts that are open now; send those of the market if they are others than before."""
        ours = [with_comment(one) for one in alerts if one.alert.target in self._targets]
        self._concerned = {one.alert.id for one in ours}
        message = encode(messages.OpenAlerts(self.market.venue, self.market.symbol, ours))
        if message != self._message:
            self.show(message)

    def send(self, entries: Sequence[AlertEntry]) -> None:
        """Send on what became of the market's alerts."""
        for entry in entries:
            record = entry.record
            if isinstance(record, Alert):
                if record.target not in self._targets:
                    continue
                self._concerned.add(record.id)
            elif record.alert not in self._concerned:
                continue
            self.tell(encode(messages.AlertTold(self.market.venue, self.market.symbol, event_of(entry))))


class AlertTopics:
    """The topics of the channel `alerts`: of them all there is one stream.

    Args:
        alerts: what they tell of.
    """

    def __init__(self, alerts: AlertBook, reader: Reader) -> None:
        self._alerts = alerts
        self._reader = reader
        self._topics: dict[Market, AlertsTopic] = {}
        self._hurry = reader.every(OPENED_S, self._poll)

    def refuse(self, market: Market) -> None:
        """Every market may have alerts."""

    def stream(self, _: Market) -> str:
        """That of all alerts."""
        return ALERTS

    def open(self, market: Market, end: bytes) -> AlertsTopic:
        """The alerts of a market."""
        if not self._topics:
            self._reader.follow(ALERTS, self._take, end)
        topic = self._topics[market] = AlertsTopic(market)
        self._hurry()
        return topic

    def close(self, topic: Topic) -> None:
        """Nobody follows a market's any more."""
        del self._topics[topic.market]
        if not self._topics:
            self._reader.leave(ALERTS)

    def _take(self, entries: Sequence[Entry]) -> None:
        changes = alert_entries(entries)
        for topic in self._topics.values():
            topic.send(changes)
        self._hurry()

    async def _poll(self) -> None:
        if topics := list(self._topics.values()):
            opened = await self._alerts.opened()
            for topic in topics:
                topic.opened(opened)
