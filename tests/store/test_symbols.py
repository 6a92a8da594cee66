"""What is kept of a symbol, and books nobody owns."""

from __future__ import annotations

from redis.asyncio import Redis

from workers.model.symbols import SymbolInfo
from workers.store.keys import Keys
from workers.store.symbols import StatusChange, SymbolStore

KEYS = Keys("spot:")


def info(status: str = "TRADING") -> SymbolInfo:
    return SymbolInfo("币安人生USDT", status, "币安人生", "USDT", "0.0001", "0.1")


async def test_symbol_info_is_stored_and_a_change_of_status_is_told_once(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    assert await store.store([info()]) == []
    assert await store.store([info("BREAK")]) == [StatusChange("币安人生USDT", "TRADING", "BREAK")]
    assert await store.store([info("BREAK")]) == []
    found = await client.hgetall("spot:symbol:{币安人生USDT}:info")
    assert found == {
        b"base_asset": "币安人生".encode(),
        b"quote_asset": b"USDT",
        b"status": b"BREAK",
        b"tick_size": b"0.0001",
        b"step_size": b"0.1",
    }


async def test_the_newest_trade_gives_the_last_trade_time(client: Redis) -> None:
    await client.zadd(KEYS.trades_latest("A"), {"x": 1_700_000_000_123, "y": 1_700_000_000_007})
    await SymbolStore(client, KEYS).keep_last_trade_times(["A", "B"])
    assert await client.hget(KEYS.symbol_info("A"), "last_trade_time") == b"1700000000123"
    assert await client.exists(KEYS.symbol_info("B")) == 0


async def test_books_nobody_owns_are_withdrawn(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    assert await store.withdraw_orphans() == []
    await client.hset(KEYS.live_orderbook, mapping={"A": "{}", "B": "{}"})
    await client.hset(KEYS.lease("books", "A"), mapping={"owner": "x", "token": 1})
    assert await store.withdraw_orphans() == ["B"]
    assert await client.hkeys(KEYS.live_orderbook) == [b"A"]
