"""What one client still has to be sent: bounded, whatever the client does.

Of a channel where only the newest counts (books, stats, status, open bars) at most one message per topic waits; a
newer one takes its place. Of the others (trades, closed bars) a bounded queue waits; what does not fit is dropped,
oldest first, and the client is told how much. What is taken is bounded too, so that what has not been given to the
socket yet can still be replaced.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple

from prometheus_client import Counter

from workers.api.live.messages import Channel, Dropped, encode

CONFLATED = Counter(
    "fleet_api_conflated_total", "Messages a newer one replaced before they were sent", ["channel"]
)
DROPPED = Counter("fleet_api_dropped_total", "Trades and bars a slow client was not sent", ["channel"])


class Source(NamedTuple):
    """Whose messages these are, for the notice of a drop."""

    channel: Channel
    venue: str
    symbol: str


BATCH_BYTES: Final = 65_536
"""What is taken at once of each kind: the rest may still be replaced by something newer."""
MOST_QUEUED_BYTES: Final = 4_194_304
"""Trades and closed bars that wait for one client."""
MOST_REPLIES: Final = 100
"""Answers that wait for one client; it is asked for nothing more until it has read some."""


class _Queued(NamedTuple):
    number: int
    source: Source
    message: bytes
    amount: int


class Outlet:
    """The messages of one client that wait for its socket.

    Answers to the client's own requests are never dropped: whoever reads its requests waits for `room`.

    Args:
        limit: messages that may wait in the queue.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._latest: dict[Hashable, bytes] = {}
        self._queue: deque[_Queued] = deque()
        self._replies: deque[tuple[int, bytes]] = deque()
        self._queued_bytes = self._other_bytes = 0
        self._number = 0
        self._dropped: dict[Source, int] = {}
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def waits(self) -> int:
        """Messages that wait."""
        return len(self._latest) + len(self._queue) + len(self._replies)

    @property
    def size(self) -> int:
        """Bytes that wait; several clients may share a message."""
        return self._queued_bytes + self._other_bytes

    def waiting(self, topic: Hashable) -> bool:
        """Whether a message of a topic waits to be sent."""
        return topic in self._latest

    def put_latest(self, topic: Hashable, channel: Channel, message: bytes) -> None:
        """A message that takes the place of what waits of its topic. O(1)."""
        if topic in self._latest:
            CONFLATED.labels(channel).inc()
        self._other_bytes += len(message) - len(self._latest.get(topic, b""))
        self._latest[topic] = message
        self._some.set()

    def withdraw(self, topic: Hashable) -> None:
        """Forget what waits of a topic."""
        self._other_bytes -= len(self._latest.pop(topic, b""))

    def reply(self, message: bytes) -> None:
        """An answer to a request, in its order among what is `put`; never dropped. O(1)."""
        self._number += 1
        self._replies.append((self._number, message))
        self._other_bytes += len(message)
        if len(self._replies) >= MOST_REPLIES:
            self._room.clear()
        self._some.set()

    async def room(self) -> None:
        """Wait until few enough answers wait to be read."""
        await self._room.wait()

    def put(self, source: Source, message: bytes, count: int = 1) -> None:
        """A message that must come in its order; `count`: trades or bars in it. O(1) amortised."""
        while self._queue and (
            len(self._queue) >= self._limit or self._queued_bytes + len(message) > MOST_QUEUED_BYTES
        ):
            oldest = self._queue.popleft()
            self._queued_bytes -= len(oldest.message)
            self._dropped[oldest.source] = self._dropped.get(oldest.source, 0) + oldest.amount
            DROPPED.labels(oldest.source.channel).inc(oldest.amount)
        self._number += 1
        self._queue.append(_Queued(self._number, source, message, count))
        self._queued_bytes += len(message)
        self._some.set()

    async def take(self) -> list[bytes]:
        """What waits, in the order to be sent, the first of it where it is much; waits until there is something."""
        await self._some.wait()
        messages = [self._notice(source, count) for source, count in self._dropped.items()]
        self._dropped.clear()
        messages += self._take_ordered()
        messages += self._take_latest()
        if not self.waits:
            self._some.clear()
        if len(self._replies) < MOST_REPLIES:
            self._room.set()
        return messages

    def _take_ordered(self) -> Iterator[bytes]:
        size = 0
        while (self._queue or self._replies) and size < BATCH_BYTES:
            if not self._queue or (self._replies and self._replies[0][0] < self._queue[0].number):
                message = self._replies.popleft()[1]
                self._other_bytes -= len(message)
            else:
                message = self._queue.popleft().message
                self._queued_bytes -= len(message)
            size += len(message)
            yield message

    def _take_latest(self) -> Iterator[bytes]:
        size = 0
        while self._latest and size < BATCH_BYTES:
            topic = next(iter(self._latest))
            message = self._latest.pop(topic)
            self._other_bytes -= len(message)
            size += len(message)
            yield message

    @staticmethod
    def _notice(source: Source, count: int) -> bytes:
        return encode(Dropped(source.channel, source.venue, source.symbol, count))
