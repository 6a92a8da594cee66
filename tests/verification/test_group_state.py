"""When a group counts as having caught up with a raw stream."""

from __future__ import annotations

from redis.asyncio import Redis

from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.store.keys import TRADES
from workers.venues.binance.settings import BinanceSettings
from workers.verification.stored import Book, FleetReader, GroupState

S = "BTCUSDT"
SETTINGS = Settings(venues={"spot": BinanceSettings(market="spot", symbols=[S])})
[CONTEXT] = venue_contexts(SETTINGS)
BOOK = Book(CONTEXT, S)
KEY = CONTEXT.keys.raw(S, TRADES)


async def appended(client: Redis, *kinds: str) -> list[bytes]:
    """The ids of entries of these kinds, given to a worker that has acknowledged none."""
    await client.xgroup_create(KEY, "trades", "0", mkstream=True)
    ids = [await client.xadd(KEY, {"data": "{}", **({"kind": kind} if kind else {})}) for kind in kinds]
    await client.xreadgroup("trades", "owner", {KEY: ">"})
    return ids


async def test_a_break_that_no_trade_has_followed_holds_nobody_up(client: Redis) -> None:
    first, *_ = await appended(client, "", "break", "break")
    reader = FleetReader(client, SETTINGS)
    assert await reader.group(BOOK, TRADES, "trades") == GroupState(True, 0, 3, 2)
    await client.xack(KEY, "trades", first)
    assert (await reader.group(BOOK, TRADES, "trades")).caught_up


async def test_a_break_that_a_trade_has_followed_is_to_be_acknowledged(client: Redis) -> None:
    first, second, third = await appended(client, "", "break", "")
    reader = FleetReader(client, SETTINGS)
    await client.xack(KEY, "trades", first, third)
    assert not (await reader.group(BOOK, TRADES, "trades")).caught_up
    await client.xack(KEY, "trades", second)
    assert (await reader.group(BOOK, TRADES, "trades")).caught_up
