"""The channel `alerts`: what is open at a market, its venue and the fleet, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence

from workers.api.http.alert_types import event_of, with_comment
from workers.api.http.markets import Market
from workers.api.live import messages
from workers.api.live.messages import Channel, encode
from workers.api.live.outlet import Outlet
from workers.api.live.topics import Topic
from workers.model.alerts.records import Alert
from workers.model.alerts.rules import Target
from workers.store.alerts.book import OpenAlert, Told


class AlertsTopic(Topic):
    """The alerts of one market: the open ones as a whole each time they change, and what was told one by one."""

    channel: Channel = "alerts"

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._targets = {Target(market.venue, market.symbol), Target(market.venue), Target()}
        self._message = b""
        self._concerned: set[str] = set()
        """Alerts that were seen to be of these targets: a comment says the alert's id alone."""

    def join(self, outlet: Outlet) -> None:
        """A client subscribes: it gets those that are open."""
        super().join(outlet)
        if self._message:
            outlet.put_latest(self, self.channel, self._message)

    def opened(self, alerts: Sequence[OpenAlert]) -> None:
        """Take all alerts that are open now; send those of the market if they are others than before."""
        ours = [with_comment(one) for one in alerts if one.alert.target in self._targets]
        self._concerned = {one.alert.id for one in ours}
        message = encode(messages.OpenAlerts(self.market.venue, self.market.symbol, ours))
        if message == self._message:
            return
        self._message = message
        for outlet in self.subscribers:
            outlet.put_latest(self, self.channel, message)

    def told(self, entries: Sequence[Told]) -> None:
        """Send on what became of the market's alerts."""
        for entry in entries:
            record = entry.record
            if isinstance(record, Alert):
                if record.target not in self._targets:
                    continue
                self._concerned.add(record.id)
            elif record.alert not in self._concerned:
                continue
            message = encode(messages.AlertTold(self.market.venue, self.market.symbol, event_of(entry)))
            for outlet in self.subscribers:
                outlet.put(self.source, message)
