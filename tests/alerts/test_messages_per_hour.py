"""A limit of messages an hour, and ends of alerts whose message was dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from alert_examples import alert, rule
from test_outside import World, counted, stand_in, until, world_of

from workers.alerts import webhook
from workers.model.alerts.budget import HOUR_MS, Budget, budget_at
from workers.model.alerts.machine import AlertMachine
from workers.model.alerts.notices import withheld_notice
from workers.model.alerts.records import Alert, Change
from workers.runtime.tasks import end


def test_another_hour_begins_with_nothing_sent_and_remembers_what_nobody_was_told():
    budget = Budget(7, 500, 20)
    assert budget_at(7 * HOUR_MS, str(budget)) == budget_at(8 * HOUR_MS - 1, str(budget)) == budget
    assert budget_at(8 * HOUR_MS, str(budget)) == budget_at(8 * HOUR_MS + 1, str(budget)) == Budget(8, 0, 20)
    for rubbish in ("", "7 1", "7 -1 0", "7 1 x", f"7 1 {'9' * 5_000}"):
        assert budget_at(7 * HOUR_MS, rubbish) == Budget(7)


def test_people_and_programs_are_told_how_many_were_withheld():
    assert msgspec.json.decode(withheld_notice(480, 500, slack=False)) == {
        "event": "withheld", "messages": 480, "limit": 500,
    }  # fmt: skip
    assert "480 messages" in msgspec.json.decode(withheld_notice(480, 500, slack=True))["text"]


class Receiver:
    """A webhook that takes messages, or does not."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        """Event, and the rule of the alert or how many were withheld."""
        self.is_well = True

    async def take(self, request: web.Request) -> web.Response:
        said = msgspec.json.decode(await request.read())
        if self.is_well:
            of = said["alert"]["rule"] if "alert" in said else str(said["messages"])
            self.got.append((said["event"], of))
        return web.Response(status=200 if self.is_well else 503)

    def has(self, *messages: tuple[str, str]) -> Any:
        async def so() -> bool:
            return set(messages) <= set(self.got)

        return so


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many hours later it is."""
    later = [0]
    monkeypatch.setattr(webhook, "budget_at", lambda _, stored: budget_at(later[0] * HOUR_MS, stored))
    monkeypatch.setattr(webhook, "POLL_S", 0.02)
    monkeypatch.setattr(webhook, "FIRST_S", 0.01)
    monkeypatch.setattr(webhook, "MOST_S", 0.02)
    return later


def opened_in(world: World, names: Sequence[str]) -> dict[str, Alert]:
    """Alerts that are open at their owner, as those of a look would be."""
    alerts = {name: alert(name) for name in names}
    world.owner.machine = AlertMachine([rule("mid > 1", name) for name in names], alerts.values())
    return alerts


async def resolve(world: World, *alerts: Alert) -> None:
    """As a look does whose condition is over."""
    assert world.owner.machine is not None
    left = [one for one in world.owner.opened() if one.id not in {gone.id for gone in alerts}]
    rules = [rule("mid > 1", one.rule) for one in left]
    world.owner.machine = AlertMachine(rules, left)
    for one in alerts:
        one.resolved_ms, one.resolution = 2_000, "over"
    await world.tell(*(Change("resolved", one) for one in alerts))


@asynccontextmanager
async def again(url: str, **alerts: Any) -> AsyncIterator[World]:
    """The role after a restart: what is stored stays."""
    world = World(url, **alerts)
    await world.client.delete("fleet:lease:alerts:{alerts}")
    await world.owner._take_or_renew()
    task = asyncio.create_task(world.worker._webhook.run())
    try:
        yield world
    finally:
        await end([task])
        await world.worker.close()
        await world.client.aclose()


async def test_beyond_the_limit_one_message_says_how_many_and_the_end_of_a_told_alert_is_told(
    real_server: str, hours: list[int]
):
    receiver = Receiver()
    before = counted("fleet_alerts_webhook_dropped_total")
    async with (
        stand_in(receiver.take) as url,
        world_of(real_server, webhook_url=url, messages_per_hour=3) as world,
    ):
        alerts = opened_in(world, "abcdef")
        await world.tell(*(Change("fired", one) for one in alerts.values()))
        await until(receiver.has(("withheld", "3")))
        assert receiver.got == [("fired", "a"), ("fired", "b"), ("fired", "c"), ("withheld", "3")]
        assert counted("fleet_alerts_webhook_dropped_total") == before + 3
        await resolve(world, alerts["d"], alerts["a"])
        await until(receiver.has(("resolved", "a")))
        await world.tell(Change("fired", alert("late", fired_ms=3_000)))
        await until(all_passed(world))
        assert receiver.got[4:] == [("resolved", "a")]  # of d nobody was told, so its end is no news
        hours[0] = 1
        await until(receiver.has(("withheld", "1"), ("fired", "e"), ("fired", "f")))
        assert receiver.got[5:] == [("withheld", "1"), ("fired", "e"), ("fired", "f")]

        async def none_untold() -> bool:
            opened = {one.alert.rule: one.alert.untold for one in await world.owner.book.opened()}
            return not any(opened[name] for name in "bcef")

        await until(none_untold)
        assert world.owner.unsent <= {alert("late", fired_ms=3_000).id}


def all_passed(world: World) -> Any:
    async def so() -> bool:
        return not await world.owner.book.after(world.owner.places["webhook"], 1)

    return so


async def test_a_restart_begins_no_new_hour_and_forgets_no_message_withheld(
    real_server: str, hours: list[int]
):
    receiver = Receiver()
    async with stand_in(receiver.take) as url:
        keys = {"webhook_url": url, "messages_per_hour": 2}
        async with world_of(real_server, **keys) as world:
            await world.tell(*(Change("fired", one) for one in opened_in(world, "abc").values()))
            await until(receiver.has(("withheld", "1")))
        async with again(real_server, **keys) as world:
            await world.tell(Change("fired", alert("d")))
            await until(all_passed(world))
        async with again(real_server, **keys) as world:
            hours[0] = 1
            await until(receiver.has(("fired", "c")))
    assert receiver.got == [
        ("fired", "a"), ("fired", "b"), ("withheld", "1"), ("withheld", "1"), ("fired", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize("why", ["queue", "time"])
async def test_the_end_of_an_alert_is_told_though_its_message_was_dropped(
    real_server: str, hours: list[int], why: str
):
    receiver = Receiver()
    retry_s = 0.0 if why == "time" else 600.0
    async with stand_in(receiver.take) as url:
        keys = {"webhook_url": url, "webhook_queue": 5, "webhook_retry_s": retry_s}
        async with world_of(real_server, **keys) as world:
            alerts = opened_in(world, ["told", "never", *(f"r{number}" for number in range(20))])
            await world.tell(Change("fired", alerts["told"]))
            await until(receiver.has(("fired", "told")))
            receiver.is_well = False
            failed = counted("fleet_alerts_webhook_failed_total")
            await resolve(world, alerts["told"])
            async with asyncio.timeout(60):
                while counted("fleet_alerts_webhook_failed_total") <= failed:
                    await asyncio.sleep(0.01)
            await world.tell(*(Change("fired", one) for name, one in alerts.items() if name != "told"))
            await resolve(world, alerts["never"])

            async def is_kept() -> bool:
                return bool(world.owner.ends)

            await until(is_kept)
        receiver.is_well = True
        async with again(real_server, **keys) as world:
            await until(receiver.has(("resolved", "told")))
            await until(all_passed(world))

            async def none_is_kept() -> bool:
                places = await world.client.hkeys("{alerts}:places")
                return not any(name.startswith(b"webhook_resolved:") for name in places)

            await until(none_is_kept)


async def test_ends_that_a_webhook_was_not_told_are_forgotten_where_there_is_none_any_more(
    real_server: str, hours: list[int]
):
    receiver = Receiver()
    receiver.is_well = False
    async with stand_in(receiver.take) as url:
        async with world_of(real_server, webhook_url=url, webhook_retry_s=0.0) as world:
            await world.tell(Change("fired", alert("b")), Change("resolved", alert("b")))

            async def is_kept() -> bool:
                return bool(world.owner.ends)

            await until(is_kept)
        async with again(real_server) as world:
            await world.tell()
            assert await world.client.hkeys("{alerts}:places") == []
