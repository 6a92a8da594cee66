"""Whoever looks at the whole fleet sees the other symbols, whatever one key of one symbol holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from workers.api.http.markets import Markets
from workers.api.http.symbol_state import symbol_state
from workers.cli.status import symbol_rows, symbols_table
from workers.errors import StateUnreadable
from workers.settings.schema import Settings
from workers.store.books.shown import read_infos, read_newest, read_symbols, shown_books
from workers.store.books.watch import Watch
from workers.store.keys import Keys
from workers.store.trades.bars import BarReader
from workers.venues.binance.settings import BinanceSettings
from workers.verification.stored import FleetReader

KEYS = Keys()
SETTINGS = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["BADUSDT", "GOODUSDT"])})
Spoil = Callable[[Any, str], Awaitable[object]]
SPOILS: dict[str, Spoil] = {
    "string": lambda client, key: client.set(key, b"\xff\xfe"),
    "list": lambda client, key: client.rpush(key, "x"),
    "hash": lambda client, key: client.hset(
        key, mapping={b"\xff": b"\xff"} | dict.fromkeys(
            ("state", "reason", "age_ms", "updated", "bids", "sync_count", "synced_at", "last_audit", "last_audit_ms",
             "last_id", "applied_count", "known_low", "last_update_id", "event_time", "owner", "last_trade_time",
             "levels", "gap_count", "token"),
            b"\xff\x1b[2J 1e400",
        ),
    ),
    "sorted set": lambda client, key: client.zadd(key, {b"\xff": "inf"}),
    "stream": lambda client, key: client.xadd(key, {b"\xff": b"\xff"}),
}  # fmt: skip


async def furnish(client: Any, symbol: str) -> None:
    await client.hset(KEYS.book_status(symbol), mapping={"state": "synced", "updated": 1, "age_ms": 2})
    await client.hset(KEYS.live_orderbook, symbol, b'{"s":"%s"}' % symbol.encode())
    await client.hset(KEYS.lease("books", symbol), mapping={"owner": "books-1", "token": 3})
    await client.hset(KEYS.trades_state(symbol), mapping={"last_id": 7, "applied_count": 2})
    await client.xadd(KEYS.raw(symbol, "depth"), {"data": "{}"})


FAMILIES = [*KEYS.types("BADUSDT"), KEYS.lease("books", "BADUSDT"), "LIVE_ORDERBOOK"]


@pytest.mark.parametrize("kind", SPOILS)
async def test_one_key_spoils_no_other_symbol(client: Redis, kind: str) -> None:
    markets = Markets(SETTINGS)
    bad, good = markets.all()
    for key in FAMILIES:
        await client.flushall()  # the server is this test process's own
        for symbol in ("BADUSDT", "GOODUSDT"):
            await furnish(client, symbol)
        if key != KEYS.live_orderbook:
            await client.delete(key)
            await SPOILS[kind](client, key)
        else:
            await client.hset(key, "BADUSDT", b"\xff{")  # type: ignore[misc] -- redis-py types it for both clients
        found = await read_symbols(client, KEYS, ["BADUSDT", "GOODUSDT"])
        for market, reading in zip((bad, good), found, strict=True):
            msgspec.json.encode(symbol_state(market, reading, True, 1000, 1000))
        state = symbol_state(good, found[1], True, 1000, 1000)
        assert (state.state, state.shown, state.owner, state.trades.last_id) == (
            "synced",
            True,
            "books-1",
            7,
        ), key
        assert found[1].unreadable == ()
        first, second = await shown_books(client, [(KEYS, "BADUSDT"), (KEYS, "GOODUSDT")])
        assert second.is_shown
        assert first.state.isascii() or first.state
        await read_infos(client, KEYS, ["BADUSDT", "GOODUSDT"])
        watch = Watch(client)
        assert [said.state for said in await watch.statements(KEYS, ["BADUSDT", "GOODUSDT"])][1] == "synced"
        streams = [KEYS.raw(symbol, "depth") for symbol in ("BADUSDT", "GOODUSDT")]
        assert len(await watch.ends(streams)) == 2
        if kind == "stream" or not isinstance(client, FakeAsyncRedis):  # which knows no WRONGTYPE of XREAD
            assert streams[1] in await watch.read(dict.fromkeys(streams, b"0-0"), 5)
        await watch.folded([KEYS.trades_state("BADUSDT")])
        await watch.hashes([KEYS.stats("BADUSDT", "1m")])
        fleet = FleetReader(client, SETTINGS)
        await fleet.refresh()
        totals = await fleet.totals()
        assert totals.trades >= 2
        assert (await fleet.shown(fleet.contexts[0]))["GOODUSDT"] == {"s": "GOODUSDT"}
        rows = await symbol_rows(fleet)
        assert [row["state"] for row in rows if row["symbol"] == "GOODUSDT"] == ["synced"], key
        symbols_table(rows)


@pytest.mark.parametrize("kind", SPOILS)
async def test_a_stream_that_is_none_is_named_with_its_cure(client: Redis, kind: str) -> None:
    key = KEYS.gaps("BADUSDT")
    await SPOILS[kind](client, key)
    if kind == "stream":
        assert len(await read_newest(client, key, 5)) == 1
        return
    with pytest.raises(StateUnreadable) as caught:
        await read_newest(client, key, 5)
    assert (caught.value.key, caught.value.cure) == (key, f"DEL {key}")


async def test_a_live_orderbook_that_is_none_shows_nothing_and_breaks_nobody(client: Redis) -> None:
    for symbol in ("BADUSDT", "GOODUSDT"):
        await furnish(client, symbol)
    for spoil in (SPOILS["string"], SPOILS["list"], SPOILS["stream"], SPOILS["sorted set"]):
        await client.delete(KEYS.live_orderbook)
        await spoil(client, KEYS.live_orderbook)
        fleet = FleetReader(client, SETTINGS)
        assert (await fleet.totals()).synced == 0
        assert await fleet.shown(fleet.contexts[0]) == {}
        assert await Watch(client).shown(KEYS, ["GOODUSDT"]) == [None]
        [found] = await read_symbols(client, KEYS, ["GOODUSDT"])
        assert not found.shown
        assert [one.key for one in found.unreadable] == [KEYS.live_orderbook]


async def test_what_others_wrote_among_the_bars_is_passed_over(client: Redis) -> None:
    reader, key = BarReader(client, KEYS), KEYS.bars("GOODUSDT", "1m")
    writing: Any = client
    await writing.xadd(key, {"start": "60000", "revision": "0", "volume": "1"}, id="60000-0")
    for fields in (
        {"start": "x"},
        {"start": "60000", "revision": "x"},
        {b"\xff": b"\xff"},
        {"revision": "5"},
    ):
        await writing.xadd(key, fields)
    await writing.xadd(key, {"start": "60000", "revision": "1", "volume": "2"})
    for found in (
        await reader.newest("GOODUSDT", "1m", 5),
        await reader.between("GOODUSDT", "1m", 0, 10**15, 5),
    ):
        assert [bar["volume"] for bar in found] == ["2"]
