"""The client reads the raw streams of every venue of a fleet, each as its section says, without being told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from client_world import T0, World, take

from workers.client import FleetClient, Gap, Trade
from workers.settings.exchanges import described, description, exchanges, settings_of
from workers.settings.schema import VenueSettings
from workers.store.fleet.followed import publish
from workers.store.keys import Keys

MESSAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "okx": (
        "BTC-USDT",
        {"instId": "BTC-USDT", "tradeId": "7", "px": "10.5", "sz": "2", "side": "sell", "ts": str(T0)},
    ),
    "bybit": (
        "BTCUSDT",
        {"T": T0, "s": "BTCUSDT", "S": "Sell", "v": "2", "p": "10.5", "i": "a-7", "BT": False},
    ),
    "kraken": (
        "BTC-USD",
        {
            "symbol": "BTC/USD",
            "side": "sell",
            "price": 10.5,
            "qty": 2,
            "trade_id": 7,
            "timestamp": "2026-09-22T00:00:00.000000Z",
        },
    ),
}
"""A symbol and a trade of it, as the session of the exchange files it."""


def section(exchange: str) -> VenueSettings:
    market = {"market": "usdm"} if exchange == "binance" else {}
    return msgspec.convert({"symbols": [], **market}, settings_of(exchange))


async def followed(world: World, names: list[str]) -> None:
    for exchange in names:
        symbols = [MESSAGES[exchange][0]]
        described = description(section(exchange))
        await publish(world.redis, exchange, "rules", symbols, {}, {}, names, described)


@pytest.mark.parametrize("first", MESSAGES)
async def test_trades_of_several_venues_are_read_in_one_reading(
    first: str, world: World, fleet: FleetClient
) -> None:
    names = sorted(MESSAGES, key=lambda name: name != first)
    await followed(world, names)
    async with fleet.trades([f"{name}:{MESSAGES[name][0]}" for name in names], from_ms=T0 - 1) as feed:
        for name in names:
            symbol, message = MESSAGES[name]
            key = Keys("" if name == first else f"{name}:").raw(symbol, "aggTrade")
            fields: dict[Any, Any] = {"data": msgspec.json.encode(message), "received": 1, "line": "a"}
            await world.redis.xadd(key, fields, id=f"{T0}-7")
        records = await take(feed, len(names))
    assert not [record for record in records if isinstance(record, Gap)]
    trades = [record for record in records if isinstance(record, Trade)]
    assert {trade.symbol.rpartition(":")[2] for trade in trades} == {pair for pair, _ in MESSAGES.values()}
    assert {(str(trade.price), str(trade.quantity), trade.trade_id) for trade in trades} == {("10.5", "2", 7)}


async def test_a_venue_nobody_can_read_the_description_of_is_the_one_the_client_was_told_of(
    world: World, fleet: FleetClient
) -> None:
    await publish(world.redis, "usdm", "rules", ["BTCUSDT"], {}, {}, ["usdm"], {"exchange": "unheard of"})
    async with fleet.trades(["BTCUSDT"], from_ms=T0 - 1) as feed:
        await world.stream(1, 2)
        assert [record.trade_id for record in await take(feed, 2)] == [1, 2]


@pytest.mark.parametrize("exchange", exchanges())
def test_a_description_reads_as_its_section_and_holds_no_address(exchange: str) -> None:
    own = section(exchange)
    own.proxy, own.rest_url, own.symbols = "http://user:secret@host", "http://host?key=secret", ["A"]
    told = description(own)
    assert "secret" not in str(told)
    again = described(msgspec.json.decode(msgspec.json.encode(told)))
    assert (type(again), description(again)) == (type(own), told)
