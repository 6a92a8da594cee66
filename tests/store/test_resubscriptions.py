"""Asking the lines to subscribe anew: each line reads each request once, many askers are one."""

from __future__ import annotations

from redis.asyncio import Redis

from workers.store.fleet.resubscriptions import PACE_MS, ResubscriptionReader, ask_anew
from workers.store.keys import Keys, resubscription_asked, resubscriptions
from workers.store.log.activity import newest_trades, trades_after

KEYS = Keys()


async def test_both_lines_read_each_request_and_nothing_from_before_them(client: Redis) -> None:
    await ask_anew(client, "usdm", "OLD", "depth", "a test")
    lines = [ResubscriptionReader(client, ["usdm", "spot"]) for _ in "ab"]
    for line in lines:
        assert await line.new() == {}
    await ask_anew(client, "usdm", "BTCUSDT", "depth", "a test")
    await ask_anew(client, "spot", "币安人生USDT", "aggTrade", "a test")
    for line in lines:
        assert await line.new() == {
            "usdm": [("depth", "BTCUSDT", "")],
            "spot": [("aggTrade", "币安人生USDT", "")],
        }
        assert await line.new() == {}


async def test_a_whole_book_is_asked_of_one_line(client: Redis) -> None:
    reader = ResubscriptionReader(client, ["okx"])
    await reader.new()
    assert await ask_anew(client, "okx", "BTC-USDT", "depth", "a book wants its snapshot", line="b")
    assert await reader.new() == {"okx": [("depth", "BTC-USDT", "b")]}


async def test_many_askers_are_one(client: Redis) -> None:
    assert await ask_anew(client, "usdm", "BTCUSDT", "depth", "a test")
    assert not await ask_anew(client, "usdm", "BTCUSDT", "depth", "another")
    assert await ask_anew(client, "usdm", "BTCUSDT", "aggTrade", "a test")
    assert await client.xlen(resubscriptions("usdm")) == 2
    assert 0 < await client.pttl(resubscription_asked("usdm", "BTCUSDT", "depth")) <= PACE_MS


async def test_rubbish_in_the_stream_asks_for_nothing_there_is(client: Redis) -> None:
    reader = ResubscriptionReader(client, ["usdm"])
    await reader.new()
    await client.xadd(resubscriptions("usdm"), {"x": "y"})
    await client.xadd(resubscriptions("usdm"), {"symbol": b"\xff", "channel": "depth"})
    found = await reader.new()
    assert found == {"usdm": [("", "", ""), ("depth", "\ufffd", "")]}


async def test_what_went_on_beside_a_silent_stream(client: Redis) -> None:
    await client.xadd(KEYS.raw("A", "depth"), {"data": "{}"}, id="1000-7")
    for ms, number in ((1_900, 1), (2_000, 2), (2_500, 3), (2_500, 4), (9_000, 5)):
        await client.xadd(KEYS.raw("A", "aggTrade"), {"data": "{}"}, id=f"{ms}-{number}")
    await client.set(KEYS.raw("C", "depth"), "no stream")
    asked = [(KEYS, "A", 2_000), (KEYS, "B", 0), (KEYS, "C", 0)]
    assert await trades_after(client, asked, 3) == [
        (b"1000-7", [2_000, 2_500, 2_500]),
        (b"0-0", []),
        (b"0-0", []),
    ]
    assert await newest_trades(client, [(KEYS, "A"), (KEYS, "B")]) == [(9_000, 5), (0, -1)]
    assert await trades_after(client, [], 3) == []
