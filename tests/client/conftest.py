"""The client under test, on fakeredis and on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import fakeredis
import pytest
from client_world import World
from redis.asyncio import Redis

from workers.client import FleetClient


@pytest.fixture
async def world(client: Redis) -> World:
    return World(client)


@pytest.fixture
async def fleet(
    world: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FleetClient]:
    url = "redis://nowhere"
    if isinstance(world.redis, fakeredis.FakeAsyncRedis):
        server = world.redis.connection_pool.connection_kwargs["server"]
        for name in ("connect", "connect_reader"):
            monkeypatch.setattr(
                f"workers.client.fleet.{name}", lambda _: fakeredis.FakeAsyncRedis(server=server)
            )
    else:
        url = request.getfixturevalue("real_server")
    async with FleetClient(url) as made:
        yield made
