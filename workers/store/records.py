"""Streams of records about a symbol (`gaps:{S}`, `audit:{S}`, `raw:{S}:snapshot`): each is written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from redis.asyncio import Redis

from workers.store.scripts import Argument, Scripts

REPEATED_MS: Final = 600_000
"""How long a record that is equal in every field is a repeated command: a client tries for seconds."""


async def append_once(
    client: Redis,
    key: str,
    fields: Mapping[str, Argument],
    *,
    kept: int,
    exactly: bool = False,
    identity: Sequence[str] = (),
    looked_at: int = 1,
    within_ms: int = REPEATED_MS,
) -> bool:
    """Append a record, in one step, unless one of the newest says the same; False when nothing was appended.

    Args:
        kept: entries kept, about; or `exactly`.
        identity: the fields that make two records the same; empty: all.
        looked_at: newest entries compared with; one is enough where only one worker writes at a time.
        within_ms: age up to which they are.
    """
    named = list(identity or fields)
    arguments: list[Argument] = [kept, "=" if exactly else "~", looked_at, within_ms, len(named), *named]
    for name, value in fields.items():
        arguments += (name, value)
    return bool(await Scripts(client).run("log/append_once", [key], arguments))
