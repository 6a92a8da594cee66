"""The Lua scripts: loaded by name from `lua/`, run by their SHA, re-sent when the server forgot them.

A server takes a script as one text, and scripts cannot load each other. One that is longer than a head holds is joined
when it is loaded: a line `-- include: name` is replaced by the text of `lua/include/name.lua`. Parts include nothing,
and no part comes twice in a script. The line numbers in a server's errors are those of the joined text, which `source`
gives.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from workers.errors import ScriptUnreadable
from workers.settings.paths import data_folder

Argument = str | bytes | int | float

CALLS_AT_ONCE: Final = 5
"""While so many are done, the server answers nobody else: with 20 an event was in the log up to 1 ms later (p99)."""
MOST_TRIPS: Final = 20

_INCLUDE = re.compile(r"-- include: *(.*)")


@cache
def source(name: str) -> str:
    """The text of `lua/<name>.lua` with its parts in place.

    Raises:
        ScriptUnreadable: a part is not there, comes twice, or includes another.
    """
    return joined(Path(data_folder()) / "lua", name)


def joined(folder: Path, name: str) -> str:
    """As `source`, of the scripts in a folder."""
    lines, parts = [], set()
    for number, line in enumerate(_lines(folder / f"{name}.lua"), 1):
        if not (include := _INCLUDE.match(line)):
            lines.append(line)
            continue
        part, place = include[1].strip(), f"lua/{name}.lua, line {number}"
        if part in parts:
            raise ScriptUnreadable(place, f"{part!r} is included twice")
        parts.add(part)
        try:
            included = _lines(folder / "include" / f"{part}.lua")
        except FileNotFoundError:
            raise ScriptUnreadable(place, f"there is no lua/include/{part}.lua to include") from None
        for number_in_part, line_of_part in enumerate(included, 1):
            if _INCLUDE.match(line_of_part):
                raise ScriptUnreadable(
                    f"lua/include/{part}.lua, line {number_in_part}", "a part includes nothing"
                )
        lines += included
    return "".join(lines)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


@cache
def _sha(name: str) -> str:
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Runs scripts on one client.

    A server that lost its script cache (restart, failover) answers NOSCRIPT without having run anything, so
    sending the source then is safe whatever the script does.
    """

    def __init__(self, client: Redis) -> None:
        self._client: Any = client  # redis-py types replies as unions no caller can use

    async def run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        """Run one script and return its reply as redis-py decodes it (integers, bytes, lists)."""
        try:
            return await self._client.execute_command("EVALSHA", _sha(name), len(keys), *keys, *arguments)
        except NoScriptError:
            return await self._client.execute_command("EVAL", source(name), len(keys), *keys, *arguments)

    async def run_many(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """Run one script with several sets of keys, in `MOST_TRIPS` round trips at most.

        Returns one reply per call, in order; a call that failed has its exception there instead.
        """
        size = max(CALLS_AT_ONCE, -(-len(calls) // MOST_TRIPS))
        parts = [calls[first : first + size] for first in range(0, len(calls), size)]
        return [reply for part in parts for reply in await self._run_together(name, part)]

    async def _run_together(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for keys, arguments in calls:
            pipe.execute_command("EVALSHA", _sha(name), len(keys), *keys, *arguments)
        replies = await pipe.execute(raise_on_error=False)
        for index, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                keys, arguments = calls[index]
                try:
                    replies[index] = await self.run(name, keys, arguments)
                except ResponseError as error:
                    replies[index] = error
        return list(replies)
