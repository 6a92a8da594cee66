"""Reading the exchange's own messages of a channel as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from workers.client.feed import Feed
from workers.client.records import RawMessage
from workers.client.tokens import Place
from workers.store.log.follower import Entry
from workers.store.log.streams import received_of


class RawFeed(Feed[RawMessage]):
    """Every message of a raw stream, in the order of the log.

    Args:
        channel: what stands behind the symbol in its key: `depth`, or one of the venue's `channels`.
    """

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        channel: str,
        *,
        resume: str | None = None,
        from_ms: int | None = None,
    ) -> None:
        self.channel = f"raw:{channel}"
        self._of = channel
        super().__init__(connect, symbols, lambda keys, symbol: keys.raw(symbol, channel), resume, from_ms)

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        for stream_id, fields in entries:
            position = stream_id.decode()
            if b"data" not in fields:
                self._undecodable(name, position)
                continue
            message = RawMessage(
                name,
                position,
                self._of,
                fields[b"data"],
                received_of(fields.get(b"received", b"")),
                fields.get(b"line", b"").decode(errors="replace"),
                fields.get(b"kind", b"update").decode(errors="replace"),
            )
            self._put(name, Place(position), message)
