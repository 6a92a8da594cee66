"""States a server can be in by design: the roles wait, say so once, and go on by themselves when they are over."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from in_process import SYMBOLS, Fleet, fleet_of, settle
from redis.asyncio import Redis
from structlog.testing import capture_logs

from workers.runtime.backoff import REFUSED

LINES = ("ingest-a", "a"), ("books", "books-1"), ("trades", "trades-1")


async def refuse(server: Redis, state: str) -> None:
    if state == "oom":
        await server.config_set("maxmemory", "1")
    else:
        await server.replicaof("127.0.0.1", "1")


async def accept(server: Redis, state: str) -> None:
    if state == "oom":
        await server.config_set("maxmemory", "0")
    else:
        await server.replicaof("NO", "ONE")


async def recovered(fleet: Fleet) -> None:
    await fleet.until(fleet.all_shown)
    await settle(fleet)
    await fleet.check_books()
    await fleet.check_trades()


@pytest.mark.parametrize("state", ["oom", "readonly"])
async def test_a_state_of_the_server_is_told_once_counted_and_ends_by_itself(
    spare_server: str, state: str
) -> None:
    async with fleet_of(spare_server) as fleet:
        for role, name in LINES:
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)
        before = REFUSED.labels("append", state)._value.get()
        with capture_logs() as logs:
            await refuse(fleet.client, state)
            await asyncio.sleep(3)
            await accept(fleet.client, state)
            await recovered(fleet)
        assert not any(task.done() for task in fleet.tasks.values())
        assert REFUSED.labels("append", state)._value.get() > before
        told: Counter[Any] = Counter(
            (line["work"], line["symbol"]) for line in logs if line["event"] == "redis_refused"
        )
        assert ("append", "") in told
        assert all(times <= 3 for times in told.values()), told
        loud = Counter(str(line["event"]) for line in logs)
        assert loud.total() < 60, loud


async def test_a_key_of_another_type_costs_its_symbol_alone(spare_server: str) -> None:
    bad, *good = SYMBOLS
    async with fleet_of(spare_server) as fleet:
        for role, name in LINES:
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)
        with capture_logs() as logs:
            state = f"trades:{{{bad}}}:state"
            async with fleet.client.pipeline() as step:  # or the fold begins anew between the two
                step.rename(state, "aside")
                step.set(state, "x")
                await step.execute()
            await asyncio.sleep(3)
            told = Counter(str(line["event"]) for line in logs)
            assert told["redis_refused"] <= 4, told
            for symbol in good:
                await fleet.passed(symbol)
            await fleet.client.rename("aside", state)
            await fleet.passed(bad)
        await settle(fleet)
        await fleet.check_trades()
