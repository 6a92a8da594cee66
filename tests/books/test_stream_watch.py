"""Dead depth streams: the lines are asked again and again while one listens, and people are told once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
from structlog.testing import capture_logs

from workers.books.overtaking import DEAD_S, Overtaking
from workers.books.stream_watch import ASK_AGAIN_S, StreamWatch
from workers.model.books.sync import SyncState
from workers.model.symbols.shares import Share
from workers.runtime.living_lines import LivingLines
from workers.settings.schema import FleetSettings
from workers.store.fleet.leases import Registry
from workers.store.keys import Keys


class World:
    def __init__(self) -> None:
        self.client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        self.registry = Registry(self.client, FleetSettings())
        self.lines = LivingLines(self.registry)
        self.watch = StreamWatch(self.client, self.lines)
        context = SimpleNamespace(name="usdm", keys=Keys("usdm"))
        sync = SimpleNamespace(state=SyncState.SYNCED, last_event_time=1_000)
        self.book: Any = SimpleNamespace(
            read=True, unreadable="", sync=sync, heard_at=0.0, overtaking=Overtaking(), key="raw:{A}:depth",
            claim=SimpleNamespace(context=context, symbol="A"), last_stream_id=b"0-0",
        )  # fmt: skip
        self.now = 100.0
        self.kill()

    def kill(self) -> None:
        self.book.overtaking.ahead("trades went on", self.now, event_ms=9_000)
        self.now += DEAD_S
        assert self.book.overtaking.judge(self.now, DEAD_S)

    async def passes(self, seconds: float) -> list[Any]:
        """Look once a second; what was logged."""
        with capture_logs() as logs:
            until = self.now + seconds
            while self.now < until:
                await self.lines.ask(self.now)
                await self.watch.look([self.book], self.now)
                self.now += 1
        return [line for line in logs if line["event"] == "stream_dead"]

    async def asked(self) -> int:
        """Times the lines were asked; what keeps two who ask at once apart is over."""
        count = 0
        for key in await self.client.keys("fleet:resubscribe:*"):
            count += await self.client.xlen(key) if await self.client.type(key) == b"stream" else 0
            await self.client.delete(key)
        return count


@pytest.fixture
def world() -> World:
    return World()


async def test_nobody_is_asked_while_no_line_listens(world: World) -> None:
    assert await world.passes(60) == []
    assert await world.asked() == 0
    await world.registry.beat("ingest-a", "a", {"open": "spot", "alive": ""})
    assert await world.passes(10) == []
    await world.registry.beat("ingest-a", "a", {"open": "spot,usdm", "alive": ""})
    assert len(await world.passes(2)) == 1


async def test_it_is_told_once_and_asked_for_until_it_lives(world: World) -> None:
    await world.registry.beat("ingest-a", "a", {"open": "usdm", "alive": ""})
    assert len(await world.passes(1)) == 1
    for _ in range(5):
        assert await world.asked()
        assert await world.passes(ASK_AGAIN_S + 1) == []
    world.book.overtaking.forget()
    assert await world.passes(1) == []
    world.kill()
    await world.asked()
    assert len(await world.passes(1)) == 1, "it died anew"


async def test_a_stream_nobody_can_read_is_not_called_dead(world: World) -> None:
    await world.registry.beat("ingest-a", "a", {"open": "usdm", "alive": ""})
    world.book.unreadable = "raw:{A}:depth: it is a string"
    assert await world.passes(20) == []


async def test_a_process_of_a_line_vouches_for_its_own_symbols_alone(world: World) -> None:
    symbols = [f"S{number}" for number in range(20)]
    first = {symbol for symbol in symbols if Share(0, 2).has(symbol)}
    told = {"open": "usdm", "alive": "usdm", "since_ms": 1, "process": 0, "processes": 2}
    await world.registry.beat("ingest-a", "a-0", told)
    await world.lines.ask(100.0)
    assert {symbol for symbol in symbols if world.lines.listen_to("usdm", symbol)} == first
    assert {symbol for symbol in symbols if world.lines.of("usdm", symbol)} == first
    await world.registry.beat("ingest-b", "b-1", {**told, "process": 1})
    await world.lines.ask(102.0)
    assert all(len(world.lines.of("usdm", symbol)) == 1 for symbol in symbols)
