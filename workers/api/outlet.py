"""What one client still has to be sent: bounded, whatever the client does.

Of a channel where only the newest counts (books, stats, status, open bars) at most one message per topic waits; a
newer one takes its place. Of the others (trades, closed bars) a bounded queue waits; what does not fit is dropped,
oldest first, and the client is told how much.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from prometheus_client import Counter

from workers.api.messages import Channel, Dropped, encode

CONFLATED = Counter(
    "fleet_api_conflated_total", "Messages a newer one replaced before they were sent", ["channel"]
)
DROPPED = Counter("fleet_api_dropped_total", "Trades and bars a slow client was not sent", ["channel"])


class Source(NamedTuple):
    """Whose messages these are, for the notice of a drop."""

    channel: Channel
    venue: str
    symbol: str


class _Queued(NamedTuple):
    source: Source | None
    message: bytes
    amount: int


class Outlet:
    """The messages of one client that wait for its socket.

    Args:
        limit: messages that may wait in the queue.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._latest: dict[Hashable, bytes] = {}
        self._queue: deque[_Queued] = deque()
        self._dropped: dict[Source, int] = {}
        self._some = asyncio.Event()

    @property
    def waits(self) -> int:
        """Messages that wait."""
        return len(self._latest) + len(self._queue)

    def waiting(self, topic: Hashable) -> bool:
        """Whether a message of a topic waits to be sent."""
        return topic in self._latest

    def put_latest(self, topic: Hashable, channel: Channel, message: bytes) -> None:
        """A message that takes the place of what waits of its topic. O(1)."""
        if topic in self._latest:
            CONFLATED.labels(channel).inc()
        self._latest[topic] = message
        self._some.set()

    def withdraw(self, topic: Hashable) -> None:
        """Forget what waits of a topic."""
        self._latest.pop(topic, None)

    def put(self, source: Source | None, message: bytes, count: int = 1) -> None:
        """A message that must come in its order; `count`: trades or bars in it. O(1)."""
        if len(self._queue) >= self._limit:
            oldest = self._queue.popleft()
            if oldest.source is not None:
                self._dropped[oldest.source] = self._dropped.get(oldest.source, 0) + oldest.amount
                DROPPED.labels(oldest.source.channel).inc(oldest.amount)
        self._queue.append(_Queued(source, message, count))
        self._some.set()

    async def take(self) -> list[bytes]:
        """All that waits, in the order to be sent; waits until there is something."""
        await self._some.wait()
        self._some.clear()
        messages = [self._notice(source, count) for source, count in self._dropped.items()]
        messages += [queued.message for queued in self._queue]
        messages += self._latest.values()
        self._dropped.clear()
        self._queue.clear()
        self._latest.clear()
        return messages

    @staticmethod
    def _notice(source: Source, count: int) -> bytes:
        return encode(Dropped(source.channel, source.venue, source.symbol, count))
