"""What the log says of a symbol's streams beside each other: where one stands, and whether another went on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.store.keys import DEPTH, TRADES, Keys
from workers.store.log.streams import parts


class Activity(NamedTuple):
    """Of one symbol."""

    newest_depth: bytes
    """Id of the newest depth entry; `0-0` where there is none."""
    trades: list[int]
    """Times of the first trades after the time that was asked for, exchange ms."""


async def trades_after(client: Redis, streams: Sequence[tuple[Keys, str, int]], count: int) -> list[Activity]:
    """For each (keys, symbol, time in exchange ms) the first trades filed at that time or later. One round trip.

    A key that is no stream says nothing; whose it is says so elsewhere.
    """
    if not streams:
        return []
    pipe: Any = client.pipeline(transaction=False)
    for keys, symbol, from_ms in streams:
        pipe.xrevrange(keys.raw(symbol, DEPTH), count=1)
        pipe.xrange(keys.raw(symbol, TRADES), min=f"{from_ms}-0", count=count)
    replies = [
        [] if isinstance(reply, RedisError) else reply for reply in await pipe.execute(raise_on_error=False)
    ]
    return [
        Activity(depth[0][0] if depth else b"0-0", [int(entry[0].partition(b"-")[0]) for entry in trades])
        for depth, trades in zip(replies[::2], replies[1::2], strict=True)
    ]


class NewestTrade(NamedTuple):
    """What the id of a trade's entry says."""

    ms: int = 0
    number: int = -1
    """The trade's id, or the log's number; -1: there is no trade."""


async def newest_trades(client: Redis, streams: Sequence[tuple[Keys, str]]) -> list[NewestTrade]:
    """Each symbol's newest trade in the log. One round trip."""
    pipe: Any = client.pipeline(transaction=False)
    for keys, symbol in streams:
        pipe.xrevrange(keys.raw(symbol, TRADES), count=1)
    replies = [
        [] if isinstance(reply, RedisError) else reply for reply in await pipe.execute(raise_on_error=False)
    ]
    return [NewestTrade(*parts(entries[0][0])) if entries else NewestTrade() for entries in replies]
