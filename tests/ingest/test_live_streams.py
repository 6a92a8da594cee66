"""Streams come and go on the sockets of a venue while they run."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

from workers.ingest.connection import Connection
from workers.ingest.feed import Feed
from workers.ingest.feeds import VenueFeeds
from workers.runtime.tasks import end
from workers.settings.schema import IngestSettings
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.messages import Subscription


class Socket:
    """Stands in for a connection: notes what it was told to want, and lives until cancelled."""

    def __init__(self, url: str, streams: Sequence[Subscription]) -> None:
        self.url = url
        self.wanted = [one.stream for one in streams]
        self.asked: list[tuple[str, list[str]]] = []
        self.settled = asyncio.Event()
        self.settled.set()
        self.replace = asyncio.Event()
        self.alive = True
        self.expected = True
        self.last_data = 0.0
        self.revived: list[Collection[tuple[str, str]]] = []
        self.open = False
        self.fail = False
        self.close_s = 0.0
        self.closing = False

    def subscribe(self, more: Sequence[Subscription]) -> None:
        self.asked.append(("+", [one.stream for one in more]))

    def revive(self, names: Collection[tuple[str, str]]) -> None:
        self.revived.append(names)

    def unsubscribe(self, gone: Sequence[Subscription]) -> None:
        self.asked.append(("-", [one.stream for one in gone]))

    async def run(self) -> str:
        self.open = True
        try:
            while not self.fail:
                await asyncio.sleep(0.005)
            raise RuntimeError("nobody foresaw this")
        finally:
            self.closing = True
            await asyncio.sleep(self.close_s)
            self.open = False


class World:
    """Feeds over such sockets."""

    def __init__(self, size: int, **venue: Any) -> None:
        self.sockets: list[Socket] = []
        settings = BinanceSettings(symbols=[], **venue)

        def opened(url: str, streams: Sequence[Subscription]) -> Connection:
            self.sockets.append(Socket(url, streams))
            return self.sockets[-1]  # type: ignore[return-value] -- stands in for it

        def feed(open_connection: Callable[[], Connection]) -> Feed:
            return Feed(open_connection, ("usdm", "a"), IngestSettings(backoff_first_s=0.01), 1000)

        self.feeds = VenueFeeds(Binance("v", settings), size, opened, feed)

    def open(self) -> list[list[str]]:
        return [socket.wanted for socket in self.sockets if socket.open]

    async def opens(self, *wanted: list[str]) -> None:
        """Wait until these sockets are open and no others."""
        async with asyncio.timeout(60):
            while self.open() != list(wanted):
                await asyncio.sleep(0.005)


async def test_new_streams_fill_the_sockets_there_are_then_open_new_ones() -> None:
    world = World(3, market="spot")
    world.feeds.change(["A", "B"])
    running = asyncio.create_task(world.feeds.run())
    first = [["a@depth@100ms", "a@aggTrade", "b@depth@100ms"], ["b@aggTrade"]]
    await world.opens(*first)
    world.feeds.change(["币C", "1D"])
    await world.opens(*first, ["1d@depth@100ms", "1d@aggTrade"])
    assert world.sockets[0].asked == []
    assert world.sockets[1].asked == [("+", ["币c@depth@100ms", "币c@aggTrade"])]
    await end([running])
    assert world.open() == []


async def test_streams_of_another_path_never_share_a_socket() -> None:
    world = World(10, market="usdm")
    world.feeds.change(["A"])
    running = asyncio.create_task(world.feeds.run())
    await world.opens(["a@depth@100ms"], ["a@aggTrade"])
    world.feeds.change(["B"])
    async with asyncio.timeout(60):
        while not all(socket.asked for socket in world.sockets):
            await asyncio.sleep(0.005)
    asked = {socket.url.rpartition("/")[0][-7:]: socket.asked for socket in world.sockets}
    assert asked == {"/public": [("+", ["b@depth@100ms"])], "/market": [("+", ["b@aggTrade"])]}
    await end([running])


async def test_a_socket_without_streams_is_closed_and_the_others_go_on() -> None:
    world = World(2, market="spot")
    world.feeds.change(["A", "B", "C"])
    running = asyncio.create_task(world.feeds.run())
    a, b, c, d = ([f"{name}@depth@100ms", f"{name}@aggTrade"] for name in "abcd")
    await world.opens(a, b, c)
    world.feeds.change([], ["B"])
    await world.opens(a, c)
    world.feeds.change(["D"], ["A"])
    async with asyncio.timeout(60):
        while len(world.open()) != 2 or sorted(itertools.chain(*world.feeds.streams)) != sorted(c + d):
            await asyncio.sleep(0.005)
    await end([running])
    assert world.open() == []


async def test_a_new_socket_of_a_shard_has_the_streams_of_now() -> None:
    world = World(10, market="spot")
    world.feeds.change(["A", "B"])
    running = asyncio.create_task(world.feeds.run())
    await world.opens(["a@depth@100ms", "a@aggTrade", "b@depth@100ms", "b@aggTrade"])
    world.feeds.change(["C"], ["A"])
    world.sockets[0].replace.set()
    await world.opens(["b@depth@100ms", "b@aggTrade", "c@depth@100ms", "c@aggTrade"])
    await end([running])


async def test_an_error_nobody_foresaw_costs_its_socket_alone() -> None:
    world = World(2, market="spot")
    world.feeds.change(["A", "B"])
    running = asyncio.create_task(world.feeds.run())
    a, b = ([f"{name}@depth@100ms", f"{name}@aggTrade"] for name in "ab")
    await world.opens(a, b)
    world.sockets[0].fail = True
    await world.opens(b, a)  # a new one in its place
    assert world.sockets[1].open
    assert not running.done()
    await end([running])


async def test_a_socket_that_empties_while_another_is_being_ended_is_ended_too() -> None:
    world = World(2, market="spot")
    world.feeds.change(["A", "B"])
    running = asyncio.create_task(world.feeds.run())
    a, b = ([f"{name}@depth@100ms", f"{name}@aggTrade"] for name in "ab")
    await world.opens(a, b)
    world.sockets[0].close_s = 0.3
    world.feeds.change([], ["A"])
    async with asyncio.timeout(60):
        while not world.sockets[0].closing:
            await asyncio.sleep(0.005)
    world.feeds.change([], ["B"])  # the first is not ended yet
    await world.opens()
    await asyncio.sleep(0.1)
    assert world.open() == []
    assert len(world.sockets) == 2, "nobody goes on reconnecting what nobody wants"
    await end([running])


async def test_a_dead_stream_is_revived_on_its_socket() -> None:
    world = World(2, market="spot")
    world.feeds.change(["A"])
    running = asyncio.create_task(world.feeds.run())
    await world.opens(["a@depth@100ms", "a@aggTrade"])
    world.feeds.revive([("depth", "A")])
    assert world.sockets[0].revived == [[("depth", "A")]]
    await end([running])


async def test_without_symbols_there_is_nothing_to_do_and_all_is_alive() -> None:
    world = World(10, market="spot")
    world.feeds.change([])
    running = asyncio.create_task(world.feeds.run())
    await asyncio.sleep(0.03)
    assert world.open() == []
    assert world.feeds.alive
    await end([running])


async def test_a_socket_for_new_symbols_counts_from_its_first_message_on() -> None:
    world = World(2, market="spot")
    world.feeds.change(["A"])
    running = asyncio.create_task(world.feeds.run())
    a, b, c = ([f"{name}@depth@100ms", f"{name}@aggTrade"] for name in "abc")
    await world.opens(a)
    world.sockets[0].alive = False
    assert not world.feeds.alive
    world.feeds.change(["B"])  # nothing was heard yet: this is still the start
    await world.opens(a, b)
    world.sockets[0].alive, world.sockets[1].alive = True, False
    assert not world.feeds.alive
    world.sockets[1].alive = True
    assert world.feeds.alive
    world.feeds.change(["C"])
    await world.opens(a, b, c)
    world.sockets[2].alive = False
    assert world.feeds.alive
    world.sockets[2].alive = True
    assert world.feeds.alive
    world.sockets[2].alive = False
    assert not world.feeds.alive
    await end([running])
