"""Symbols are listed, halted, delisted and listed again while a fleet runs, and no worker is restarted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from in_process import KEYS, Fleet, fleet_of, settle
from structlog.testing import capture_logs

from workers.api.server import Api
from workers.keeper import listings
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.process import Process
from workers.store.fleet.symbols import LEASED_IN
from workers.verification.stored import FleetReader

NEW = "1000新币USDT"
OLD = "币安人生USDT"
ALL = ["ingest-a", "ingest-b", "books", "trades", "keeper"]


@asynccontextmanager
async def world(real_server: str, symbols: list[str], **venue: Any) -> AsyncIterator[World]:
    async with fleet_of(real_server) as fleet:
        settings = fleet.settings.venues["usdm"]
        settings.symbols = symbols
        for name, value in venue.items():
            setattr(settings, name, value)
        settings.websocket_url = f"{fleet.exchange.websocket_url}/{settings.market}"
        settings.rest_url = f"{fleet.exchange.url}/{settings.market}"
        fleet.settings.keeper.info_s = 1.0
        for role in ALL:
            fleet.start(role, role)
        process = Process("api", fleet.settings, 0, fleet.url)
        api = Api(process)
        api.start()
        server = TestServer(api.application.build())
        async with TestClient(server) as client, aiohttp.ClientSession() as session:
            yield World(fleet, session, client)
        await api.close()
        await process.client.aclose()


class World:
    """A fleet, and what can be done to its exchange."""

    def __init__(self, fleet: Fleet, session: aiohttp.ClientSession, api: TestClient) -> None:  # type: ignore[type-arg]
        self.fleet = fleet
        self._api = api
        self.client = fleet.client
        self._session = session
        self._control = f"{fleet.exchange.url}/control"

    async def fault(self, text: str) -> int:
        async with self._session.post(f"{self._control}/faults", json={"fault": text}) as reply:
            return int((await reply.json())["id"])

    async def remove(self, number: int) -> None:
        async with self._session.delete(f"{self._control}/faults", params={"id": number}) as reply:
            assert len((await reply.json())["removed"]) == 1

    async def streams(self) -> set[str]:
        """What is subscribed to, on all sockets of the lines."""
        async with self._session.get(f"{self._control}/connections") as reply:
            rows = (await reply.json())["connections"]
        return {stream for row in rows for stream in row["streams"] if stream != "!contractInfo"}

    async def shown(self, *symbols: str) -> None:
        async def so() -> bool:
            return set(await self.client.hkeys("LIVE_ORDERBOOK")) == {name.encode() for name in symbols}

        await self.fleet.until(so)

    async def gone(self, symbol: str) -> None:
        """Wait until nobody follows a symbol."""

        async def so() -> bool:
            leases = [await self.client.exists(KEYS.lease(role, symbol)) for role in LEASED_IN]
            wanted = [stream for stream in await self.streams() if stream.startswith(symbol.lower())]
            return not any(leases) and not wanted and await self.client.pttl(KEYS.book_status(symbol)) > 0

        await self.fleet.until(so)

    async def status(self, symbol: str) -> dict[str, str]:
        found = await self.client.hgetall(KEYS.book_status(symbol))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def info(self, symbol: str, field: str) -> str:
        return str((await self.client.hget(KEYS.symbol_info(symbol), field) or b"").decode())

    async def undisturbed(self, *symbols: str) -> None:
        asked_ms = int(time.time() * 1000)

        async def written() -> bool:  # the status is written once a second
            return all([int((await self.status(name)).get("updated", 0)) > asked_ms for name in symbols])

        await self.fleet.until(written)
        for symbol in symbols:
            status = await self.status(symbol)
            assert (status["gap_count"], status["sync_count"]) == ("0", "1"), symbol
            assert await self.client.exists(KEYS.gaps(symbol)) == 0

    async def served(self, *symbols: str) -> None:
        """Wait until the API and `fleet status` know these symbols and no others."""
        reader = FleetReader(self.client, self.fleet.settings)

        async def so() -> bool:
            async with self._api.get("/symbols") as reply:
                listed = {row["symbol"] for row in (await reply.json())["symbols"]}
            await reader.refresh()
            return listed == set(symbols) and {book.symbol for book in reader.books} == set(symbols)

        await self.fleet.until(so)

    async def answer(self, symbol: str) -> int:
        async with self._api.get("/orderbook", params={"symbol": symbol}) as reply:
            return reply.status

    async def traded(self, symbol: str) -> None:
        async def so() -> bool:
            return await self.client.zcard(KEYS.trades_latest(symbol)) > 2

        await self.fleet.until(so)


async def test_a_listing_is_followed_and_a_delisting_ends_it(real_server: str) -> None:
    async with world(real_server, ["BTCUSDT", "all", "!SOL*"], streams_per_socket=2) as here:
        await here.shown("BTCUSDT", OLD)
        await here.fault(f"list market=usdm symbol={NEW} value=1")
        await here.shown("BTCUSDT", OLD, NEW)
        await here.traded(NEW)
        assert await here.info(NEW, "status") == "TRADING"
        await here.served("BTCUSDT", OLD, NEW)

        async def answered() -> bool:
            return [await here.answer(symbol) for symbol in (OLD, NEW)] == [200, 200]

        await here.fleet.until(answered)
        await here.fault(f"delist market=usdm symbol={OLD}")
        await here.shown("BTCUSDT", NEW)
        await here.gone(OLD)
        status = await here.status(OLD)
        assert (status["state"], status["reason"]) == ("delisted", "SETTLING")
        assert await here.info(OLD, "status") == "SETTLING"

        async def all_closed() -> bool:
            last = await here.client.hget(KEYS.trades_state(OLD), "last_id")
            bars = [await here.client.xrevrange(KEYS.bars(OLD, name), count=1) for name in INTERVALS_MS]
            return all(bar and bar[0][1][b"last_agg_trade_id"] == last for bar in bars)

        await here.fleet.until(all_closed)
        for key in (*KEYS.raw_streams(OLD)[:2], KEYS.trades_latest(OLD), KEYS.symbol_info(OLD)):
            assert 0 < await here.client.pttl(key) <= here.fleet.settings.streams.retired_ms, key
        await here.served("BTCUSDT", NEW)
        assert await here.answer(OLD) == 404
        here.fleet.symbols = ["BTCUSDT", NEW]
        await settle(here.fleet)
        await here.fleet.check_books()
        await here.fleet.check_trades()
        await here.undisturbed("BTCUSDT", NEW)


async def test_a_symbol_that_comes_back_begins_anew(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "RETRY_S", 0.2)
    async with world(real_server, ["*USDT"]) as here:
        await here.shown("BTCUSDT", "SOLUSDT", OLD)
        await here.traded(OLD)
        await here.fault(f"unlist market=usdm symbol={OLD}")
        await here.shown("BTCUSDT", "SOLUSDT")
        await here.gone(OLD)
        assert (await here.status(OLD))["reason"] == "not listed"
        assert await here.info(OLD, "status") == "UNLISTED"
        before = await here.client.zcard(KEYS.trades_latest(OLD))
        with capture_logs() as logs:
            await here.fault(f"list market=usdm symbol={OLD}")
            await here.shown("BTCUSDT", "SOLUSDT", OLD)

            async def traded_again() -> bool:
                return await here.client.zcard(KEYS.trades_latest(OLD)) > before + 2

            await here.fleet.until(traded_again)
        told = [entry["event"] for entry in logs]
        assert "symbol_revived" in told
        assert not {"trades_state_lost", "trade_hole", "unknown_symbol"} & set(told)
        for key in (*KEYS.raw_streams(OLD)[:2], KEYS.trades_latest(OLD), KEYS.symbol_info(OLD)):
            assert await here.client.pttl(key) == -1, key
        await settle(here.fleet)
        await here.fleet.check_books()
        await here.undisturbed("BTCUSDT", "SOLUSDT", OLD)


async def test_a_halt_and_another_grid_change_the_information_only(real_server: str) -> None:
    async with world(real_server, ["all"]) as here:
        await here.shown("BTCUSDT", "SOLUSDT", OLD)
        tick = await here.info("BTCUSDT", "tick_size")
        with capture_logs() as logs:
            await here.fault("tick_size market=usdm symbol=BTCUSDT value=5")
            halt = await here.fault("halt market=usdm symbol=SOLUSDT")

            async def told() -> bool:
                changed = await here.info("BTCUSDT", "tick_size") != tick
                return changed and await here.info("SOLUSDT", "status") == "TRADING_HALT"

            await here.fleet.until(told)
            await here.remove(halt)

            async def trading() -> bool:
                return await here.info("SOLUSDT", "status") == "TRADING"

            await here.fleet.until(trading)
            await asyncio.sleep(1.0)
        changes = [
            (entry["event"], entry.get("symbol")) for entry in logs if entry["event"].endswith("_changed")
        ]
        assert sorted(changes) == [
            ("symbol_status_changed", "SOLUSDT"),
            ("symbol_status_changed", "SOLUSDT"),
            ("symbol_tick_size_changed", "BTCUSDT"),
        ]
        await settle(here.fleet)
        await here.fleet.check_books()
        await here.undisturbed("BTCUSDT", "SOLUSDT", OLD)


async def test_only_so_many_are_followed_and_a_place_that_gets_free_is_filled(real_server: str) -> None:
    async with world(real_server, ["all"], max_symbols=2) as here:

        async def two() -> bool:
            return await here.client.hlen("LIVE_ORDERBOOK") == 2

        await here.fleet.until(two)
        first = {name.decode() for name in await here.client.hkeys("LIVE_ORDERBOOK")}
        [third] = {"BTCUSDT", "SOLUSDT", OLD} - first
        ended = next(iter(first - {"BTCUSDT"}))
        await here.fault(f"delist market=usdm symbol={ended}")
        await here.shown(*(first - {ended}), third)
        await here.undisturbed(*(first - {ended}))


async def test_spot_has_no_announcements_and_its_break_ends_nothing(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "RETRY_S", 0.2)
    async with world(real_server, ["*USDT", "1INCHBTC"], market="spot") as here:
        for symbol in ("1INCHBTC", "ETHBTC", OLD, NEW):
            await here.fault(f"list market=spot symbol={symbol}")
        await here.shown("1INCHBTC", OLD, NEW)
        await here.fault(f"delist market=spot symbol={NEW}")

        async def told() -> bool:
            return await here.info(NEW, "status") == "BREAK"

        await here.fleet.until(told)
        await asyncio.sleep(1.5)
        await here.shown("1INCHBTC", OLD, NEW)
        await here.fault(f"unlist market=spot symbol={NEW}")
        await here.fault("unlist market=spot symbol=1INCHBTC")  # also a name that was listed once
        await here.shown(OLD)
        await here.gone(NEW)
        await here.gone("1INCHBTC")
        assert [(await here.status(symbol))["state"] for symbol in (NEW, "1INCHBTC")] == ["delisted"] * 2
        await here.undisturbed(OLD)
