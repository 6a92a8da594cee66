"""Sections that were taken out of the settings."""

from __future__ import annotations

from redis.asyncio import Redis

from workers.keeper.given_up import GivenUpVenues
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.fleet.followed import publish, published
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

SPOT = Keys("spot:")


async def test_what_a_section_leaves_behind_is_withdrawn_and_expires_once_nobody_owns_it(
    client: Redis,
) -> None:
    settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT"])})
    process = Process("keeper", settings, 0, "unix:///nowhere")
    process.client = client
    for venue in ("usdm", "spot"):
        await publish(client, venue, "", ["BTCUSDT", "ETHUSDT"], {}, {}, ["usdm", "spot"])
    for keys in (Keys(), SPOT):
        await client.hset(keys.live_orderbook, mapping={"BTCUSDT": "{}", "ETHUSDT": "{}"})
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await client.hset(keys.book_status(symbol), "state", "synced")
            await client.zadd(keys.trades_latest(symbol), {"trade": 1})
            await client.hset(keys.lease("books", symbol), mapping={"owner": "b", "token": 1})
    venues = GivenUpVenues(process)
    await venues.step()
    await publish(client, "usdm", "", ["BTCUSDT"], {}, {}, ["usdm"])
    await client.delete(SPOT.lease("books", "ETHUSDT"))
    await venues.step()
    assert await client.hkeys(SPOT.live_orderbook) == [b"BTCUSDT"]
    assert await client.hget(SPOT.book_status("BTCUSDT"), "state") == b"synced"
    assert await client.hget(SPOT.book_status("ETHUSDT"), "state") == b"retired"
    assert await client.pttl(SPOT.trades_latest("BTCUSDT")) == -1
    assert 0 < await client.pttl(SPOT.trades_latest("ETHUSDT")) <= settings.streams.retired_ms
    assert await published(client, "spot") is not None
    await client.delete(SPOT.lease("books", "BTCUSDT"))
    await venues.step()
    assert await client.exists(SPOT.live_orderbook) == 0
    assert await published(client, "spot") is None
    await client.hset(SPOT.live_orderbook, "BTCUSDT", "{}")  # of a worker that was not restarted yet
    await venues.step()
    assert await client.exists(SPOT.live_orderbook) == 0
    assert await client.hlen(Keys().live_orderbook) == 2
    assert await client.pttl(Keys().trades_latest("BTCUSDT")) == -1
