"""The feeds of one venue on one line: its sockets, and the streams on each, as symbols come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from workers.ingest.connection import Connection
from workers.ingest.feed import Feed
from workers.runtime.tasks import end
from workers.venues.interface import Endpoint, Venue
from workers.venues.messages import Subscription

log = structlog.get_logger()

Opener = Callable[[str, Sequence[Subscription]], Connection]
"""Makes an unstarted connection to a URL with streams."""


@dataclass(eq=False)
class _Shard:
    """One feed, the streams on it, and its task."""

    url: str
    extra: bool
    streams: list[Subscription]
    feed: Feed
    late: bool
    """Opened for symbols that came while others were delivering."""
    heard: bool = False
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.task = asyncio.create_task(self.feed.run(), name="ingest: feed")


class VenueFeeds:
    """All sockets of a venue. New streams go to sockets that have room, else to a new one.

    Args:
        size: streams on one socket at most.
        make_feed: makes a feed around an opener of its connections.
    """

    def __init__(
        self,
        venue: Venue,
        size: int,
        open_connection: Opener,
        make_feed: Callable[[Callable[[], Connection]], Feed],
    ) -> None:
        self._venue = venue
        self._size = size
        self._open = open_connection
        self._make_feed = make_feed
        self._shards: list[_Shard] = []
        self._leaving: list[_Shard] = []
        self._changed = asyncio.Event()

    def renew(self, names: Collection[tuple[str, str]]) -> None:
        """Subscribe anew to those of some streams (channel, symbol) that are here, so that whole books come."""
        for shard in self._shards:
            shard.feed.renew(names)

    @property
    def alive(self) -> bool:
        """Whether every socket delivered something just now.

        One opened for new symbols counts from its first message on: nobody shows a book of those before. One whose
        every stream the exchange refuses does not count, nor do those of channels that the settings ask for by name.
        """
        followed = [shard for shard in self._shards if not shard.extra]
        for shard in followed:
            shard.heard = shard.heard or shard.feed.alive
        return all(
            shard.feed.alive for shard in followed if shard.feed.expected and (shard.heard or not shard.late)
        )

    @property
    def is_open(self) -> bool:
        """Whether every socket is connected, whatever it delivers; without those of further channels."""
        return all(shard.feed.is_open for shard in self._shards if not shard.extra)

    @property
    def streams(self) -> list[list[str]]:
        """The names of the streams on each socket."""
        return [[wanted.stream for wanted in shard.streams] for shard in self._shards]

    def change(self, added: Sequence[str], removed: Collection[str] = ()) -> None:
        """Take up some symbols and give up others, on the sockets as they run. Needs a running loop."""
        for shard in self._shards:
            gone = [wanted for wanted in shard.streams if wanted.symbol in removed]
            if gone:
                shard.streams = [wanted for wanted in shard.streams if wanted.symbol not in removed]
                shard.feed.unsubscribe(gone)
        for endpoint in self._venue.endpoints(added) if added else []:
            self._place(endpoint, self._new_of(endpoint.subscriptions))
        self._leaving += [shard for shard in self._shards if not shard.streams]
        self._shards = [shard for shard in self._shards if shard.streams]
        self._changed.set()

    def revive(self, names: Collection[tuple[str, str]]) -> None:
        """Subscribe anew to streams (channel, symbol) that were found dead."""
        for shard in self._shards:
            shard.feed.revive(names)

    def _new_of(self, streams: Sequence[Subscription]) -> list[Subscription]:
        """Those that are not there yet: a stream of the whole market is the same for all symbols."""
        shared = {wanted.stream for shard in self._shards for wanted in shard.streams if not wanted.symbol}
        return [wanted for wanted in streams if wanted.symbol or wanted.stream not in shared]

    def _place(self, endpoint: Endpoint, streams: Sequence[Subscription]) -> None:
        for shard in self._shards:
            room = self._size - len(shard.streams)
            if (shard.url, shard.extra) == (endpoint.url, endpoint.extra) and room > 0 and streams:
                here, streams = list(streams[:room]), streams[room:]
                shard.streams += here
                shard.feed.subscribe(here)
        for first in range(0, len(streams), self._size):
            self._shards.append(self._new(endpoint, list(streams[first : first + self._size])))

    def _new(self, endpoint: Endpoint, streams: list[Subscription]) -> _Shard:
        shard: _Shard

        def opened() -> Connection:
            url = endpoint.address(shard.streams) if endpoint.address else endpoint.url
            return self._open(url, shard.streams)

        feed = self._make_feed(opened)
        shard = _Shard(
            endpoint.url, endpoint.extra, streams, feed, late=any(other.heard for other in self._shards)
        )
        return shard

    async def run(self) -> None:
        """Look after the feeds until cancelled, then close them; ends by itself only by an error of a feed."""
        try:
            while True:
                self._changed.clear()
                while self._leaving:  # more may come to leave while some are being ended
                    leaving = self._leaving[:]
                    await end([shard.task for shard in leaving])
                    self._leaving = [shard for shard in self._leaving if shard not in leaving]
                changed = asyncio.create_task(self._changed.wait(), name="ingest: changed")
                tasks = {shard.task for shard in self._shards}
                try:
                    await asyncio.wait({changed, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                for task in tasks:
                    if task.done():
                        task.result()  # a feed that ended by itself did so by an error nobody foresaw
        finally:
            await end([shard.task for shard in [*self._shards, *self._leaving]])
