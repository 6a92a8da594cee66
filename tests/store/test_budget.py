"""The shared request-weight budget: no minute ever exceeds the limit, and a ban stops everyone."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from workers.store import budget as module
from workers.store.budget import Budget, Urgency

MINUTE = 1_700_000_040_000 // 60_000 * 60_000


class Clock:
    def __init__(self) -> None:
        self.ms = MINUTE + 5_000

    def time(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


async def test_the_weight_of_a_minute_is_bounded_and_comes_back(client: Redis, clock: Clock) -> None:
    one = Budget(client, "um+cm", assumed_limit=100, share=1.0)
    two = Budget(client, "um+cm", assumed_limit=100, share=1.0)
    granted = [await budget.ask(20, Urgency.BROKEN) for budget in (one, two, one, two, one)]
    assert granted == [0] * 5
    assert await two.ask(1, Urgency.BROKEN) == 55_000
    clock.ms = MINUTE + 60_000
    assert await two.ask(20, Urgency.BROKEN) == 0


async def test_less_urgent_requests_leave_room_for_broken_books(client: Redis, clock: Clock) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0)
    assert await budget.ask(50, Urgency.AUDIT) == 0
    assert await budget.ask(1, Urgency.AUDIT) > 0
    assert await budget.ask(30, Urgency.START) == 0
    assert await budget.ask(1, Urgency.START) > 0
    assert await budget.ask(20, Urgency.BROKEN) == 0


async def test_what_the_exchange_counted_stands(client: Redis, clock: Clock) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0)
    await budget.ask(5, Urgency.BROKEN)
    await budget.told(97)
    assert await budget.ask(5, Urgency.BROKEN) > 0
    await budget.told(10)  # an older reply does not give back
    assert await budget.ask(5, Urgency.BROKEN) > 0


async def test_the_learned_limit_replaces_the_assumed_one_but_not_a_fixed_one(
    client: Redis, clock: Clock
) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=0.5)
    await budget.learn(1000)
    assert await budget.ask(500, Urgency.BROKEN) == 0
    assert await budget.ask(1, Urgency.BROKEN) > 0
    fixed = Budget(client, "other", assumed_limit=100, share=0.5, fixed_limit=10)
    await fixed.learn(1000)
    assert await fixed.ask(10, Urgency.BROKEN) == 0
    assert await fixed.ask(1, Urgency.BROKEN) > 0


async def test_a_ban_stops_everyone_until_it_ends(client: Redis, clock: Clock) -> None:
    one = Budget(client, "spot", assumed_limit=100, share=1.0)
    two = Budget(client, "spot", assumed_limit=100, share=1.0)
    await one.block(120)
    assert await two.ask(1, Urgency.BROKEN) == 120_000
    await two.block(1)  # a shorter one does not shorten it
    clock.ms += 119_000
    assert await one.ask(1, Urgency.BROKEN) == 1_000
    clock.ms += 1_000
    assert await one.ask(1, Urgency.BROKEN) == 0
