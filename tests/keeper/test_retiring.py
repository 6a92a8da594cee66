"""Symbols that are followed no more: when they are retired, and when they come back."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from test_listings import KEYS, Exchange, World

from workers.keeper import listings
from workers.keeper.listings import RETRY_S


async def test_a_symbol_is_retired_when_nobody_owns_it_any_more(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING", XUSDT="TRADING"), ["*"])
    await here.step()
    await client.hset(KEYS.lease("trades", "XUSDT"), mapping={"owner": "x", "token": 1})
    await client.hset(KEYS.book_status("XUSDT"), "state", "synced")
    here.exchange.statuses["XUSDT"] = "SETTLING"
    await here.read()
    await here.step(10.0)
    assert await here.state("XUSDT") == ("synced", "")
    await client.delete(KEYS.lease("trades", "XUSDT"))
    with capture_logs() as logs:
        await here.step(1.0)
    assert await here.state("XUSDT") == ("delisted", "SETTLING")
    assert 0 < await client.pttl(KEYS.symbol_info("XUSDT")) <= 86_400_000
    assert await client.pttl(KEYS.symbol_info("BTCUSDT")) == -1
    assert (await here.published()).retiring == {}
    [told] = [entry for entry in logs if entry["event"] == "symbol_retired"]
    assert (told["symbol"], told["state"], told["reason"]) == ("XUSDT", "delisted", "SETTLING")


async def test_nothing_is_retired_before_every_worker_can_have_heard(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING", XUSDT="TRADING"), ["*"])
    await here.step()
    here.exchange.statuses["XUSDT"] = "SETTLING"
    await here.read()
    await here.step(3.9)
    assert await here.state("XUSDT") == ("", "")
    await here.step(0.2)
    assert await here.state("XUSDT") == ("delisted", "SETTLING")


async def test_the_next_keeper_goes_on_with_list_and_retiring(client: Redis) -> None:
    exchange = Exchange(AUSDT="TRADING", BUSDT="TRADING", XUSDT="TRADING")
    exchange.volumes = {"XUSDT": "9", "BUSDT": "8", "AUSDT": "1"}
    first = World(client, exchange, ["*"], most=2)
    await first.step()
    exchange.statuses["XUSDT"] = "SETTLING"
    exchange.volumes = {"AUSDT": "99"}
    await first.read()
    assert (await first.published()).symbols == ["BUSDT", "AUSDT"]
    second = World(client, exchange, ["*"], most=2)
    await second.step()
    assert (await second.published()).symbols == ["BUSDT", "AUSDT"]
    await second.step(5.0)
    assert await second.state("XUSDT") == ("delisted", "SETTLING")


async def test_other_settings_retire_what_they_do_not_choose(client: Redis) -> None:
    exchange = Exchange(AUSDT="TRADING", BUSDT="TRADING")
    await World(client, exchange, ["AUSDT", "BUSDT"]).step()
    here = World(client, exchange, ["BUSDT"])
    await here.step()
    assert (await here.published()).rules == "BUSDT 0"
    await here.step(5.0)
    assert await here.state("AUSDT") == ("retired", "not chosen")


async def test_a_symbol_that_comes_back_is_taken_from_the_retiring_or_revived(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING", XUSDT="TRADING"), ["*"])
    await here.step()
    await client.set(KEYS.book_checkpoint("XUSDT"), "old")
    here.exchange.statuses["XUSDT"] = "SETTLING"
    await here.read()
    here.exchange.statuses["XUSDT"] = "TRADING"
    await here.read()
    found = await here.published()
    assert (found.symbols, found.retiring) == (["BTCUSDT", "XUSDT"], {})
    assert await client.get(KEYS.book_checkpoint("XUSDT")) == b"old"
    here.exchange.statuses["XUSDT"] = "SETTLING"
    await here.read()
    await here.step(5.0)
    assert await here.state("XUSDT") == ("delisted", "SETTLING")
    here.exchange.statuses["XUSDT"] = "TRADING"
    await here.read()
    assert (await here.published()).symbols == ["BTCUSDT", "XUSDT"]
    assert await client.exists(KEYS.book_checkpoint("XUSDT"), KEYS.book_status("XUSDT")) == 0
    assert await client.pttl(KEYS.symbol_info("XUSDT")) == -1


async def test_nothing_is_retired_that_is_still_published(client: Redis, monkeypatch: Any) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING", XUSDT="TRADING"), ["*"])
    await here.step()
    here.exchange.statuses["XUSDT"] = "SETTLING"

    async def refuse(*_: object) -> int:
        raise ConnectionError("away")

    with monkeypatch.context() as patched:
        patched.setattr(listings, "publish", refuse)
        with pytest.raises(ConnectionError):
            await here.read()
        here.exchange.down = {"exchangeInfo"}
        await here.step(RETRY_S)
    await here.step(1.0)
    assert await here.state("XUSDT") == ("", "")
    assert (await here.published()).symbols == ["BTCUSDT", "XUSDT"]
    here.exchange.down = set()
    await here.step(RETRY_S)
    await here.step(RETRY_S)
    assert await here.state("XUSDT") == ("delisted", "SETTLING")
