"""The shared request-weight budget: no minute ever exceeds the limit, and a ban stops everyone."""

from __future__ import annotations

import random
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.store.fleet.budget import MOST_BLOCK_S, Budget, Urgency
from workers.store.keys import budget as key_of
from workers.venues.facts import Continuity, Facts, Limit

MINUTE = 1_700_000_040_000 // 60_000 * 60_000


class Clock:
    def __init__(self) -> None:
        self.ms = MINUTE + 5_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_the_weight_of_a_minute_is_bounded_and_comes_back(client: Redis, clock: Clock) -> None:
    one = Budget(client, "um+cm", assumed_limit=100, share=1.0, clock=clock)
    two = Budget(client, "um+cm", assumed_limit=100, share=1.0, clock=clock)
    granted = [await budget.ask(20, Urgency.BROKEN) for budget in (one, two, one, two, one)]
    assert granted == [0] * 5
    assert await two.ask(1, Urgency.BROKEN) == 55_000
    clock.ms = MINUTE + 60_000
    assert await two.ask(20, Urgency.BROKEN) == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("weight", "seconds"), [(1, 1.0), (20, 2.0), (10, 1.0)])
async def test_no_period_of_seconds_has_more_than_the_limit(
    client: Redis, clock: Clock, weight: int, seconds: float, seed: int
) -> None:
    draw = random.Random(seed)
    limit = Limit(weight, seconds)
    facts = Facts(Continuity.NONE, "in band", limits=(limit,))
    a_minute = facts.weight_a_minute
    askers = [
        Budget(client, "x", assumed_limit=a_minute, share=0.8, spacing_ms=facts.spacing_ms, clock=clock)
        for _ in range(3)
    ]
    times: list[int] = []
    for _ in range(300):
        wait_ms = await draw.choice(askers).ask(1, Urgency.BROKEN)
        if wait_ms:
            clock.ms += draw.choice([1, wait_ms, wait_ms])
        else:
            times.append(clock.ms)
    assert len(times) > 40
    for first in times:
        assert sum(first <= at < first + seconds * 1000 for at in times) <= weight


async def test_less_urgent_requests_leave_room_for_broken_books(client: Redis, clock: Clock) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    assert await budget.ask(50, Urgency.AUDIT) == 0
    assert await budget.ask(1, Urgency.AUDIT) > 0
    assert await budget.ask(30, Urgency.START) == 0
    assert await budget.ask(1, Urgency.START) > 0
    assert await budget.ask(20, Urgency.BROKEN) == 0


async def test_what_the_exchange_counted_stands(client: Redis, clock: Clock) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    await budget.ask(5, Urgency.BROKEN)
    await budget.report_used(97)
    assert await budget.ask(5, Urgency.BROKEN) > 0
    await budget.report_used(10)  # an older reply does not give back
    assert await budget.ask(5, Urgency.BROKEN) > 0


async def test_the_learned_limit_replaces_the_assumed_one_but_not_a_fixed_one(
    client: Redis, clock: Clock
) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=0.5, clock=clock)
    await budget.learn(1000)
    assert await budget.ask(500, Urgency.BROKEN) == 0
    assert await budget.ask(1, Urgency.BROKEN) > 0
    fixed = Budget(client, "other", assumed_limit=100, share=0.5, fixed_limit=10, clock=clock)
    await fixed.learn(1000)
    assert await fixed.ask(10, Urgency.BROKEN) == 0
    assert await fixed.ask(1, Urgency.BROKEN) > 0


async def test_a_ban_stops_everyone_until_it_ends(client: Redis, clock: Clock) -> None:
    one = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    two = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    await one.block(120)
    assert await two.ask(1, Urgency.BROKEN) == 120_000
    await two.block(1)  # a shorter one does not shorten it
    clock.ms += 119_000
    assert await one.ask(1, Urgency.BROKEN) == 1_000
    clock.ms += 1_000
    assert await one.ask(1, Urgency.BROKEN) == 0


async def test_a_reply_that_crosses_the_minute_leaves_the_new_one_alone(client: Redis, clock: Clock) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    clock.ms = MINUTE + 59_950
    assert await budget.ask(20, Urgency.BROKEN) == 0
    clock.ms = MINUTE + 60_050
    await budget.report_used(95, 100)  # nothing tells which minute it is of
    assert await budget.ask(20, Urgency.AUDIT) == 0
    await budget.report_used(96, 100, MINUTE + 59_000)
    assert await budget.ask(20, Urgency.AUDIT) == 0
    await budget.report_used(97, 100, MINUTE + 60_000)  # of the new one
    assert await budget.ask(20, Urgency.AUDIT) > 0


@pytest.mark.parametrize("offset_ms", [-90_000, -31_000, -5_000, -400, 0, 400, 5_000, 31_000, 3_600_000])
async def test_an_exchange_with_another_clock_costs_no_minute(
    client: Redis, clock: Clock, offset_ms: int
) -> None:
    """Each minute of the exchange's is used up to the limit and no more, wherever its minutes begin."""
    budget, limit = Budget(client, "spot", assumed_limit=1000, share=1.0, clock=clock), 1000
    used: dict[int, int] = {}
    for _ in range(6 * 60 * 2):  # six minutes, two steps a second
        clock.ms += 500
        theirs = clock.ms + offset_ms
        if await budget.ask(20, Urgency.BROKEN) == 0:
            used[theirs // 60_000] = used.get(theirs // 60_000, 0) + 20
            clock.ms += 80
            await budget.report_used(used[theirs // 60_000], 80, (theirs + 40) // 1000 * 1000)
    minutes = sorted(used)[2:-1]  # the first replies tell of the offset
    assert [used[minute] for minute in minutes] == [limit] * len(minutes)


@pytest.mark.parametrize(
    "step_ms", [5_000, -5_000, 300_000, -300_000, 3_600_000, -3_600_000, 86_400_000, -86_400_000]
)
async def test_no_step_of_the_clock_outlasts_a_minute(client: Redis, clock: Clock, step_ms: int) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    assert await budget.ask(100, Urgency.BROKEN) == 0
    clock.ms += step_ms
    wait = await budget.ask(20, Urgency.BROKEN)
    assert 0 <= wait <= 120_000
    clock.ms += wait
    assert await budget.ask(20, Urgency.BROKEN) == 0


@pytest.mark.parametrize("step_ms", [5_000, -5_000, 300_000, -300_000, 3_600_000, -3_600_000, -86_400_000])
async def test_a_ban_lasts_no_longer_for_a_step_of_the_clock(
    client: Redis, clock: Clock, step_ms: int
) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    await budget.block(120)
    clock.ms += 10_000 + step_ms
    assert await budget.ask(20, Urgency.BROKEN) <= 120_000
    clock.ms += 120_000
    assert await budget.ask(20, Urgency.BROKEN) == 0


async def test_the_servers_clock_counts_not_ours(client: Redis) -> None:
    """A worker whose clock is an hour ahead asks once: nobody waits for that."""
    seconds, micros = await client.time()
    budget = Budget(client, "spot", assumed_limit=100, share=1.0)
    await budget.ask(20, Urgency.BROKEN)
    stored = int(await client.hget(key_of("spot"), "minute"))
    assert stored <= int(seconds) * 1000 + int(micros) // 1000 + 60_000
    ahead = int(seconds) * 1000 + 3_600_000
    await client.hset(key_of("spot"), mapping={"minute": ahead - ahead % 60_000, "used": 100})
    assert await budget.ask(20, Urgency.BROKEN) <= 60_000


@pytest.mark.parametrize("limit", [-5, 0, 10**12, "many", "1e400", "nan", ""])
async def test_a_limit_that_can_be_none_is_refused_and_one_stored_is_not_used(
    client: Redis, clock: Clock, limit: Any
) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    assert await budget.learn(limit) is False
    await client.hset(key_of("spot"), "limit", limit)
    assert await budget.ask(90, Urgency.BROKEN) == 0
    assert await budget.ask(20, Urgency.BROKEN) > 0
    assert await budget.learn(1000) is True
    assert await budget.ask(20, Urgency.BROKEN) == 0


async def test_a_limit_below_a_single_request_does_not_stop_all_for_good(client: Redis, clock: Clock) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    assert await budget.learn(1)
    assert await budget.ask(20, Urgency.START) == 0
    assert await budget.ask(20, Urgency.START) > 0


RUBBISH = ["", "x", "-1", "0", "1e400", "inf", "nan", "9" * 5_000, "0x10", "1.5", "\x00", "²", str(2**63)]


async def test_rubbish_in_any_field_repairs_itself(client: Redis, clock: Clock) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    for name in ("limit", "minute", "used", "blocked_until", "blocked_ms", "phase", "free_at"):
        for text in RUBBISH:
            await client.hset(key_of("spot"), name, text)
            await budget.report_used(10)
            await budget.learn(100)
            wait = await budget.ask(20, Urgency.BROKEN)
            assert wait <= 120_000, (name, text)
            clock.ms += wait + 60_000
            assert await budget.ask(20, Urgency.BROKEN) == 0, (name, text)
            clock.ms += 60_000
    await client.delete(key_of("spot"))
    await client.set(key_of("spot"), "of another type")
    assert await budget.ask(20, Urgency.BROKEN) == 0
    assert await client.hget(key_of("spot"), "used") == b"20"


class PlainBudget:
    """`lua/fleet/budget.lua` in plain Python, of good values."""

    def __init__(self, assumed: int) -> None:
        self.limit, self.assumed = 0, assumed
        self.minute = self.used = self.blocked_until = self.blocked_ms = self.phase = 0

    def _start(self, ms: int) -> int:
        return (ms + self.phase) // 60_000 * 60_000

    def _heal(self, now: int) -> None:
        if self.minute > self._start(now) + 60_000:
            self.minute = self._start(now)

    def ask(self, now: int, weight: int, thousandths: int) -> int:
        self._heal(now)
        minute, used = self._start(now), self.used
        if self.minute == minute + 60_000:
            minute = self.minute
        elif self.minute < minute:
            used = 0
        left = self.blocked_until - now
        if left > self.blocked_ms:
            left = self.blocked_ms
            self.blocked_until = now + left
        if left > 0:
            return left
        if used > 0 and used + weight > (self.limit or self.assumed) * thousandths / 1000:
            return minute + 60_000 - now - self.phase
        self.minute, self.used = minute, used + weight
        return 0

    def report_used(self, now: int, value: int, elapsed: int, theirs: int) -> None:
        if theirs:
            least, width = (theirs - now) % 60_000, 1000 + min(elapsed, 60_000)
            off = (self.phase - least) % 60_000
            if off > width:
                self.phase = (least + width) % 60_000 if off - width < 60_000 - off else least
        self._heal(now)
        minute, used = self._start(now), self.used
        ahead = self.minute == minute + 60_000
        if not ahead and self.minute < minute:
            used = 0
        at = (now + self.phase) % 60_000
        belongs = elapsed < 30_000 and theirs % 60_000 - at < 30_000 if theirs else elapsed <= at
        if belongs and not ahead and value > used:
            self.minute, self.used = minute, value

    def block(self, now: int, ms: int) -> None:
        self._heal(now)
        left = self.blocked_until - now
        if left <= 0 or left > MOST_BLOCK_S * 1000 or ms > left:
            self.blocked_until, self.blocked_ms = now + ms, ms


@pytest.mark.parametrize("seed", range(12))
async def test_the_script_does_as_the_plain_budget(client: Redis, clock: Clock, seed: int) -> None:
    draw = random.Random(seed)
    budget, plain = Budget(client, "spot", assumed_limit=300, share=1.0, clock=clock), PlainBudget(300)
    offset = draw.choice([0, 700, -700, 5_000, -45_000, 3_600_000])
    for step in range(300):
        clock.ms += draw.choice([10, 400, 3_000, 20_000, 59_000])
        if draw.random() < 0.02:
            clock.ms += draw.choice([5_000, -5_000, 300_000, -300_000, 3_600_000, -3_600_000, -86_400_000])
        action = draw.choice(["ask", "ask", "ask", "told", "told", "limit", "block"])
        if action == "ask":
            weight, urgency = draw.choice([1, 20, 50, 400]), draw.choice(list(Urgency))
            assert await budget.ask(weight, urgency) == plain.ask(clock.ms, weight, int(urgency)), step
        elif action == "told":
            value, elapsed = draw.randrange(400), draw.choice([0, 40, 900, 9_000, 31_000, 70_000])
            theirs = draw.choice([0, (clock.ms + offset - elapsed // 2) // 1000 * 1000])
            await budget.report_used(value, elapsed, theirs)
            plain.report_used(clock.ms, value, elapsed, theirs)
        elif action == "limit" and draw.random() < 0.2:
            plain._heal(clock.ms)
            plain.limit = draw.choice([100, 600])
            await budget.learn(plain.limit)
        elif action == "block" and draw.random() < 0.2:
            ms = draw.choice([1_000, 60_000, 600_000])
            await budget.block(ms / 1000)
            plain.block(clock.ms, ms)
        stored = await client.hmget(key_of("spot"), "minute", "used")
        assert [int(value or 0) for value in stored] == [plain.minute, plain.used], (step, action)


@pytest.mark.parametrize("length", ["999999999999", "inf", "-1", None])
async def test_a_ban_longer_than_any_of_which_nothing_says_how_long_it_was_is_none(
    client: Redis, clock: Clock, length: str | None
) -> None:
    budget = Budget(client, "spot", assumed_limit=100, share=1.0, clock=clock)
    stored: dict[str, str] = {"blocked_until": "99999999999999"}
    await client.hset(key_of("spot"), mapping=stored | ({"blocked_ms": length} if length else {}))
    assert await budget.ask(20, Urgency.BROKEN) == 0
    await budget.block(60)
    assert await budget.ask(20, Urgency.BROKEN) == 60_000
