"""When a line appends: at once when nothing waits its turn, together under load, never for nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from workers.ingest.appender import Appender
from workers.ingest.gathering import Gathering
from workers.ingest.line import Line
from workers.runtime.tasks import end
from workers.settings.schema import IngestSettings
from workers.store.keys import Keys
from workers.store.log.streams import RawEntry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance

KEY = "raw:{A}:depth"
LONG_S = 3600.0


class Turns:
    """A loop that asks when the next call is due, and says how often it was."""

    def __init__(self, longest_s: float, took_s: float = 0.0) -> None:
        self.waiting = self.left = False
        self.gathering = Gathering(longest_s, lambda: self.waiting, lambda: self.left)
        self.took_s = took_s
        self.calls = 0

    async def run(self) -> None:
        while True:
            await self.gathering.due(self.took_s)
            self.calls += 1
            self.waiting = False

    def came(self) -> None:
        self.waiting = True
        self.gathering.came()


async def turns_of_the_loop() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_nobody_is_woken_while_nothing_comes_and_what_comes_goes_at_once() -> None:
    one = Turns(LONG_S)
    running = asyncio.create_task(one.run())
    await turns_of_the_loop()
    assert one.calls == 0
    one.came()
    await turns_of_the_loop()
    assert one.calls == 1
    await end([running])


async def test_after_a_long_call_what_comes_waits_for_more_until_it_is_much() -> None:
    one = Turns(LONG_S, took_s=LONG_S)
    running = asyncio.create_task(one.run())
    one.came()
    await turns_of_the_loop()
    assert one.calls == 0
    one.gathering.is_much()
    await turns_of_the_loop()
    assert one.calls == 1
    await end([running])


async def test_a_pause_in_which_nothing_comes_wakes_nobody_and_one_in_which_much_comes_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Turns(LONG_S, took_s=LONG_S)
    timers: list[float] = []
    loop = asyncio.get_running_loop()
    later = loop.call_later

    def noted(delay: float, *arguments: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(delay)
        return later(delay, *arguments, **named)

    monkeypatch.setattr(loop, "call_later", noted)
    running = asyncio.create_task(one.run())
    await turns_of_the_loop()
    assert (timers, one.calls) == ([], 0)
    for _ in range(3):
        one.came()
        await turns_of_the_loop()
    assert len(timers) == 1
    assert 0 < timers[0] <= LONG_S
    assert one.calls == 0
    one.gathering.is_much()
    await turns_of_the_loop()
    assert one.calls == 1
    await end([running])


async def test_what_could_not_be_told_is_tried_again_though_nothing_comes() -> None:
    one = Turns(LONG_S)
    one.left = True
    running = asyncio.create_task(one.run())
    async with asyncio.timeout(60):
        while one.calls < 2:
            await asyncio.sleep(0.01)
    await end([running])


async def test_at_the_end_whatever_is_left_is_due_at_once() -> None:
    for took_s in (0.0, LONG_S):
        one = Turns(LONG_S, took_s=took_s)
        stop = asyncio.Event()
        asked = asyncio.create_task(one.gathering.due(took_s))
        ending = asyncio.create_task(one.gathering.end_with(stop))
        await turns_of_the_loop()
        stop.set()
        async with asyncio.timeout(60):
            await asked
            await one.gathering.due(took_s)
        await ending


async def test_an_entry_is_in_the_log_without_any_time_of_collecting(client: Redis) -> None:
    settings = IngestSettings(flush_ms=3_600_000)
    one = Appender(client, "a", settings, {KEY: 10**6}, {KEY: ("gaps:{A}", "depth")}, 100)
    stop = asyncio.Event()
    running = asyncio.create_task(one.run(stop))
    await turns_of_the_loop()
    one.add(RawEntry(KEY, 1_000_001, 1, b"{}", 1, "a"))
    async with asyncio.timeout(60):
        while not await client.xlen(KEY):
            await asyncio.sleep(0.01)
    stop.set()
    await running


def figure(name: str) -> float:
    return REGISTRY.get_sample_value(name, {"line": "counted"}) or 0


async def test_the_metrics_say_what_is_appended_since_they_were_told_and_what_waits_now(
    client: Redis,
) -> None:
    one = Appender(client, "counted", IngestSettings(), {KEY: 10**6}, {KEY: ("gaps:{A}", "depth")}, 100)
    for update_id in (1, 2, 2):
        one.add(RawEntry(KEY, 1_000_001, update_id, b"{}", 1, "counted"))
    assert figure("fleet_buffer_entries") == 3
    appended, repeats = figure("fleet_appended_total"), figure("fleet_append_repeats_total")
    await one.flush()
    assert figure("fleet_buffer_entries") == 0
    for _ in range(2):
        one.report()
        assert figure("fleet_appended_total") - appended == 2
        assert figure("fleet_append_repeats_total") - repeats == 1


def test_a_line_says_when_it_begins_to_hold_messages_back() -> None:
    venue = Binance("spot", BinanceSettings(market="spot", symbols=["A"]))
    held: list[int] = []
    appended: list[Any] = []
    line = Line(
        venue,
        Keys(),
        "a",
        IngestSettings(),
        ["A"],
        appended.append,
        recorded=True,
        holds=lambda: held.append(1),
    )

    def frame(first: int, last: int) -> str:
        return (
            '{"stream":"a@depth@100ms","data":{"e":"depthUpdate","E":1700000000000,"s":"A",'
            f'"U":{first},"u":{last},"b":[],"a":[]}}}}'
        )

    now_us = 1_700_000_000_000_000
    line.frame(frame(1, 2), now_us)
    assert (len(appended), held, line.holding) == (1, [], False)
    line.frame(frame(5, 6), now_us)
    assert (len(appended), held, line.holding) == (1, [1], True)
    line.tick(now_us + 1_000_000)
    assert (len(appended), line.holding) == (2, False)
