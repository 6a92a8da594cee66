"""The channel `analytics`: figures of a market as they change, and what is told of walls, icebergs and flicker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from workers.api.books.reader import Reader
from workers.api.books.replica import SILENT_S, Withheld
from workers.api.http.analytics_types import event_record, served
from workers.api.http.markets import Market
from workers.api.live import messages
from workers.api.live.messages import Channel, encode
from workers.api.live.topics import NewestTopic, Topic
from workers.errors import NotKnown, StateUnreadable
from workers.store.analytics.reading import AnalyticsNow, analytics_now, events_in
from workers.store.books.watch import Entry

Reading = AnalyticsNow | StateUnreadable


class AnalyticsTopic(NewestTopic):
    """The analytics of one market: of figures the newest, of events each."""

    channel: Channel = "analytics"

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._newest: Reading | None = None
        self._shown: AnalyticsNow | Withheld | None = None

    @property
    def key(self) -> str:
        """Its stream of events."""
        return self.market.context.keys.analytics_events(self.market.symbol)

    def take(self, entries: Sequence[Entry]) -> None:
        """Send events on; what others wrote among them is left out."""
        for _, fields in entries:
            for event in events_in(fields):
                told = messages.AnalyticsTold(self.market.venue, self.market.symbol, event_record(event))
                self.tell(encode(told))

    def read(self, newest: Reading) -> None:
        """Take what the hash holds now."""
        self._newest = newest

    def publish(self, heard_at: float) -> None:
        """Send what is new; `heard_at`: when Redis last answered (monotonic seconds)."""
        shown = self._now(heard_at)
        if shown is None or shown == self._shown:
            return
        self._shown = shown
        self.show(self._encoded(shown))

    def _now(self, heard_at: float) -> AnalyticsNow | Withheld | None:
        if time.monotonic() - heard_at > SILENT_S:
            return Withheld("unknown", "Redis does not answer")
        if isinstance(self._newest, StateUnreadable):
            return Withheld("unreadable", str(self._newest))
        return self._newest

    def _encoded(self, shown: AnalyticsNow | Withheld) -> bytes:
        venue, symbol = self.market.venue, self.market.symbol
        if isinstance(shown, Withheld):
            return encode(messages.FiguresGone(venue, symbol, shown.state, shown.reason))
        figures = None if shown.figures is None else served(shown.figures)
        return encode(messages.FiguresNow(venue, symbol, shown.owner or None, figures))


class AnalyticsTopics:
    """The topics of the channel `analytics`.

    Args:
        client: asked for figures.
        reader: follows the streams of events.
        is_enabled: whether the role is configured.
        poll_s: how often figures are read.
    """

    def __init__(self, client: Any, reader: Reader, poll_s: float, *, is_enabled: bool) -> None:
        self._client = client
        self._reader = reader
        self._is_enabled = is_enabled
        self._topics: dict[Market, AnalyticsTopic] = {}
        self._hurry = reader.every(poll_s, self._poll)
        reader.after_each_round(self._publish)

    def refuse(self, _: Market) -> None:
        """Raise NotKnown where analytics are not computed."""
        if not self._is_enabled:
            raise NotKnown(
                "Analytics are not computed", "analytics.enabled = true in the settings", "channel"
            )

    def stream(self, market: Market) -> str:
        """That of the events."""
        return market.context.keys.analytics_events(market.symbol)

    def open(self, market: Market, end: bytes) -> AnalyticsTopic:
        """The analytics of a market."""
        topic = self._topics[market] = AnalyticsTopic(market)
        self._reader.follow(topic.key, topic.take, end)
        self._hurry()
        return topic

    def close(self, topic: Topic) -> None:
        """Nobody follows a market's any more."""
        self._reader.leave(self._topics.pop(topic.market).key)

    async def _poll(self) -> None:
        if topics := list(self._topics.values()):
            symbols = [(topic.market.context.keys, topic.market.symbol) for topic in topics]
            for topic, newest in zip(topics, await analytics_now(self._client, symbols), strict=True):
                topic.read(newest)

    def _publish(self) -> None:
        for topic in self._topics.values():
            topic.publish(self._reader.heard_at)
