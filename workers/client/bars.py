"""Reading bars as their windows close."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from workers.client.decoding import bar
from workers.client.feed import Feed
from workers.client.records import Bar
from workers.client.tokens import Place
from workers.store.log.follower import Entry


class BarFeed(Feed[Bar]):
    """Every closed window, and every later version of one (`revision`), in the order they were written."""

    channel = "bars"

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        interval: str,
        *,
        resume: str | None = None,
        from_ms: int | None = None,
    ) -> None:
        super().__init__(connect, symbols, lambda keys, symbol: keys.bars(symbol, interval), resume, from_ms)
        self._interval = interval

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        for stream_id, fields in entries:
            position = stream_id.decode()
            try:
                found = bar(name, self._interval, position, fields)
            except (KeyError, ValueError):
                self._undecodable(name, position)
            else:
                self._put(name, Place(position), found)
