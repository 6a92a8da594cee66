"""Many alerts at once: while nobody outside answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from alert_examples import alert, rule
from redis.asyncio import Redis
from test_outside import counted, stand_in, world_of

from workers.alerts import webhook
from workers.alerts.commentary import MOST_WAITING
from workers.alerts.worker import AlertWorker
from workers.model.alerts import machine
from workers.model.alerts.records import Alert, Change
from workers.model.alerts.rules import BEYOND_LIMIT, Rule
from workers.runtime.process import Process
from workers.runtime.tasks import end
from workers.settings.alerts import AlertSettings
from workers.settings.schema import FleetSettings, Settings
from workers.store.alerts.book import LEASE, ROLE
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

BROKEN = rule("book_state == broken", "broken")
SYMBOLS = [f"C{number}USDT" for number in range(200)]


class Storm:
    """The role over 200 symbols, of which books are said to be broken."""

    def __init__(self, url: str, watched: Rule = BROKEN, **alerts: Any) -> None:
        settings = Settings(
            fleet=FleetSettings(lease_ms=60_000),
            venues={"usdm": BinanceSettings(market="usdm", symbols=SYMBOLS)},
            alerts=AlertSettings(every_ms=100, commands_per_s=5_000, **alerts),
        )
        self.process = Process("alerts", settings, 0, url)
        self.worker = AlertWorker(self.process, [watched])
        self.book = self.worker.owner.book
        self.client: Any = self.process.client
        self.rounds: list[int] = []
        """How many alerts were open after each round."""
        look = self.worker.round

        async def counted_round() -> None:
            await look()
            self.rounds.append(len(self.worker.owner.opened()))

        self.worker.round = counted_round  # type: ignore[method-assign]

    async def say(self, state: str, symbols: list[str]) -> None:
        for symbol in symbols:
            await self.client.hset(Keys().book_status(symbol), "state", state)

    async def rounds_until_open(self, state: str, of: list[str], symbols: list[str]) -> int:
        """Say a state of some books and wait until these alerts are open, and no others; how many rounds that took."""
        await self.say(state, of)
        began = len(self.rounds)
        await until(self.are_open(symbols))
        await until(self.has_rounds(began + 1))
        return self.rounds[began:].index(len(symbols)) + 1

    def has_rounds(self, number: int) -> Callable[[], Awaitable[bool]]:
        async def so() -> bool:
            return len(self.rounds) >= number

        return so

    def are_open(self, symbols: list[str]) -> Callable[[], Awaitable[bool]]:
        async def so() -> bool:
            return {one.alert.symbol for one in await self.book.opened()} == set(symbols)

        return so


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await what():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def storm_of(
    url: str, watched: Rule = BROKEN, *, anew: bool = True, **alerts: Any
) -> AsyncIterator[Storm]:
    """The role at work; not `anew`: after one that was killed, so that its lease must be gone first."""
    client: Any = Redis.from_url(url)
    await (client.flushall() if anew else client.delete(Keys().lease(ROLE, LEASE)))
    await client.aclose()
    storm = Storm(url, watched, **alerts)
    task = asyncio.create_task(storm.worker.run())
    try:
        yield storm
    finally:
        storm.process.stop.set()
        await task
        await end([task])
        await storm.client.aclose()


def is_killed(storm: Storm) -> None:
    """Have a role end without a last word."""

    async def nothing() -> None:
        return None

    storm.worker.owner.release = nothing  # type: ignore[method-assign]


async def test_two_hundred_alerts_open_and_resolve_while_nobody_outside_answers(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "POLL_S", 0.1)
    monkeypatch.setattr(webhook, "FIRST_S", 0.05)
    monkeypatch.setattr(webhook, "MOST_S", 0.1)
    alive, got, asked = asyncio.Event(), list[Any](), 0

    async def take(request: web.Request) -> web.Response:
        await alive.wait()
        got.append(msgspec.json.decode(await request.read()))
        return web.Response()

    async def hang(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        raise AssertionError

    names = [f"fleet_alerts_{name}_total" for name in ("webhook_dropped", "comments_skipped", "comments")]
    before = {name: counted(name) for name in names}
    keys = {
        "webhook_timeout_s": 0.2,
        "webhook_queue": 50,
        "commentary_model": "m",
        "commentary_timeout_s": 0.5,
    }
    async with (
        stand_in(take) as url,
        stand_in(hang) as model,
        storm_of(real_server, webhook_url=url, commentary_url=model, **keys) as storm,
    ):
        await storm.say("synced", SYMBOLS)
        await until(storm.are_open([]))
        still = SYMBOLS[:100]
        rounds = [
            await storm.rounds_until_open("broken", SYMBOLS, SYMBOLS),
            await storm.rounds_until_open("synced", SYMBOLS, []),
            await storm.rounds_until_open("broken", SYMBOLS, SYMBOLS),
            await storm.rounds_until_open("synced", SYMBOLS[100:], still),
        ]
        assert max(rounds) <= 2  # the one that was under way, and the one that sees it all
        assert storm.worker._commentator._waiting.qsize() <= MOST_WAITING

        async def few_wait() -> bool:
            place = (await storm.client.hget("{alerts}:places", "webhook")).decode()
            return len(await storm.book.after(place, 1_000)) <= 50

        await until(few_wait)
        opened = {one.alert.id: one.alert for one in await storm.book.opened()}
        assert sum(alert.untold for alert in opened.values()) >= 50
        assert asked >= 1
        told = {name: counted(name) - before[name] for name in names}
        assert told["fleet_alerts_webhook_dropped_total"] >= 600
        assert told["fleet_alerts_comments_skipped_total"] >= 100
        assert told["fleet_alerts_comments_total"] == 0
        alive.set()

        async def all_told() -> bool:
            return opened.keys() <= {one["alert"]["id"] for one in got if one["event"] == "fired"}

        await until(all_told)

        async def none_untold() -> bool:
            return not any(one.alert.untold for one in await storm.book.opened())

        await until(none_untold)


async def test_a_webhook_that_takes_messages_more_slowly_than_they_come_holds_no_more_than_its_queue(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "ROOM_S", 0.0)
    got = list[str]()

    async def take(request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        got.append(msgspec.json.decode(await request.read())["alert"]["rule"])
        return web.Response()

    dropped, names = counted("fleet_alerts_webhook_dropped_total"), [f"r{number}" for number in range(300)]
    async with stand_in(take) as url, world_of(real_server, webhook_url=url, webhook_queue=20) as world:
        await world.tell(*(Change("fired", alert(name)) for name in names))

        async def last_came() -> bool:
            return got[-1:] == names[-1:]

        await until(last_came)
    assert len(got) < 100
    assert len(got) + counted("fleet_alerts_webhook_dropped_total") - dropped == 300


async def test_of_entries_that_the_stream_keeps_no_more_than_half_wait(real_server: str) -> None:
    dropped = counted("fleet_alerts_webhook_dropped_total")
    async with world_of(real_server, webhook_url="http://127.0.0.1:9/x", kept=100) as world:
        await world.tell(*(Change("fired", alert(f"r{number}")) for number in range(80)))
        async with asyncio.timeout(60):
            while counted("fleet_alerts_webhook_dropped_total") < dropped + 30:
                await asyncio.sleep(0.02)


async def test_of_two_hundred_at_once_twenty_are_told_and_how_many_more_also_after_a_kill(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "POLL_S", 0.1)
    monkeypatch.setattr(machine, "EVENT_CLEARS_MS", 200)
    watched, got = BROKEN._replace(most_open=20), list[Any]()

    async def take(request: web.Request) -> web.Response:
        got.append(msgspec.json.decode(await request.read()))
        return web.Response()

    async with stand_in(take) as url:
        before = Storm(real_server)
        await before.client.flushall()
        await before.say("broken", SYMBOLS)  # the first look finds all of them
        await before.worker.close()
        await before.client.aclose()
        async with storm_of(real_server, watched, anew=False, webhook_url=url) as storm:
            await until(lambda: came(got, 21))
            await until(storm.has_rounds(len(storm.rounds) + 2))
            is_killed(storm)
        assert [one["event"] for one in got] == ["fired"] * 21
        told = {one["alert"]["symbol"]: one["alert"]["left_out"] for one in got}
        assert (told.pop("*"), len(told)) == (180, 20)
        async with storm_of(real_server, watched, anew=False, webhook_url=url) as storm:
            await until(storm.has_rounds(3))
            opened = [one.alert for one in await storm.book.opened()]
            assert len(opened) == 21
            assert sum(alert.left_out for alert in opened) == 180
            await storm.say("synced", SYMBOLS)
            await until(storm.are_open([]))
            assert await storm.client.hlen("{alerts}:pasts") == 0
            await until(lambda: came(got, 42))
        events = [one["event"] for one in got]
        assert (events.count("fired"), events.count("resolved")) == (21, 21)
        assert got[-1]["alert"]["symbol"] == BEYOND_LIMIT.symbol


async def came(got: list[Any], messages: int) -> bool:
    return len(got) >= messages


async def test_an_alert_that_flaps_is_told_once_also_after_a_kill_and_resolved_when_it_is_steady(
    real_server: str,
) -> None:
    watched = BROKEN._replace(flapping_after=3, flapping_within_ms=3_600_000)
    one = SYMBOLS[:1]

    async def swing(storm: Storm, times: int) -> None:
        for _ in range(times):
            for state in ("broken", "synced"):
                await storm.say(state, one)
                await until(storm.has_rounds(len(storm.rounds) + 2))

    async def told(storm: Storm) -> list[tuple[str, bool]]:
        records = [(entry.event, entry.record) for entry in (await storm.book.newest(100))[::-1]]
        return [(event, record.flapping) for event, record in records if isinstance(record, Alert)]

    before = counted("fleet_alerts_flapped_total")
    async with storm_of(real_server, watched) as storm:
        await swing(storm, 2)
        is_killed(storm)
    once = [("fired", False), ("resolved", False)]
    async with storm_of(real_server, watched, anew=False) as storm:
        assert await told(storm) == once * 2
        await until(storm.has_rounds(1))
        await swing(storm, 2)
        assert await told(storm) == [*once * 2, ("fired", True)]
        is_killed(storm)
    async with storm_of(real_server, watched._replace(flapping_within_ms=1_000), anew=False) as storm:
        [opened] = [one.alert for one in await storm.book.opened()]
        assert (opened.flapping, opened.met, opened.firings) == (True, False, 4)
        await until(storm.are_open([]))
        assert await told(storm) == [*once * 2, ("fired", True), ("resolved", True)]
    assert counted("fleet_alerts_flapped_total") == before + 1
