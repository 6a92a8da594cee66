"""Channels whose topics are read together: what each of them needs of the one reader, and of its own polls."""

from __future__ import annotations

from typing import Protocol

from workers.api.http.markets import Market
from workers.api.live.topics import Topic


class Family(Protocol):
    """All topics of one channel, one for each market that somebody follows. While there is none it reads nothing."""

    def refuse(self, market: Market) -> None:
        """Raise NotKnown where a market can have no such topic."""

    def stream(self, market: Market) -> str:
        """The key of the stream that a topic begins at the end of."""

    def open(self, market: Market, end: bytes) -> Topic:
        """A new topic, and what it needs is read from now on; `end`: the id of the stream's last entry."""

    def close(self, topic: Topic) -> None:
        """Nobody follows a topic any more."""
