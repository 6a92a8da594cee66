"""Fleet-level script of a fail-over: another server becomes the primary, and its name is then another server's."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Final

from redis.exceptions import RedisError

from workers.conformance.fleet.run import FleetRun
from workers.operations.foreground import free_ports
from workers.operations.redis_program import server_command
from workers.settings.paths import socket_path
from workers.store.connection import connect
from workers.store.server import find_server

OTHER: Final = "redis-other"


async def fail_over(run: FleetRun) -> None:
    """A replica becomes the primary and gets the name; then the first one is the primary again.

    The name is the path of the unix socket here, as it is a host name elsewhere: who connects anew reaches whatever
    bears it, who stays connected talks to a replica, which refuses to write.
    """
    world = run.world
    name = socket_path(world.home, "redis.sock")
    places = {"first": name.with_name("redis-first.sock"), "second": name.with_name("redis-second.sock")}
    ports = dict(zip(places, free_ports(2), strict=True))
    first: Any = connect(f"unix://{name}")
    await first.config_set("port", ports["first"])
    _start_other(run, places["second"], ports)
    os.link(name, places["first"])
    second: Any = connect(f"unix://{places['second']}")
    try:
        await run.until("the replica has everything", lambda: _follows(second))
        for there, here, to in ((second, first, "second"), (first, second, "first")):
            await here.execute_command("FAILOVER", "TO", "127.0.0.1", ports[to], "TIMEOUT", 10_000)
            await run.until(f"the {to} server is the primary", lambda: _leads(there))  # noqa: B023 -- awaited within
            _point(name, places[to])
            await world.client.connection_pool.disconnect()
            await run.overtaken()
    finally:
        world.processes[OTHER].held = True
        world.processes[OTHER].signal(signal.SIGTERM)
        await world.processes[OTHER].ended()
        await first.config_set("port", 0)
        places["first"].unlink(missing_ok=True)
        await first.aclose()
        await second.aclose()
    run.expect(name.is_socket(), "The name is no socket any more.")


def _start_other(run: FleetRun, socket: Path, ports: dict[str, int]) -> None:
    world = run.world
    folder = world.home / OTHER
    folder.mkdir(exist_ok=True)
    command = server_command(find_server(world.environment.get("PATH", "")), world.settings)
    # of options given twice the last one counts
    command += ["--dir", str(folder), "--unixsocket", str(socket), "--port", str(ports["second"])]
    world.processes.add(OTHER, [*command, "--replicaof", "127.0.0.1", str(ports["first"])]).start()


def _point(name: Path, place: Path) -> None:
    """Let a name mean another server, in one step."""
    fresh = name.with_name("redis-name.sock")
    os.link(place, fresh)
    fresh.replace(name)


async def _follows(client: Any) -> bool:
    try:
        found = await client.info("replication")
    except (RedisError, OSError):
        return False
    return found.get("master_link_status") == "up" and not int(found.get("master_sync_in_progress", 1))


async def _leads(client: Any) -> bool:
    found = await client.info("replication")
    return bool(found.get("role") == "master")
