"""The buffer before Redis: nothing lost while it fits, nothing lost silently when it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.ingest.appender import Appender
from workers.settings import IngestSettings
from workers.store.streams import RawEntry

KEY = "raw:{A}:depth"
OTHER = "raw:{B}:depth"
TICKERS = "raw:{A}:bookTicker"


def entries(key: str, first: int, count: int) -> list[RawEntry]:
    return [RawEntry(key, 1_000_000 + n, n, b"{}", 1, "a") for n in range(first, first + count)]


def appender(client: Any, **changes: int) -> Appender:
    kept = {KEY: 10**6, OTHER: 10**6, TICKERS: 10**6}
    gaps = {
        KEY: ("gaps:{A}", "depth"),
        OTHER: ("gaps:{B}", "depth"),
        TICKERS: ("gaps:{A}", "bookTicker"),
    }
    return Appender(client, "a", IngestSettings(flush_ms=1, flush_entries=10, **changes), kept, gaps, 100)  # type: ignore[arg-type]


class Away:
    """A client that is away until told otherwise."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.away = True

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        if self.away:
            raise RedisConnectionError("connection refused")
        return await self._client.execute_command(*arguments, **options)

    async def xadd(self, *arguments: Any, **options: Any) -> Any:
        if self.away:
            raise RedisConnectionError("connection refused")
        return await self._client.xadd(*arguments, **options)


async def test_batches_arrive_whole_and_in_order(client: Redis) -> None:
    one = appender(client)
    for entry in entries(KEY, 1, 95):
        one.add(entry)
    await one.flush()
    assert one.appended == 95
    assert one.waiting == 0
    assert [int(found[0].split(b"-")[1]) for found in await client.xrange(KEY)] == list(range(1, 96))


async def test_while_redis_is_away_the_buffer_holds_and_then_everything_arrives(client: Redis) -> None:
    away = Away(client)
    one = appender(away)
    stop = asyncio.Event()
    running = asyncio.create_task(one.run(stop))
    for entry in entries(KEY, 1, 50):
        one.add(entry)
    await asyncio.sleep(0.05)
    assert one.waiting == 50
    away.away = False
    stop.set()
    await running
    assert await client.xlen(KEY) == 50
    assert await client.exists("gaps:{A}") == 0


async def test_a_full_buffer_drops_the_oldest_and_says_which(client: Redis) -> None:
    away = Away(client)
    one = appender(away, buffer_entries=20)
    for entry in [*entries(KEY, 1, 30), *entries(OTHER, 1, 5)]:
        one.add(entry)
    assert (one.waiting, one.dropped) == (20, 15)
    with pytest.raises(RedisConnectionError):
        await one.flush()
    away.away = False
    await one.flush()
    assert [int(found[0].split(b"-")[1]) for found in await client.xrange(KEY)] == list(range(16, 31))
    [(_, gap)] = await client.xrange("gaps:{A}")
    assert (gap[b"channel"], gap[b"from"], gap[b"to"]) == (b"depth", b"1", b"15")
    assert gap[b"reason"] == b"redis away, buffer full"
    assert await client.exists("gaps:{B}") == 0


async def test_an_overflow_during_a_call_costs_no_more_than_it_dropped(client: Redis) -> None:
    class Slow(Away):
        async def execute_command(self, *arguments: Any, **options: Any) -> Any:
            if not one.dropped:
                for entry in entries(KEY, 21, 25):
                    one.add(entry)
            return await super().execute_command(*arguments, **options)

    slow = Slow(client)
    slow.away = False
    one = appender(slow, buffer_entries=20)
    for entry in entries(KEY, 1, 20):
        one.add(entry)
    await one.flush()
    held = [int(found[0].split(b"-")[1]) for found in await client.xrange(KEY)]
    [(_, gap)] = await client.xrange("gaps:{A}")
    assert held[-1] == 45
    assert set(range(1, 46)) - set(held) <= set(range(int(gap[b"from"]), int(gap[b"to"]) + 1))


async def test_a_key_of_another_type_does_not_stop_the_others(client: Redis) -> None:
    await client.set(KEY, "x")
    one = appender(client)
    for entry in [*entries(KEY, 1, 3), *entries(OTHER, 1, 3)]:
        one.add(entry)
    await one.flush()
    assert await client.xlen(OTHER) == 3
    [(_, gap)] = await client.xrange("gaps:{A}")
    assert (gap[b"from"], gap[b"to"], gap[b"reason"]) == (b"1", b"3", b"append refused")


async def test_abandoning_a_buffer_at_the_end_is_bounded(client: Redis) -> None:
    one = appender(Away(client))
    one.add(entries(KEY, 1, 1)[0])
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(one.run(stop), 10)
    assert one.waiting == 1


async def test_tickers_make_room_for_what_must_not_be_missed(client: Redis) -> None:
    away = Away(client)
    one = appender(away, buffer_entries=80)
    for number in range(60):
        for entry in (*entries(TICKERS, number, 1), *entries(KEY, number, 1)):
            one.add(entry)
    away.away = False
    await one.flush()
    assert one.dropped == 0
    assert await client.xlen(KEY) == 60
    assert await client.xlen(TICKERS) == 10  # those of the first quarter
    assert await client.exists("gaps:{A}") == 0
