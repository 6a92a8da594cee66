"""Kill -9, lost replies and takeovers at any step: no row is lost or doubled, on fakeredis and a real server."""

from __future__ import annotations

import asyncio
from typing import Any

import fakeredis
import pytest
from archive_world import SOURCES, Folder, Owner, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.archive.buffer import Limits
from workers.store.archive import offsets as archive_offsets

Step = tuple[Any, ...]
STEPS = st.one_of(
    st.tuples(
        st.just("append"), st.integers(1, 9), st.sampled_from([1, 1, 40, 400]), st.sampled_from([0, 0, 250])
    ),
    st.tuples(st.just("work"), st.booleans()),
    st.tuples(st.just("kill"), st.booleans(), st.integers(1, 30)),
    st.tuples(st.just("kill"), st.booleans(), st.integers(1, 30)),
    st.tuples(st.just("cut"), st.booleans(), st.integers(1, 20)),
    st.tuples(st.just("pause"), st.booleans(), st.integers(1, 16), st.booleans()),
    st.tuples(st.just("takeover")),
    st.tuples(st.just("zombie"), st.booleans()),
    st.tuples(st.just("trim")),
)


async def play(client: Any, kind: str, rows_per_file: int, steps: list[Step]) -> None:
    with Folder() as root:
        world = World(client, SOURCES[kind], root, Limits(rows_per_file, 1 << 20, 1e9))
        zombies = []
        for step, *rest in steps:
            if step == "append":
                await world.append(*rest)
                continue
            if step == "trim":
                await world.trim_what_is_on_disk()
                continue
            owner = await world.alive()
            if step == "takeover":
                zombies.append(owner)
                await world.takeover()
            elif step == "zombie":
                for zombie in zombies:
                    await zombie.work(flush=rest[0])
            elif step == "pause":
                flush, left, works = rest

                async def overtaken(works: bool = works) -> None:
                    successor = await world.takeover()
                    if works:
                        await successor.work(flush=True)

                owner.fuse.set(left, "pause", overtaken)
                await owner.work(flush=flush)
                zombies.append(owner)
            else:
                if step in ("kill", "cut"):
                    owner.fuse.set(rest[1], step)
                await owner.work(flush=rest[0])
                owner.fuse.set(0, "")
        for zombie in zombies:
            await zombie.work(flush=True)
        await world.finish()
        await world.check()


async def every_step(client: Any, kind: str, how: str) -> int:
    """Write some files and be hit at each effect in turn; how many effects there are.

    `kill`: then the stream is trimmed. `cut`: a reply is lost. `overtaken`: it stands still, another owner takes the
    stream (and `written`: writes), then it goes on. `zombie`: the overtaken owner writes while its successor writes.
    """
    for left in range(1, 200):
        await client.flushall()
        with Folder() as root:
            world = World(client, SOURCES[kind], root, Limits(4, 1 << 20, 1e9))
            await world.append(3, 1)
            owner = await world.alive()
            await owner.work(flush=True)
            await world.append(2, 60)

            async def overtaken(world: World = world) -> None:
                successor = await world.takeover()
                if how == "written":
                    await successor.work(flush=True)

            async def zombie(old: Owner = owner) -> None:
                await old.work(flush=True)

            if how == "zombie":
                await owner.work(flush=False)
                owner = await world.takeover()
            await world.append(4, 60)
            owner.fuse.set(
                left, how if how in ("kill", "cut") else "pause", zombie if how == "zombie" else overtaken
            )
            for _ in range(4):
                if owner.alive:
                    await owner.work(flush=True)
            hit = not owner.fuse.left
            if how == "cut":
                assert owner.stream.offset.stream_id == max(world.appended), "it goes on by itself"
            if how == "kill":
                await world.trim_what_is_on_disk()
            await world.append(2, 1)
            await world.finish()
            await world.check()
            if not hit:
                return left
    raise AssertionError("there is no end")


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("trades", "kill"),
        ("bars", "kill"),
        ("trades", "cut"),
        ("bars", "overtaken"),
        ("trades", "written"),
        ("trades", "zombie"),
    ],
)
async def test_every_step_can_be_the_last(client: Redis, kind: str, how: str) -> None:
    assert await every_step(client, kind, how) > 15


PLAYED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def few_ids_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an acknowledgement takes several calls."""
    monkeypatch.setattr(archive_offsets, "_IDS_AT_ONCE", 2)


@PLAYED
@given(
    kind=st.sampled_from(["trades", "bars", "depth", "raw"]),
    rows=st.integers(1, 12),
    steps=st.lists(STEPS, min_size=3, max_size=25),
)
def test_no_row_is_lost_or_doubled_on_fakeredis(kind: str, rows: int, steps: list[Step]) -> None:
    async def run() -> None:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        await play(client, kind, rows, steps)
        await client.aclose()

    asyncio.run(run())


@PLAYED
@given(
    kind=st.sampled_from(["trades", "bars", "depth"]),
    rows=st.integers(1, 12),
    steps=st.lists(STEPS, min_size=3, max_size=25),
)
def test_no_row_is_lost_or_doubled_on_a_real_server(
    real_server: str, kind: str, rows: int, steps: list[Step]
) -> None:
    async def run() -> None:
        client = Redis.from_url(real_server, protocol=2)
        await client.flushall()  # the server is this test process's own
        await play(client, kind, rows, steps)
        await client.aclose()

    asyncio.run(run())
