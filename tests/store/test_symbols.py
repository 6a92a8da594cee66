"""What is kept of a symbol, its end and its return, and books nobody owns."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from workers.model.symbols.info import SymbolInfo
from workers.model.trades.windows import INTERVALS_MS
from workers.store.fleet.symbols import UNLISTED, InfoChange, SymbolStore
from workers.store.keys import DEPTH, ORDERS, TICKER, TRADES, Keys
from workers.store.log.streams import CONSUMER, GroupReader

FURTHER = ["kline_1m", "markPrice@1s"]
KEYS = Keys("spot:", FURTHER)


def info(status: str = "TRADING") -> SymbolInfo:
    return SymbolInfo("币安人生USDT", status, "币安人生", "USDT", "0.0001", "0.1")


async def test_symbol_info_is_stored_and_a_change_of_status_is_told_once(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    assert (await store.store([info()])).changes == []
    assert (await store.store([info("BREAK")])).changes == [
        InfoChange("币安人生USDT", "status", "TRADING", "BREAK")
    ]
    assert (await store.store([info("BREAK")])).changes == []
    found = await client.hgetall("spot:symbol:{币安人生USDT}:info")
    assert found == {
        b"base_asset": "币安人生".encode(),
        b"quote_asset": b"USDT",
        b"status": b"BREAK",
        b"tick_size": b"0.0001",
        b"step_size": b"0.1",
    }


async def test_another_grid_is_told_once(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    await store.store([info()])
    coarser = SymbolInfo("币安人生USDT", "TRADING", "币安人生", "USDT", "0.0005", "1")
    assert (await store.store([coarser])).changes == [
        InfoChange("币安人生USDT", "tick_size", "0.0001", "0.0005"),
        InfoChange("币安人生USDT", "step_size", "0.1", "1"),
    ]
    assert (await store.store([coarser])).changes == []
    assert await client.hget("spot:symbol:{币安人生USDT}:info", "tick_size") == b"0.0005"


async def test_what_was_listed_once_is_known(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    await store.store([info()])
    await client.hset(KEYS.symbol_info("X"), "last_trade_time", 5)
    assert await store.known(["币安人生USDT", "X", "Y"]) == {"币安人生USDT"}
    await store.note(UNLISTED, ["币安人生USDT"])
    assert await client.hget(KEYS.symbol_info("币安人生USDT"), "status") == b"UNLISTED"


def test_every_key_of_a_symbol_is_in_one_of_the_lists() -> None:
    """A new key belongs into `raw_streams`, `folds` or `kept`: else it outlives its symbol."""
    values = {
        "symbol": ["S"],
        "channel": [DEPTH, TRADES, TICKER, ORDERS, *FURTHER],
        "named": [TRADES, *FURTHER],
        "interval": list(INTERVALS_MS),
        "role": ["books"],
    }
    lists = {"raw_streams", "folds", "kept", "types"}
    spelled = set()
    for name in {name for name in dir(Keys) if name[0] != "_"} - lists - {"live_orderbook", "lease", "fence"}:
        call = getattr(KEYS, name)
        options = [values[parameter] for parameter in inspect.signature(call).parameters]
        spelled |= {call(*chosen) for chosen in itertools.product(*options)}
    found = [*KEYS.raw_streams("S"), *KEYS.folds("S"), *KEYS.kept("S"), KEYS.book_status("S")]
    assert len(found) == len(set(found))
    assert set(found) == spelled


async def fill(client: Redis, symbol: str) -> list[str]:
    """Make every key of a symbol; all of them."""
    for key in KEYS.raw_streams(symbol):
        await client.xadd(key, {"data": "old"}, id="5-1")
        await client.xadd(key, {"data": "old"}, id="5-2")
    for key in [*KEYS.folds(symbol), *KEYS.kept(symbol)]:
        await client.set(key, "x")
    await client.hset(KEYS.book_status(symbol), mapping={"state": "synced", "reason": "", "levels": 7})
    return [
        *KEYS.raw_streams(symbol), *KEYS.folds(symbol), *KEYS.kept(symbol), KEYS.book_status(symbol),
    ]  # fmt: skip


async def test_a_symbol_is_not_retired_while_somebody_owns_it(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    keys = await fill(client, "1币USDT")
    for role in ("books", "trades", "archive"):
        await client.hset(KEYS.lease(role, "1币USDT"), mapping={"owner": "x", "token": 1})
        assert not await store.retire("1币USDT", "delisted", "SETTLING", 60_000)
        assert {await client.pttl(key) for key in keys} == {-1}
        assert await client.hget(KEYS.book_status("1币USDT"), "state") == b"synced"
        await client.delete(KEYS.lease(role, "1币USDT"))
    assert await store.retire("1币USDT", "delisted", "SETTLING", 60_000)


async def test_what_a_retired_symbol_has_expires_and_its_status_says_why(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    keys = await fill(client, "1币USDT")
    other = await fill(client, "BTCUSDT")
    assert await store.retire("1币USDT", "delisted", "SETTLING", 60_000)
    assert all([59_000 < await client.pttl(key) <= 60_000 for key in keys])
    assert {await client.pttl(key) for key in other} == {-1}
    status = await client.hgetall(KEYS.book_status("1币USDT"))
    assert (status[b"state"], status[b"reason"], status[b"levels"]) == (b"delisted", b"SETTLING", b"7")
    assert int(status[b"updated"]) > 0


async def test_a_symbol_without_keys_can_be_retired(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    assert await store.retire("A", "retired", "not chosen", 60_000)
    assert 0 < await client.pttl(KEYS.book_status("A")) <= 60_000
    assert await store.revive("A")
    assert await client.keys("*") == []


async def test_a_symbol_that_comes_back_keeps_its_past_and_folds_what_is_new(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    await fill(client, "A")
    depth, trades, *_ = KEYS.raw_streams("A")
    for key, group in ((depth, "books"), (trades, "trades"), (trades, "archive")):
        await GroupReader(client, group).ensure(key)
    reader = GroupReader(client, "trades")
    await reader.new([trades], 1)
    assert len(await reader.pending(trades, "0", 10)) == 1
    await store.retire("A", "delisted", "not listed", 60_000)
    assert await store.revive("A")
    assert not await store.revive("A")
    assert [key for key in KEYS.folds("A") if await client.exists(key)] == []
    assert await client.exists(KEYS.book_status("A")) == 0
    assert {await client.pttl(key) for key in [depth, trades, *KEYS.kept("A")]} == {-1}
    assert await reader.pending(trades, "0", 10) == []
    assert await reader.new([trades], 10) == {}
    await client.xadd(trades, {"data": "new"}, id="6-1")
    assert [entry.data for entry in (await reader.new([trades], 10))[trades]] == [b"new"]
    found = await client.xreadgroup("archive", CONSUMER, {trades: ">"})
    assert len(found[0][1]) == 3


async def test_a_symbol_that_was_not_given_up_is_left_alone(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    keys = await fill(client, "A")
    assert not await store.revive("A")
    assert all([await client.exists(key) for key in keys])


@pytest.mark.parametrize("spoiled", [False, True])
async def test_a_symbol_that_was_taken_up_before_it_was_revived_does_not_expire(
    client: Redis, spoiled: bool
) -> None:
    """Workers that start follow the names of the settings at once: the owner has said its own of the book already."""
    store = SymbolStore(client, KEYS)
    keys = await fill(client, "A")
    await store.retire("A", "retired", "not chosen", 60_000)
    if spoiled:
        await client.set(KEYS.book_status("A"), "mine", keepttl=True)
    else:
        await client.hset(KEYS.book_status("A"), "state", "synced")
    await client.hset(KEYS.lease("books", "A"), mapping={"owner": "x", "token": 1})
    assert not await store.revive("A")
    assert {key: await client.pttl(key) for key in keys} == dict.fromkeys(keys, -1)


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


async def test_a_last_trade_time_is_written_when_it_has_changed(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key, written = SymbolStore(client, KEYS), KEYS.symbol_info("A"), list[Any]()
    hset = Pipeline.hset

    def counted(pipe: Any, *arguments: Any) -> Any:
        written.append(arguments)
        return hset(pipe, *arguments)

    monkeypatch.setattr(Pipeline, "hset", counted)
    await client.zadd(KEYS.trades_latest("A"), {"a": 1000})
    for _ in range(3):
        await store.keep_last_trade_times(["A"])
    assert written == [(key, "last_trade_time", 1000)]
    await client.hset(key, "last_trade_time", "5")  # somebody else's
    await store.keep_last_trade_times(["A"])
    assert await client.hget(key, "last_trade_time") == b"1000"
