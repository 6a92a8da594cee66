"""Who shall own which symbols in a role, by what they cost: written by one worker of the role, read by all of them.

`fleet:plan:<role>` is a hash: `generation` (it only grows), `owners` (a JSON object: worker -> venue -> symbols) and
`loads` (a JSON object: venue -> symbol -> messages a second, as they were when it was made).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import StateUnreadable
from workers.model.symbols.balance import Item
from workers.store.keys import plan as plan_key
from workers.store.refusals import refusal_of
from workers.store.replies import unusable

MOST_DIGITS = 18
"""Of a generation: those of the time in µs have 16."""


class Plan(NamedTuple):
    """What was written last."""

    generation: int
    owners: dict[Item, str]
    loads: dict[Item, float]

    @property
    def workers(self) -> frozenset[str]:
        """Who has a part in it."""
        return frozenset(self.owners.values())


async def generation_of(client: Redis, role: str) -> int:
    """The generation of the last plan; 0 when there is none. One round trip.

    Raises:
        StateUnreadable: the key holds something else.
    """
    key = plan_key(role)
    pipe: Any = client.pipeline(transaction=False)
    [found] = await pipe.hget(key, "generation").execute(raise_on_error=False)
    if (problem := unusable(key, found)) is not None:
        raise problem
    if found is None:
        return 0
    if not (found.isdigit() and len(found) <= MOST_DIGITS):
        raise StateUnreadable(key, "its generation is no number")
    return int(found)


async def read_plan(client: Redis, role: str) -> Plan | None:
    """The last plan; None when there is none.

    Raises:
        StateUnreadable: the key holds something else.
    """
    key = plan_key(role)
    pipe: Any = client.pipeline(transaction=False)
    [found] = await pipe.hmget(key, "generation", "owners", "loads").execute(raise_on_error=False)
    if (problem := unusable(key, found)) is not None:
        raise problem
    generation, owners, loads = found
    if generation is None:
        return None
    try:
        shares = msgspec.json.decode(owners or b"", type=dict[str, dict[str, list[str]]])
        rates = msgspec.json.decode(loads or b"", type=dict[str, dict[str, float]])
        number = int(generation)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError) as error:
        raise StateUnreadable(key, str(error).rstrip(".")) from error
    return Plan(
        number,
        {
            (venue, symbol): worker
            for worker, venues in shares.items()
            for venue, symbols in venues.items()
            for symbol in symbols
        },
        {
            (venue, symbol): max(0.0, rate)
            for venue, symbols_of in rates.items()
            for symbol, rate in symbols_of.items()
        },
    )


async def write_plan(
    client: Redis, role: str, owners: Mapping[Item, str], loads: Mapping[Item, float]
) -> None:
    """Replace the plan, whatever the key holds. Two round trips."""
    key = plan_key(role)
    try:
        before = await generation_of(client, role)
    except StateUnreadable:
        before = 0
    shares: dict[str, dict[str, list[str]]] = {}
    for (venue, symbol), worker in owners.items():
        shares.setdefault(worker, {}).setdefault(venue, []).append(symbol)
    rates: dict[str, dict[str, float]] = {}
    for (venue, symbol), rate in loads.items():
        rates.setdefault(venue, {})[symbol] = round(rate, 3)
    fields = {
        # the time, so that a server that lost its data is not given a number readers have seen
        "generation": max(before + 1, time.time_ns() // 1000),
        "owners": msgspec.json.encode(shares),
        "loads": msgspec.json.encode(rates),
    }
    pipe: Any = client.pipeline(transaction=True)
    pipe.delete(key)
    pipe.hset(key, mapping=fields)
    await pipe.execute()


async def entries_added(client: Redis, streams: Sequence[str]) -> list[int | None]:
    """How many entries each stream was ever given; None for one that is not there, or is none. One round trip."""
    pipe: Any = client.pipeline(transaction=False)
    for key in streams:
        pipe.xinfo_stream(key)
    return [_added(found) for found in await pipe.execute(raise_on_error=False)]


def _added(found: Any) -> int | None:
    if isinstance(found, RedisError) and refusal_of(found).of_server:
        raise found
    return int(found["entries-added"]) if isinstance(found, dict) and "entries-added" in found else None
