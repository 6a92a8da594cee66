"""The buffer before Redis, of streams that the log numbers: who writes, what is lost, and what the log says of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.ingest import losses
from workers.ingest.appender import Appender
from workers.settings.schema import IngestSettings
from workers.store.keys import writer_of
from workers.store.log.streams import RawEntry

BOOK, QUIET = "raw:{A-USD}:depth", "raw:{B-USD}:depth"
TRADES, BY_ID = "raw:{A-USD}:aggTrade", "raw:{C}:depth"
GAPS = {
    BOOK: ("gaps:{A-USD}", "depth"),
    QUIET: ("gaps:{B-USD}", "depth"),
    TRADES: ("gaps:{A-USD}", "aggTrade"),
    BY_ID: ("gaps:{C}", "depth"),
}


def book(first: int, count: int, line: str = "a", key: str = BOOK, turn: str = "") -> list[RawEntry]:
    """Entries of a turn; its first is the snapshot."""
    return [
        RawEntry(
            key, 1_000 + n, 0, b"%d" % n, n, line, "snapshot" if n == 1 else "update", turn or f"{line}1", n
        )
        for n in range(first, first + count)
    ]


def trades(first: int, count: int, line: str = "a") -> list[RawEntry]:
    return [
        RawEntry(TRADES, 1_000 + n, 0, b"n%d" % n, n, line, name=f"n{n}") for n in range(first, first + count)
    ]


def appender(client: Any, line: str = "a", **changes: int) -> Appender:
    settings = IngestSettings(flush_ms=1, flush_entries=10, **changes)
    return Appender(client, line, settings, dict.fromkeys(GAPS, 10**9), GAPS, 100)


def add(one: Appender, entries: list[RawEntry]) -> Appender:
    for entry in entries:
        one.add(entry)
    return one


async def held(client: Redis, key: str = BOOK) -> list[str]:
    """What a stream has: its data, and its kind where there is one."""
    return [
        (fields[b"data"] + b" " + fields.get(b"kind", b"")).decode().strip()
        for _, fields in await client.xrange(key)
    ]


async def gaps(client: Redis, key: str) -> list[tuple[bytes, bytes, bytes]]:
    return [(gap[b"channel"], gap[b"from"], gap[b"to"]) for _, gap in await client.xrange(key)]


class Away:
    """A client that is away until told otherwise, or answers nothing though it does what it is told."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.away, self.deaf = True, False

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        if self.away:
            raise RedisConnectionError("connection refused")
        done = await self._client.execute_command(*arguments, **options)
        if self.deaf and arguments[0] in ("EVALSHA", "EVAL"):
            raise RedisConnectionError("no reply")
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


async def test_a_batch_of_both_kinds_goes_to_its_streams_in_order(client: Redis) -> None:
    mixed: list[RawEntry] = []
    for n in range(1, 31):
        mixed += [*book(n, 1), *trades(n, 1), RawEntry(BY_ID, 1_000, n, b"%d" % n, n, "a")]
    one = add(appender(client), mixed)
    await one.flush()
    assert (one.appended, one.repeats, one.stood_by, one.standby) == (90, 0, 0, {})
    assert await held(client) == ["1 snapshot", *(str(n) for n in range(2, 31))]
    assert await held(client, TRADES) == [f"n{n}" for n in range(1, 31)]
    assert [i.split(b"-")[1] for i, _ in await client.xrange(BY_ID)] == [b"%d" % n for n in range(1, 31)]


async def test_a_batch_without_a_reply_is_sent_again_and_not_doubled(client: Redis) -> None:
    away = Away(client)
    away.away = False
    one = add(appender(away), [*book(1, 1), *trades(1, 1), RawEntry(BY_ID, 1_000, 1, b"1", 1, "a")])
    await one.flush()  # the scripts are known from now on
    away.deaf = True
    add(one, [*book(2, 5), *trades(2, 5), RawEntry(BY_ID, 1_000, 9, b"s", 2, "a", "snapshot")])
    for _ in range(3):
        with pytest.raises(RedisConnectionError):
            await one.flush()
    away.deaf = False
    await one.flush()
    assert await held(client) == ["1 snapshot", "2", "3", "4", "5", "6"]
    assert await held(client, TRADES) == ["n1", "n2", "n3", "n4", "n5", "n6"]
    assert await held(client, BY_ID) == ["1", "s snapshot"]


async def test_a_standby_line_sees_how_long_the_writer_is_silent_and_takes_over(client: Redis) -> None:
    writer, other = appender(client), appender(client, "b")
    await add(writer, book(1, 3)).flush()
    before = time.monotonic()
    await add(other, [*book(1, 3, "b"), *trades(1, 3, "b")]).flush()
    assert (other.stood_by, other.appended) == (3, 3)
    assert list(other.standby) == [BOOK]
    assert other.standby[BOOK].silent_ms >= 0
    assert other.standby[BOOK].at >= before
    await client.hset(writer_of(BOOK), "at", 1)  # as if it had hung for long
    await add(other, book(1, 3, "b", turn="b2")).flush()
    assert other.standby == {}
    await add(writer, book(4, 3)).flush()
    assert list(writer.standby) == [BOOK]
    assert await held(client) == ["1 snapshot", "2", "3"] * 2


async def test_what_is_dropped_of_a_book_breaks_it_where_it_is_missing(client: Redis) -> None:
    away = Away(client)
    one = appender(away, buffer_entries=20)
    away.away = False
    await add(one, [*book(1, 2), *book(1, 2, key=QUIET)]).flush()
    away.away = True
    add(one, [*book(3, 1, key=QUIET), *book(3, 30)])
    with pytest.raises(RedisConnectionError):
        await one.flush()
    add(one, book(33, 5))
    away.away = False
    await one.flush()
    found = await held(client)
    assert found == ["1 snapshot", "2", "break", *(str(n) for n in range(13, 38))]
    assert await held(client, QUIET) == ["1 snapshot", "2", "break"]  # nothing else came of it
    assert await gaps(client, "gaps:{A-USD}") == [(b"depth", b"1003", b"1012")]
    assert await gaps(client, "gaps:{B-USD}") == [(b"depth", b"1003", b"1003")]


async def test_where_ids_only_order_what_is_dropped_breaks_the_book_too(client: Redis) -> None:
    away = Away(client)
    one = appender(away, buffer_entries=20)
    add(one, [RawEntry(BY_ID, 1_000 + n, n, b"%d" % n, n, "a", number=1) for n in range(1, 31)])
    away.away = False
    await one.flush()
    assert await held(client, BY_ID) == ["break", *(str(n) for n in range(11, 31))]


async def test_what_a_standby_line_drops_is_no_loss(client: Redis) -> None:
    away = Away(client)
    other = appender(away, "b", buffer_entries=20)
    await add(appender(client), book(1, 40)).flush()
    add(other, book(1, 40, "b"))
    assert other.dropped == 20
    away.away = False
    await other.flush()
    assert await held(client) == ["1 snapshot", *(str(n) for n in range(2, 41))]
    assert await client.exists("gaps:{A-USD}") == 0


async def test_trades_that_the_other_line_brought_are_not_told_lost(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(client)
    one = appender(away, buffer_entries=20)
    add(one, trades(1, 40))
    away.away = False
    await add(appender(client, "b"), [*trades(1, 7, "b"), *trades(10, 31, "b")]).flush()
    await one.flush()
    assert await client.exists("gaps:{A-USD}") == 0  # it may still bring the others
    monkeypatch.setattr(losses, "OTHER_LINE_S", 0.0)
    await one.flush()
    assert await gaps(client, "gaps:{A-USD}") == [(b"aggTrade", b"1008", b"1009")]
    assert sorted(await held(client, TRADES)) == sorted(f"n{n}" for n in range(1, 41) if n not in (8, 9))


async def test_a_snapshot_dropped_where_ids_show_what_is_there_is_no_hole(client: Redis) -> None:
    one = appender(client, buffer_entries=20)
    add(one, [RawEntry(BY_ID, 1_000, 5, b"s", 1, "a", "snapshot")])
    add(one, [RawEntry(BY_ID, 1_000 + n, 5 + n, b"u", 1, "a") for n in range(1, 21)])
    assert one.dropped == 1
    await one.flush()
    assert await client.xlen(BY_ID) == 20
    assert await client.exists("gaps:{C}") == 0


async def test_a_key_that_is_no_writer_costs_the_other_streams_nothing(client: Redis) -> None:
    await client.set(writer_of(QUIET), "x")
    one = add(appender(client), [*book(1, 3, key=QUIET), *book(1, 3), *trades(1, 3)])
    await one.flush()
    await add(one, book(4, 1, key=QUIET)).flush()
    assert await held(client) == ["1 snapshot", "2", "3"]
    assert await client.xlen(TRADES) == 3
    assert await client.xlen(QUIET) == 0
    assert await gaps(client, "gaps:{B-USD}") == [(b"depth", b"1001", b"1003")]
