"""Another server becomes the primary: clients follow, whether sentinels name it or a name means another server."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.operations.parent import end_with_parent
from workers.store.connection import connect, connect_reader
from workers.store.server import find_server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(*arguments: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="fleet-test-") as folder:
        process = subprocess.Popen(
            [str(find_server(os.environ.get("PATH", ""))), *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,  # noqa: PLW1509 -- sets one flag of the new process, takes no lock
        )
        try:
            yield
        finally:
            process.kill()
            process.wait(30)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(90):
        while True:
            try:
                if await condition():
                    return
            except (RedisError, OSError):
                pass
            await asyncio.sleep(0.05)


@asynccontextmanager
async def two_servers(stack: ExitStack) -> AsyncIterator[tuple[list[int], list[Any]]]:
    """A primary and its replica: ports and clients."""
    ports = [free_port(), free_port()]
    base = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]
    stack.enter_context(server("--port", str(ports[0]), *base))
    stack.enter_context(server("--port", str(ports[1]), *base, "--replicaof", "127.0.0.1", str(ports[0])))
    clients: list[Any] = [Redis(port=port, protocol=2) for port in ports]

    async def follows() -> bool:
        return (await clients[1].info("replication")).get("master_link_status") == "up"

    await until(follows)
    yield ports, clients
    for client in clients:
        await client.aclose()


async def writes(clients: Sequence[Any], server_of: Any) -> None:
    """Both kinds of client write, and what they write is on a server."""
    for number, client in enumerate(clients):

        async def done(client: Any = client, number: int = number) -> bool:
            await client.set(f"by:{number}", "written")
            return bool(await server_of.exists(f"by:{number}"))

        await until(done)


async def test_the_master_that_sentinels_name_is_followed() -> None:
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        async with two_servers(stack) as (ports, servers):
            port, file = free_port(), Path(folder) / "sentinel.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {ports[0]} 1\n"
                "sentinel failover-timeout mymaster 10000\n"
            )
            stack.enter_context(server(str(file), "--sentinel"))
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{port}/mymaster/2?protocol=3"
            clients = [connect(url), connect_reader(url)]
            sentinel: Any = Redis(port=port, protocol=2)
            of_base: Any = [Redis(port=one, db=2, protocol=2) for one in ports]
            await writes(clients, of_base[0])

            async def knows_both() -> bool:
                return len(await sentinel.sentinel_slaves("mymaster")) == 1

            await until(knows_both)

            async def failed_over() -> bool:
                await sentinel.execute_command("SENTINEL", "FAILOVER", "mymaster")
                return True

            await until(failed_over)

            async def leads() -> bool:
                return bool((await servers[1].info("replication"))["role"] == "master")

            await until(leads)
            await of_base[1].flushdb()
            await writes(clients, of_base[1])
            for client in [*clients, sentinel, *of_base]:
                await client.aclose()


async def test_a_name_that_means_another_server_is_looked_up_anew() -> None:
    with ExitStack() as stack:
        async with two_servers(stack) as (ports, servers):
            bears = [ports[0]]

            async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                there, back = await asyncio.open_connection("127.0.0.1", bears[0])

                async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                    while data := await source.read(65_536):
                        sink.write(data)
                    sink.close()

                await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

            name = await asyncio.start_server(forward, "127.0.0.1", 0)
            url = f"redis://127.0.0.1:{name.sockets[0].getsockname()[1]}"
            clients = [connect(url), connect_reader(url)]
            await writes(clients, servers[0])
            await servers[1].replicaof("NO", "ONE")
            await servers[0].replicaof("127.0.0.1", str(ports[1]))
            bears[0] = ports[1]
            await servers[1].flushall()
            await writes(clients, servers[1])
            for client in clients:
                await client.aclose()
            name.close()
