"""Sockets of a venue that answers by the names of streams, wants to be greeted and pinged, and tells of holes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from test_connection import NAMES, VENUE, WANTED, Bench, depth, server

from workers.ingest.connection import Connection
from workers.ingest.line import Line
from workers.ingest.subscriptions import Refusals, Subscriptions
from workers.store.keys import Keys
from workers.venues.binance.venue import Binance
from workers.venues.messages import Subscription
from workers.venues.session import Accepted, Broken, Event, RefusedStreams, Send, Stale

LONGEST_S = 60.0


class Talking:
    """A session with a frame a stream; words of the exchange: `ok NAME`, `no NAME`, `gap`, `anew NAME`."""

    def __init__(self, venue: Binance) -> None:
        self._venue = venue

    def opened(self, now_ms: int) -> list[str]:
        return ["hello"]

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        return [f"sub {stream.stream}" for stream in streams]

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        return [f"unsub {stream.stream}" for stream in streams]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        word, _, name = (frame if isinstance(frame, str) else frame.decode()).partition(" ")
        if word == "ok":
            return [Accepted([name])]
        if word == "no":
            return [RefusedStreams(name.split(","), 7, "no such stream")]
        if word == "anew":
            return [Stale([name], "sequence")]
        if word == "gap":
            return [Broken("sequence", 4, 6)]
        return [self._venue.split(frame)]

    def tick(self, now_ms: int) -> list[Event]:
        return [Send("ping")]


class TalkingVenue(Binance):
    def session(self, url: str) -> Talking:  # type: ignore[override]
        return Talking(self)


class TalkingBench(Bench):
    def __init__(self, session: aiohttp.ClientSession, url: str, **changes: float) -> None:
        super().__init__(session, url, **changes)
        venue = TalkingVenue("spot", VENUE)
        self.line = Line(venue, Keys(), "a", self.settings, NAMES, self.appended.append)
        self.refusals = Refusals(30)
        self._make = lambda: Connection(
            session, venue, url, WANTED, "a", self.settings, VENUE, self.line, self.refusals
        )


@pytest.fixture
async def http() -> aiohttp.ClientSession:  # type: ignore[misc]
    async with aiohttp.ClientSession() as session:
        yield session


async def read(socket: web.WebSocketResponse, wanted: Sequence[str], heard: list[str]) -> None:
    """Read until all of the wanted frames have come."""
    async with asyncio.timeout(LONGEST_S):
        while not set(wanted) <= set(heard):
            heard.append((await socket.receive()).data)


async def test_a_session_greets_subscribes_stream_by_stream_and_pings(http: aiohttp.ClientSession) -> None:
    heard: list[str] = []

    async def handler(socket: web.WebSocketResponse) -> None:
        await read(socket, ["hello", "ping", *(f"sub {stream.stream}" for stream in WANTED)], heard)
        await socket.close()

    async with server(handler) as url:
        await TalkingBench(http, url).connection().run()
    assert heard[0] == "hello"


async def test_a_refusal_by_name_costs_that_stream_alone(http: aiohttp.ClientSession) -> None:
    bad = WANTED[1]

    async def handler(socket: web.WebSocketResponse) -> None:
        await read(socket, [f"sub {stream.stream}" for stream in WANTED], [])
        for stream in WANTED:
            await socket.send_str(f"{'no' if stream is bad else 'ok'} {stream.stream}")
        for number, name in enumerate((NAMES[0], NAMES[2])):
            await socket.send_str(depth(number + 1, name))
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await read(socket, ["never"], [])
        await socket.close()

    async with server(handler) as url:
        bench = TalkingBench(http, url)
        connection = bench.connection()
        await connection.run()
    assert bench.ids == [1, 2]
    assert bench.refusals.names() == [f"{bad.symbol}@depth"]
    assert connection.settled.is_set()


async def test_a_hole_in_the_connection_ends_the_socket(http: aiohttp.ClientSession) -> None:
    async def handler(socket: web.WebSocketResponse) -> None:
        await socket.send_str(depth(1))
        await socket.send_str("gap")
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                async for _ in socket:
                    pass

    async with server(handler) as url:
        bench = TalkingBench(http, url)
        assert await bench.connection().run() == "sequence broken"
    assert bench.ids == [1]


async def test_a_hole_in_a_stream_subscribes_that_stream_anew(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    begun: list[tuple[str, str]] = []
    monkeypatch.setattr(Line, "begun_anew", lambda _, session, names, now_us: begun.extend(names))
    torn = WANTED[0].stream

    async def handler(socket: web.WebSocketResponse) -> None:
        await read(socket, [f"sub {stream.stream}" for stream in WANTED], [])
        await socket.send_str(f"ok {torn}")
        await socket.send_str(f"anew {torn}")
        await read(socket, [f"unsub {torn}", f"sub {torn}"], heard)
        assert not begun
        await socket.send_str(f"ok {torn}")
        await socket.close()

    async with server(handler) as url:
        await TalkingBench(http, url).connection().run()
    assert begun == [("depth", WANTED[0].symbol)]
    assert [frame for frame in heard if frame != "ping"] == [f"unsub {torn}", f"sub {torn}"]


STREAMS = [Subscription(f"s{number}", "depth", f"S{number}") for number in range(6)]


@given(
    st.sets(st.sampled_from([stream.stream for stream in STREAMS])),
    st.permutations(range(6)),
    st.integers(1, 6),
)
def test_answers_by_name_in_any_order_find_those_at_fault(
    bad: set[str], order: list[int], at_once: int
) -> None:
    refusals = Refusals(10)
    streams = Subscriptions(refusals, 4, 10)
    streams.want(STREAMS)
    asked: list[str] = []
    number = 0
    while (request := streams.next()) is not None:
        number += 1
        streams.sent(number, "subscribe", request.streams, 0.0)
        asked += [stream.stream for stream in request.streams]
        names = [STREAMS[place].stream for place in order if STREAMS[place] in request.streams]
        streams.accept([name for name in names if name not in bad])
        refused = [name for name in names if name in bad]
        for first in range(0, len(refused), at_once):
            streams.refuse(refused[first : first + at_once], 1, "no", 0.0)
    assert {name.lower().partition("@")[0] for name in refusals.names()} == bad
    assert streams.answered
    assert streams.accepted == len(STREAMS) - len(bad)
    assert set(asked) == {stream.stream for stream in STREAMS}
