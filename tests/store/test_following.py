"""Following streams: every entry once, in order, and each loss told, whoever trims what meanwhile."""

from __future__ import annotations

import asyncio
import random

from redis.asyncio import Redis

from workers.store.log.follower import START, Lost, StreamFollower, before, entry_id, last_ids


async def ids(follower: StreamFollower, **options: object) -> tuple[list[str], list[Lost]]:
    found = await follower.read(0, **options)  # type: ignore[arg-type]
    return [stream_id.decode() for entries in found.entries.values() for stream_id, _ in entries], found.lost


async def add(client: Redis, key: str, *numbers: int) -> None:
    for number in numbers:
        await client.xadd(key, {"n": number}, id=f"{number}-0")


async def test_entries_of_several_streams_once_each(client: Redis):
    await add(client, "a", 1, 2)
    await add(client, "b", 5)
    follower = StreamFollower(client, {"a": START, "b": "4-0", "c": START})
    assert (await ids(follower))[0] == ["1-0", "2-0", "5-0"]
    assert await ids(follower) == ([], [])
    await add(client, "c", 7)
    assert (await ids(follower))[0] == ["7-0"]
    assert follower.positions == {"a": "2-0", "b": "5-0", "c": "7-0"}


async def test_only_the_streams_asked_for(client: Redis):
    await add(client, "a", 1)
    await add(client, "b", 2)
    follower = StreamFollower(client, {"a": START, "b": START})
    assert (await ids(follower, only=["b"]))[0] == ["2-0"]
    assert (await ids(follower, only=[]))[0] == []
    assert (await ids(follower))[0] == ["1-0"]


async def test_any_trimming_and_any_pauses_lose_nothing_untold(client: Redis):
    """Against a twin that knows what was added and what was trimmed before it could be read."""
    draw = random.Random(7)
    follower, last, read, told = StreamFollower(client, {"a": START}), 0, list[int](), 0
    for _ in range(60):
        for _ in range(draw.randint(0, 6)):
            last += 1
            await add(client, "a", last)
        kept = draw.choice([2, 5, 100])
        await client.xtrim("a", maxlen=kept, approximate=False)
        follower._answered = float("-inf")  # a pause, without waiting for it
        found, lost = await ids(follower)
        numbers = [entry_id(text)[0] for text in found]
        missed = bool(read and numbers) and numbers[0] != read[-1] + 1
        told += bool(lost)
        assert not missed or lost, "entries were missed and nothing was told"
        read += numbers
    assert read == sorted(set(read))
    assert read[-1] == last
    assert told > 3


async def test_a_quiet_stream_that_was_deleted_is_told(client: Redis):
    await add(client, "a", 50)
    follower = StreamFollower(client, {"a": START})
    await ids(follower)
    await client.delete("a")
    await add(client, "a", 3)
    follower._checked = float("-inf")
    assert await ids(follower) == ([], [Lost("a", "50-0", "3-0", True)])
    assert await ids(follower) == (["3-0"], [])


async def test_a_position_before_a_time_is_no_entry_that_could_be_lost(client: Redis):
    await add(client, "a", 5, 6)
    follower = StreamFollower(client, {"a": before(6)})
    assert await ids(follower) == (["6-0"], [])
    assert before(0) == START


async def test_it_waits_for_what_comes(client: Redis):
    follower = StreamFollower(client, {"a": START})
    await ids(follower)
    waiting = asyncio.create_task(follower.read(60_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await add(client, "a", 1)
    async with asyncio.timeout(30):
        assert list((await waiting).entries) == ["a"]


async def test_the_newest_ids(client: Redis):
    await add(client, "a", 1, 2)
    assert await last_ids(client, ["a", "none"]) == {"a": "2-0"}
