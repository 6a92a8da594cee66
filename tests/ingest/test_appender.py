"""The buffer before Redis: nothing lost while it fits, nothing lost silently when it does not."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from workers.ingest import appender as appender_module
from workers.ingest import losses
from workers.ingest.appender import Appender
from workers.runtime import backoff
from workers.settings.schema import IngestSettings
from workers.store.log.streams import RawEntry

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

    def __getattr__(self, name: str) -> Any:
        async def asked(*arguments: Any, **options: Any) -> Any:
            if self.away:
                raise RedisConnectionError("connection refused")
            return await getattr(self._client, name)(*arguments, **options)

        return asked


async def test_batches_arrive_whole_and_in_order(client: Redis) -> None:
    one = appender(client)
    for entry in entries(KEY, 1, 95):
        one.add(entry)
    await one.flush()
    assert one.appended == 95
    assert one.waiting == 0
    assert [int(found[0].split(b"-")[1]) for found in await client.xrange(KEY)] == list(range(1, 96))


async def test_whole_books_of_megabytes_do_not_all_go_in_one_call(client: Redis) -> None:
    sizes: list[int] = []

    class Weighed(Away):
        async def execute_command(self, *arguments: Any, **options: Any) -> Any:
            sizes.append(sum(len(argument) for argument in arguments if isinstance(argument, bytes)))
            return await super().execute_command(*arguments, **options)

    weighed = Weighed(client)
    weighed.away = False
    one = appender(weighed)
    for entry in entries(KEY, 1, 8):
        one.add(entry._replace(data=b"x" * 3_000_000))
    await one.flush()
    assert await numbers(client) == list(range(1, 9))
    assert max(sizes) < 12_000_000


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


async def numbers(client: Redis, key: str = KEY) -> list[int]:
    return [int(found[0].split(b"-")[1]) for found in await client.xrange(key)]


async def told(client: Redis) -> list[tuple[int, int]]:
    return [(int(gap[b"from"]), int(gap[b"to"])) for _, gap in await client.xrange("gaps:{A}")]


def test_what_is_remembered_of_the_lost_is_small() -> None:
    """Of each of a thousand streams, while Redis is away for an hour."""
    [entry] = entries(KEY, 10**12, 1)
    lost = losses.Lost(entry, "")
    tracemalloc.start()
    for number in range(losses.MOST_IDS):
        lost.add(entry._replace(update_id=10**12 + number))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16 * losses.MOST_IDS


def test_what_is_lost_while_a_loss_could_not_be_told_is_one_with_it() -> None:
    earlier, later = (
        losses.Lost(first, "redis away") for first in (entries(KEY, 7, 1)[0], entries(KEY, 3, 1)[0])
    )
    for lost, numbers_lost in ((earlier, (7, 8)), (later, (3, 9))):
        for number in numbers_lost:
            lost.add(entries(KEY, number, 1)[0])
    whole = earlier.and_then(later)
    assert (list(whole.places), whole.count, whole.last) == ([7, 8, 3, 9], 4, 9)
    assert (whole.first_ms, whole.last_ms) == (1_000_003, 1_000_009)


async def test_what_was_appended_without_a_reply_is_not_told_lost(client: Redis) -> None:
    """The buffer overflows while nobody knows whether a batch arrived; what is dropped was never sent."""

    class Deaf(Away):
        """Does what it is asked, and does not answer."""

        async def execute_command(self, *arguments: Any, **options: Any) -> Any:
            done = await super().execute_command(*arguments, **options)
            if self.deaf and arguments[0] in ("EVALSHA", "EVAL"):
                raise RedisConnectionError("no reply")
            return done

    deaf = Deaf(client)
    deaf.away = deaf.deaf = False
    one = appender(deaf, buffer_entries=20)
    one.add(entries(KEY, 0, 1)[0])
    await one.flush()  # the script is known from now on
    deaf.deaf = True
    for entry in entries(KEY, 1, 20):
        one.add(entry)
    with pytest.raises(RedisConnectionError):
        await one.flush()
    for entry in entries(KEY, 21, 20):
        one.add(entry)
    assert one.waiting == 40
    for entry in entries(KEY, 41, 5):
        one.add(entry)
    deaf.deaf = False
    await one.flush()
    assert await numbers(client) == [*range(21), *range(26, 46)]
    assert await told(client) == [(21, 25)]


async def test_what_the_other_line_brought_is_not_told_lost(client: Redis) -> None:
    away = Away(client)
    one, other = appender(away, buffer_entries=20), appender(client)
    for entry in entries(KEY, 1, 40):
        one.add(entry)
    for entry in [*entries(KEY, 1, 7), *entries(KEY, 10, 31)]:
        other.add(entry)
    await other.flush()
    away.away = False
    await one.flush()
    assert one.dropped == 20
    assert await told(client) == [(8, 9)]
    two, third = appender(away, buffer_entries=20), appender(client)
    for entry in entries(KEY, 41, 40):
        third.add(entry)
        two.add(entry)
    await third.flush()
    await two.flush()
    assert two.dropped == 20
    assert await told(client) == [(8, 9)]  # nothing is missing


async def test_the_other_line_has_a_moment_for_what_is_newer_than_the_log(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = appender(client, buffer_entries=20), appender(client)
    for entry in [*entries(KEY, 1, 5), *entries(OTHER, 1, 20)]:
        one.add(entry)
    await one.flush()
    assert one.dropped == 5
    assert await told(client) == []
    for entry in entries(KEY, 1, 3):
        other.add(entry)
    await other.flush()
    monkeypatch.setattr(losses, "OTHER_LINE_S", 0.0)
    await one.flush()
    assert await told(client) == [(4, 5)]


async def test_a_key_of_another_type_does_not_stop_the_others(client: Redis) -> None:
    await client.set(KEY, "x")
    one = appender(client)
    for entry in [*entries(KEY, 1, 3), *entries(OTHER, 1, 3)]:
        one.add(entry)
    await one.flush()
    assert await client.xlen(OTHER) == 3
    [(_, gap)] = await client.xrange("gaps:{A}")
    assert (gap[b"from"], gap[b"to"], gap[b"reason"]) == (b"1", b"3", b"append refused")


async def test_what_a_key_refuses_is_recorded_each_time_and_logged_once(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender_module, "TOLD_EVERY_S", 0.0)
    monkeypatch.setattr(backoff, "SETTLED_S", 0.0)
    monkeypatch.setattr(backoff, "FIRST_S", 0.0)
    one = appender(client)

    async def lost(first: int, last: int) -> int:
        with capture_logs() as logs:
            for entry in entries(KEY, first, last):
                one.add(entry)
            await one.flush()
        return sum(line["event"] == "entries_lost" for line in logs)

    await client.set(KEY, "x")
    assert [await lost(first, first + 1) for first in (1, 3, 5)] == [1, 0, 0]
    assert await client.xlen("gaps:{A}") == 3
    await client.delete(KEY)
    assert await lost(7, 8) == 0
    await client.delete(KEY)
    await client.set(KEY, "x")
    assert await lost(9, 10) == 1, "refused anew"


async def test_abandoning_a_buffer_at_the_end_is_bounded(client: Redis) -> None:
    one = appender(Away(client))
    one.add(entries(KEY, 1, 1)[0])
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(one.run(stop), 10)
    assert one.waiting == 1


async def test_a_buffer_is_kept_however_long_redis_is_away(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Back(Away):
        tries = 0

        async def execute_command(self, *arguments: Any, **options: Any) -> Any:
            self.tries += 1
            self.away = self.tries < 3
            return await super().execute_command(*arguments, **options)

    hours = count(0.0, 3_600.0)
    monkeypatch.setattr(
        appender_module, "time", SimpleNamespace(monotonic=lambda: next(hours), time=time.time)
    )
    one, stop = appender(Back(client)), asyncio.Event()
    one.add(entries(KEY, 1, 1)[0])
    running = asyncio.create_task(one.run(stop))
    while one.waiting and not running.done():
        await asyncio.sleep(0.01)
    stop.set()
    await running
    assert (one.appended, one.waiting) == (1, 0)


async def test_what_is_dropped_is_told_before_the_end_though_the_other_line_may_have_it(
    client: Redis,
) -> None:
    one, stop = appender(client, buffer_entries=20), asyncio.Event()
    for entry in [*entries(KEY, 1, 5), *entries(OTHER, 1, 20)]:
        one.add(entry)
    stop.set()
    await one.run(stop)
    [(_, gap)] = await client.xrange("gaps:{A}")
    assert (gap[b"from"], gap[b"to"]) == (b"1", b"5")


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


async def test_what_is_told_of_an_entry_that_is_not_appended_stands_in_the_gaps_once(client: Redis) -> None:
    one, other = appender(client), appender(client)
    [entry] = entries(KEY, 104, 1)
    for line in (one, other):  # both lines meet the same message
        line.tell(entry, "contradictory: another trade of this id")
        await line.flush()
    found = [fields for _, fields in await client.xrange("gaps:{A}")]
    assert found == [
        {b"channel": b"depth", b"from": b"104", b"to": b"104", b"repaired": b"no",
         b"reason": b"contradictory: another trade of this id"}
    ]  # fmt: skip
    assert await client.xlen(KEY) == 0


async def test_memory_that_is_full_of_what_is_too_old_is_made_free(spare_server: str) -> None:
    """Streams are trimmed by what is appended to them, and nothing could be appended any more."""
    client = Redis.from_url(spare_server, protocol=2)
    used = (await client.info("memory"))["used_memory"]
    await client.config_set("maxmemory", used + 4 * 2**20)
    one = appender(client)
    number = 0

    def add(event_ms: int) -> None:
        nonlocal number
        one.add(RawEntry(KEY, event_ms, number, b"x" * 1000, 1, "a"))
        number += 1

    async def fill() -> None:
        while True:
            for _ in range(100):
                add(1_000_000)
            await one.flush()

    with pytest.raises(ResponseError, match="maxmemory"):
        await asyncio.wait_for(fill(), 60)
    add(3_000_000)
    stop = asyncio.Event()
    running = asyncio.create_task(one.run(stop))
    async with asyncio.timeout(60):
        while one.waiting:
            await asyncio.sleep(0.01)
    stop.set()
    await running
    [(newest, _)] = await client.xrevrange(KEY, count=1)
    assert newest == b"3000000-%d" % (number - 1)
    assert one.dropped == 0
    await client.aclose()
