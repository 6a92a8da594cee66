"""The Lua scripts: loaded by name from `lua/`, run by their SHA, re-sent when the server forgot them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from workers.paths import data_folder

Argument = str | bytes | int | float


@cache
def source(name: str) -> str:
    """The text of `lua/<name>.lua`."""
    return (Path(data_folder()) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


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
        """Run one script with several sets of keys in one round trip.

        Returns one reply per call, in order; a call that failed has its exception there instead.
        """
        if not calls:
            return []
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
