"""A server that goes and comes back: the reading tells it once and goes on where it was."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_sync
from client_world import T0, S, World, take
from redis.asyncio import Redis

from workers.client import FleetClient, Gap, Interrupted, Trade
from workers.operations.parent import end_with_parent
from workers.store.server import find_server


class Server:
    """A server on a unix socket that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder / 's'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = "--port 0 --bind 127.0.0.1 --unixsocket s --save '' --appendonly yes --appendfsync always"
        self._process = subprocess.Popen(
            [str(find_server(os.environ["PATH"])), *shlex.split(options)],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            preexec_fn=end_with_parent,  # noqa: PLW1509 -- sets one flag of the new process, takes no lock
        )
        client = redis_sync.Redis(unix_socket_path=str(self.folder / "s"))
        for _ in range(3000):
            try:
                client.ping()
                break
            except redis_sync.ConnectionError:
                time.sleep(0.02)
        client.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def forget(self) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("s"))
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_reading_outlives_the_server(server: Server, forgets: bool):
    redis = Redis.from_url(server.url, protocol=2)
    world = World(redis)
    async with FleetClient(server.url) as fleet, fleet.trades([S], from_ms=T0, repair_wait_s=0) as feed:
        await world.stream(10, 11)
        await take(feed, 2)
        await asyncio.to_thread(server.stop)
        (notice,) = await take(feed, 1)
        assert isinstance(notice, Interrupted)
        if forgets:
            server.forget()
        await asyncio.to_thread(server.start)
        await redis.aclose()
        await world.stream(*((5, 6) if forgets else (12, 13)))
        records = await take(feed, 3 if forgets else 2)
        ids = [record.trade_id for record in records if isinstance(record, Trade)]
        assert ids == ([5, 6] if forgets else [12, 13])
        gaps = [record.reason for record in records if isinstance(record, Gap)]
        assert gaps == (["restarted"] if forgets else [])
    await redis.aclose()


async def test_a_reading_can_be_cancelled_at_any_moment(server: Server):
    """Also while it sends, where Python 3.11 would lose the cancellation."""
    for number in range(300):
        async with FleetClient(server.url) as fleet, fleet.trades([S], from_ms=T0) as feed:

            async def take_all(feed: Any = feed) -> None:
                while True:
                    await anext(feed)

            reading = asyncio.create_task(take_all())
            await asyncio.sleep(number * 1e-5)
            reading.cancel()
            _, left = await asyncio.wait([reading], timeout=60)
            assert not left, number


async def test_a_password_that_is_wrong_is_not_tried_again(server: Server):
    with redis_sync.Redis(unix_socket_path=str(server.folder / "s")) as client:
        client.config_set("requirepass", "right")
    async with (
        FleetClient(server.url.replace("unix://", "unix://:wrong@")) as fleet,
        fleet.trades([S]) as feed,
    ):
        with pytest.raises(redis_sync.AuthenticationError):
            await take(feed, 1)
