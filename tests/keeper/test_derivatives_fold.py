"""The keeper folds what channels say of derivatives: rubbish costs itself, a restart doubles nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.keeper.derivatives import DerivativesFold
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.keys import Keys
from workers.venues.bybit.settings import BybitSettings

T0 = 1_790_035_200_000
KEYS = Keys()
SETTINGS = Settings(
    venues={
        "bybit": BybitSettings(
            market="linear", symbols=["BTCUSDT", "ETHUSDT"], channels=["tickers", "allLiquidation"]
        )
    }
)


class World:
    """A log written by hand, and the fold of a keeper."""

    def __init__(self, url: str) -> None:
        self.redis: Any = Redis.from_url(url, protocol=2)
        self.process = Process("keeper", SETTINGS, 0, url)
        self.fold = self.fresh()
        self.number = self.last_ms = 0

    def fresh(self) -> DerivativesFold:
        return DerivativesFold(self.process, venue_contexts(SETTINGS))

    async def ticker(self, time_ms: int, symbol: str = "BTCUSDT", **data: str) -> None:
        frame = {"topic": f"tickers.{symbol}", "type": "delta", "data": data, "ts": time_ms}
        await self.add(KEYS.raw(symbol, "tickers"), time_ms, json.dumps(frame))

    async def add(self, key: str, time_ms: int, data: str) -> None:
        self.number, self.last_ms = self.number + 1, max(self.last_ms, time_ms)
        await self.redis.xadd(
            key, {"data": data, "received": 1, "line": "a"}, id=f"{self.last_ms}-{self.number}"
        )

    async def known(self, symbol: str = "BTCUSDT") -> dict[str, str]:
        found = await self.redis.xrevrange(KEYS.derivatives(symbol), count=1)
        return {name.decode(): value.decode() for name, value in found[0][1].items()} if found else {}


@pytest.fixture
async def world(real_server: str) -> AsyncIterator[World]:
    made = World(real_server)
    await made.redis.flushall()  # the server is this test process's own
    yield made
    await made.process.client.aclose()
    await made.redis.aclose()


async def test_changes_are_merged_and_what_is_absent_stays_absent(world: World) -> None:
    await world.ticker(T0, markPrice="1.50", fundingRate="0.0001", nextFundingTime=str(T0 + 9))
    await world.fold.step()
    await world.ticker(T0 + 100, indexPrice="1.49")
    await world.ticker(T0 + 50, markPrice="1.51")
    await world.ticker(T0 + 20, markPrice="7")  # late: the other line had it
    await world.fold.step()
    assert await world.known() == {
        "mark_price": "1.51", "mark_price_at": str(T0 + 50),
        "index_price": "1.49", "index_price_at": str(T0 + 100),
        "funding_rate": "0.0001", "funding_rate_at": str(T0),
        "next_funding_time": str(T0 + 9), "next_funding_time_at": str(T0),
    }  # fmt: skip
    assert await world.redis.xlen(KEYS.derivatives("BTCUSDT")) == 2  # one entry a round
    assert await world.known("ETHUSDT") == {}


async def test_what_is_malformed_costs_itself(world: World) -> None:
    await world.add(KEYS.raw("BTCUSDT", "tickers"), T0, "{")
    await world.ticker(T0 + 1, markPrice="two")
    await world.ticker(T0 + 2, markPrice="2")
    await world.ticker(T0 + 2, "ETHUSDT", markPrice="3")
    await world.fold.step()
    assert (await world.known())["mark_price"] == "2"
    assert (await world.known("ETHUSDT"))["mark_price"] == "3"


async def test_a_keeper_that_starts_anew_doubles_nothing_and_lacks_nothing(world: World) -> None:
    row = {"T": T0, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "2"}

    async def liquidated(*quantities: str) -> None:
        frame = {"ts": T0 + 5, "data": [{**row, "v": quantity} for quantity in quantities]}
        await world.add(KEYS.raw("BTCUSDT", "allLiquidation"), T0 + 5, json.dumps(frame))

    await world.ticker(T0, markPrice="1")
    await liquidated("1", "2")
    await world.fold.step()
    await world.ticker(T0 + 1, markPrice="2")
    await liquidated("3")
    other = world.fresh()
    for fold in (other, world.fold, other):
        await fold.step()
    assert (await world.known())["mark_price"] == "2"
    entries = await world.redis.xrange(KEYS.liquidations("BTCUSDT"))
    assert [(fields[b"side"], fields[b"quantity"]) for _, fields in entries] == [
        (b"sell", b"1"), (b"sell", b"2"), (b"sell", b"3"),
    ]  # fmt: skip
    assert await world.redis.xlen(KEYS.derivatives("BTCUSDT")) == 2


async def test_a_time_to_come_does_not_stand_for_good(world: World) -> None:
    """A reply of REST is filed by our clock whatever its time: what follows is newer, and is read after a restart."""
    key = KEYS.derivatives("BTCUSDT")
    frame = {"topic": "tickers.BTCUSDT", "type": "delta", "data": {"markPrice": "9"}, "ts": 2 * T0}
    await world.add(KEYS.raw("BTCUSDT", "tickers"), T0, json.dumps(frame))
    await world.fold.step()
    await world.ticker(T0 + 5_000, markPrice="1")
    await world.fresh().step()
    assert (await world.known())["mark_price"] == "1"
    assert [int(entry.partition(b"-")[0]) <= T0 + 5_000 for entry, _ in await world.redis.xrange(key)] == [
        True
    ] * 2


async def test_a_key_of_another_type_costs_its_symbol_only(world: World) -> None:
    await world.redis.set(KEYS.raw("ETHUSDT", "tickers"), "mine")
    await world.redis.set(KEYS.liquidations("ETHUSDT"), "mine")
    await world.ticker(T0, markPrice="1")
    for _ in range(2):
        await world.fold.step()
    assert (await world.known())["mark_price"] == "1"


async def test_where_the_log_was_trimmed_too_early_all_is_asked_for_anew(world: World) -> None:
    await world.ticker(T0, markPrice="1")
    await world.fold.step()
    await world.ticker(T0 + 1, fundingRate="0.5")
    await world.ticker(T0 + 2, markPrice="2")
    await world.redis.xtrim(KEYS.raw("BTCUSDT", "tickers"), maxlen=1, approximate=False)
    world.fold._readers[0]._answered = float("-inf")  # as after a pause in which a trim may have been
    await world.fold.step()
    assert (await world.known())["mark_price"] == "2"
    [(_, asked)] = await world.redis.xrange("fleet:resubscribe:bybit")
    assert (asked[b"symbol"], asked[b"channel"], asked[b"line"]) == (b"BTCUSDT", b"tickers", b"ab")


async def test_nothing_is_lost_while_redis_takes_no_writes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ticker(T0, markPrice="1")
    merge = world.fold._streams.merge

    async def refused(*_: Any) -> Any:
        raise ConnectionError("away")

    monkeypatch.setattr(world.fold._streams, "merge", refused)
    with pytest.raises(ConnectionError):
        await world.fold.step()
    monkeypatch.setattr(world.fold._streams, "merge", merge)
    await world.ticker(T0 + 1, indexPrice="2")
    await world.fold.step()
    assert set(await world.known()) >= {"mark_price", "index_price"}
