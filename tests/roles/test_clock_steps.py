"""Somebody sets the machine's clock while everything runs: nothing is lost, withheld, doubled or closed too early."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from in_process import KEYS, SYMBOLS, fleet_of, settle

from workers.store.keys import budget

STEPS_S = [5, -5, 300, -300, 3_600, -3_600, 86_400, -86_400]


class DayClock:
    """The time of day, set by some seconds."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.by_s = 0
        day, day_ns = time.time, time.time_ns
        patch.setattr(time, "time", lambda: day() + self.by_s)
        patch.setattr(time, "time_ns", lambda: day_ns() + self.by_s * 10**9)


async def test_no_step_of_the_clock_is_seen_in_what_is_served(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DayClock(monkeypatch)
    async with fleet_of(real_server) as fleet:
        await fleet.client.flushall()
        for role, name in (("ingest-a", "a"), ("books", "b"), ("trades", "t"), ("keeper", "k")):
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)
        for step in STEPS_S:
            for clock.by_s in (step, 0):
                await asyncio.sleep(0.7)
                assert not any(task.done() for task in fleet.tasks.values()), step
        await fleet.until(fleet.all_shown)
        stored: dict[bytes, Any] = await fleet.client.hgetall(budget("um+cm"))
        assert int(stored[b"minute"]) < (time.time() + 180) * 1000
        assert int(stored.get(b"blocked_until", 0)) == 0
        await settle(fleet)
        await fleet.check_books()
        await fleet.check_trades()
        for symbol in SYMBOLS:
            status = await fleet.client.hgetall(KEYS.book_status(symbol))
            assert (status[b"gap_count"], status[b"sync_count"]) == (b"0", b"1"), symbol
            assert await fleet.client.exists(KEYS.gaps(symbol)) == 0
            bars = [fields for _, fields in await fleet.client.xrange(KEYS.bars(symbol, "1m"))]
            assert {bar[b"revision"] for bar in bars} <= {b"0"}, symbol
