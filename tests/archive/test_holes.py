"""Holes in the trades of a stream: waited for, filled from the repaired set, or told in the gaps stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from archive_world import KEYS, SOURCES, SYMBOL, World
from redis.asyncio import Redis

from workers.archive import holes
from workers.archive.buffer import Limits
from workers.archive.files.layout import StreamId
from workers.archive.files.rows import POSITIONS, REPAIRED
from workers.model.events import Trade
from workers.model.trades.latest import json_member

AT = POSITIONS["trades"]
LIMITS = Limits(5, 1 << 20, 1e9)


async def fold(client: Redis, ids: range, ms: int, last_id: int) -> None:
    """What the trades role would have left: these trades in the latest set, and how far it has come."""
    for trade_id in ids:
        trade = Trade(SYMBOL, trade_id, "1.0", "2.0", trade_id, trade_id, ms, ms, is_buyer_maker=True)
        await client.zadd(KEYS.trades_latest(SYMBOL), {json_member(trade, "aggTrade"): ms})
    await client.hset(KEYS.trades_state(SYMBOL), "last_id", last_id)


async def gaps(client: Any) -> list[tuple[bytes, int, int]]:
    found = [fields for _, fields in await client.xrange(KEYS.gaps(SYMBOL))]
    return [(gap[b"channel"], int(gap[b"from"]), int(gap[b"to"])) for gap in found]


def world_of(client: Redis, folder: Path, kind: str = "trades") -> World:
    return World(client, SOURCES[kind], folder, LIMITS)


async def test_a_hole_waits_for_the_fold_and_is_filled(client: Redis, archive_folder: Path) -> None:
    """More rows than a file holds wait behind the hole, and the buffer is full meanwhile."""
    world = world_of(client, archive_folder)
    await world.append(2, 10)
    await world.append(9, 10, skip=3)
    owner = await world.takeover()
    for _ in range(5):
        await owner.work(flush=True, hole_wait_s=1e9)
    assert [row[AT["agg_trade_id"]] for row in world.rows()] == [1000, 1001]
    assert owner.stream.buffer.full
    await fold(client, range(1002, 1005), world.ms - 80, 1004)
    for _ in range(9):
        await owner.work(flush=True, hole_wait_s=1e9)
    rows = world.rows()
    assert [row[AT["agg_trade_id"]] for row in rows] == list(range(1000, 1014))
    assert [row[AT["line"]] for row in rows] == ["a"] * 2 + [REPAIRED] * 3 + ["a"] * 9
    assert all(StreamId.parse(row[0]).sequence == row[AT["agg_trade_id"]] for row in rows)
    stream_ids = [StreamId.parse(row[0]) for row in rows]
    assert stream_ids == sorted(set(stream_ids))
    assert await gaps(client) == []
    assert (await client.xpending(world.key, "archive"))["pending"] == 0


async def test_a_large_hole_is_filled_in_parts_even_across_owners(
    client: Redis, archive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holes, "FILLED_AT_ONCE", 4)
    world = world_of(client, archive_folder)
    await world.append(3, 10)
    await world.append(2, 10, skip=40)
    await fold(client, range(1003, 1043), world.ms - 15, 1044)
    for left in (0, 17, 0, 23, 0):
        owner = await world.takeover()
        owner.fuse.set(left, "kill")
        await owner.work(flush=left == 0)
        await owner.work(flush=left > 0)
    await world.finish()
    assert [row[AT["agg_trade_id"]] for row in world.rows()] == list(range(1000, 1045))
    assert await gaps(client) == []


async def test_what_nobody_has_is_told_after_a_while(client: Redis, archive_folder: Path) -> None:
    world = world_of(client, archive_folder)
    await world.append(2, 10)
    await world.append(2, 10, skip=6)
    await fold(client, range(1004, 1006), world.ms - 10, 1001)
    owner = await world.takeover()
    await owner.work(flush=True, hole_wait_s=0.0)
    ids = [row[AT["agg_trade_id"]] for row in world.rows()]
    assert ids == [1000, 1001, 1004, 1005, 1008, 1009]
    assert await gaps(client) == [(b"archive", 1002, 1003), (b"archive", 1006, 1007)]


@pytest.mark.parametrize("kind", ["trades", "depth"])
async def test_a_stream_trimmed_before_it_was_read_is_told(
    client: Redis, archive_folder: Path, kind: str
) -> None:
    world = world_of(client, archive_folder, kind)
    await world.append(4, 10)
    await (await world.takeover()).work(flush=True)
    await world.append(8, 10)
    await client.xtrim(world.key, maxlen=3, approximate=False)
    await world.finish()
    assert len(world.rows()) == 4 + 3
    assert await gaps(client) == [(b"archive", 1004, 1008)]


@pytest.mark.parametrize("kind", ["trades", "depth", "bars"])
async def test_entries_trimmed_after_delivery_are_told_and_acknowledged(
    client: Redis, archive_folder: Path, kind: str
) -> None:
    world = world_of(client, archive_folder, kind)
    await world.append(4, 10)
    await (await world.takeover()).work(flush=True)
    await world.append(4, 10)
    lost = [stream_id.ms for stream_id in sorted(world.appended)[4:]]
    owner = await world.takeover()
    await owner.work(flush=False)
    await client.xtrim(world.key, maxlen=0, approximate=False)
    await world.append(2, 10)
    await world.finish()
    assert len(world.rows()) == 4 + 2
    told = await gaps(client)
    assert {channel for channel, _, _ in told} == {b"archive"}
    ends = (told[0][1], told[-1][2])  # one record for each page that was read
    assert len(told) == (1 if kind == "trades" else 2)
    assert ends == ((lost[0], lost[-1]) if kind == "bars" else (1004, 1007))
    assert (await client.xpending(world.key, "archive"))["pending"] == 0


async def test_a_hole_of_the_exchange_in_depth_is_not_ours(client: Redis, archive_folder: Path) -> None:
    """Ingest has told it already; nothing was trimmed."""
    world = world_of(client, archive_folder, "depth")
    await world.append(3, 10)
    await world.append(3, 10, skip=50)
    await world.finish()
    assert len(world.rows()) == 6
    assert await gaps(client) == []


async def test_files_are_the_truth_where_redis_lost_everything(client: Redis, archive_folder: Path) -> None:
    world = world_of(client, archive_folder)
    await world.append(7, 10)
    await world.finish()
    await client.flushall()
    world.token = 0
    await world.append(5, 10)
    await world.finish()
    await world.check()


async def test_files_beyond_a_server_s_lost_seconds_are_adopted(client: Redis, archive_folder: Path) -> None:
    """The offset, the announcement and the acknowledgements of the newest files are gone, the files are not."""
    world = world_of(client, archive_folder)
    await world.append(4, 10)
    await (await world.alive()).work(flush=True)
    offsets = await client.hgetall(KEYS.archive(SYMBOL))
    await world.append(9, 10)
    for _ in range(4):
        await (await world.alive()).work(flush=True)
    await client.delete(KEYS.archive(SYMBOL))
    await client.hset(KEYS.archive(SYMBOL), mapping=offsets)
    await client.xgroup_setid(world.key, "archive", str(sorted(world.appended)[3]))
    await world.append(3, 10)
    await world.finish()
    await world.check()


async def test_a_damaged_file_is_written_anew(client: Redis, archive_folder: Path) -> None:
    world = world_of(client, archive_folder)
    await world.append(4, 10)
    owner = await world.alive()
    for left in range(1, 40):
        owner = await world.takeover()
        owner.fuse.set(left, "kill")
        await owner.work(flush=True)
        if world.files() and not (await client.hget(KEYS.archive(SYMBOL), "aggTrade")):
            break
    ((_, _, path),) = world.files()
    path.write_bytes(path.read_bytes()[:-100])
    await world.finish()
    await world.check()
