"""Figures and liquidations of contracts over two lines and a keeper, against the truth of each simulated exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from in_process import Fleet

from workers.runtime.tasks import end
from workers.settings.schema import KeeperSettings, VenueSettings
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings
from workers.venues.bybit.settings import BybitSettings
from workers.venues.okx.settings import OkxSettings

KEYS = Keys()
ENOUGH = 3
FIGURES = ("mark_price", "index_price", "funding_rate", "next_funding_time", "open_interest")


def venue_of(exchange: str, url: str, rest: str) -> VenueSettings:
    urls: dict[str, Any] = {"websocket_url": url, "rest_url": rest, "request_spacing_ms": 20}
    if exchange == "binance":
        channels = ["markPrice@1s", "openInterest", "!forceOrder@arr"]
        urls |= {"websocket_url": f"{url}/usdm", "rest_url": f"{rest}/usdm"}
        return BinanceSettings(market="usdm", symbols=["BTCUSDT"], channels=channels, **urls)
    if exchange == "bybit":
        return BybitSettings(
            market="linear", symbols=["BTCUSDT"], channels=["tickers", "allLiquidation"], **urls
        )
    channels = ["mark-price", "index-tickers", "funding-rate", "open-interest", "liquidation-orders"]
    return OkxSettings(market="swap", symbols=["BTC-USDT-SWAP"], channels=channels, **urls)


def sim_of(exchange: str) -> SimSettings:
    if exchange == "binance":
        return SimSettings(port=0, usdm_symbols=("BTCUSDT", "ETHUSDT"), spot_symbols=(), rate_scale=4.0)
    symbols = (
        {"linear": ("BTCUSDT", "ETHUSDT")}
        if exchange == "bybit"
        else {"swap": ("BTC-USDT-SWAP", "ETH-USDT-SWAP")}
    )
    return SimSettings(port=0, flavour=exchange, symbols=symbols, rate_scale=4.0)


async def said(fleet: Fleet, key: str) -> list[dict[str, str]]:
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in await fleet.client.xrange(key)
    ]


@asynccontextmanager
async def fleet_of(exchange: str, url: str) -> AsyncIterator[Fleet]:
    """Two lines and a keeper of one venue."""
    async with SimulatedExchange(sim_of(exchange)) as sim:
        fleet = Fleet(sim, url)
        fleet.settings.venues = {exchange: venue_of(exchange, sim.websocket_url, sim.url)}
        fleet.settings.keeper = KeeperSettings(audit_s=0, open_interest_s=0.3)
        await fleet.client.flushall()  # the server is this test process's own
        try:
            for role, name in (("ingest-a", "a"), ("ingest-b", "b"), ("keeper", "keeper")):
                fleet.start(role, name)
            yield fleet
        finally:
            for process in fleet.processes.values():
                process.stop.set()
            await end(fleet.tasks.values())
            for process in fleet.processes.values():
                await process.client.aclose()
            await fleet.client.aclose()


async def truth_of(fleet: Fleet, venue: VenueSettings) -> dict[str, Any]:
    """What the exchange told, which tells no more from now on."""
    async with aiohttp.ClientSession() as session:
        await session.post(f"{fleet.exchange.url}/control/pause")
        asked = {"market": venue.market, "symbol": venue.symbols[0]}
        url = f"{fleet.exchange.url}/control/truth/derivatives"
        async with session.get(url, params=asked) as reply:
            found: dict[str, Any] = await reply.json()
            return found


@pytest.mark.parametrize("exchange", ["binance", "bybit", "okx"])
async def test_what_is_told_of_a_contract_is_the_truth(real_server: str, exchange: str) -> None:
    async with fleet_of(exchange, real_server) as fleet:
        venue = fleet.settings.venues[exchange]
        derivatives, liquidations = KEYS.derivatives(venue.symbols[0]), KEYS.liquidations(venue.symbols[0])

        async def enough() -> bool:
            rows = await said(fleet, derivatives)
            told = len(rows) >= ENOUGH and FIGURES[-1] in rows[-1]
            return told and len(await said(fleet, liquidations)) >= ENOUGH

        await fleet.until(enough, 90)
        await fleet.stop("b")  # what one line brings alone is the same
        before = len(await said(fleet, liquidations))

        async def more() -> bool:
            return len(await said(fleet, liquidations)) > before

        await fleet.until(more, 90)
        truth = await truth_of(fleet, venue)
        last, by_time = truth["quotes"][-1], {quote["time"]: quote for quote in truth["quotes"]}
        interest = truth["open_interest"] if exchange == "binance" else last["open_interest"]

        async def the_last() -> bool:
            row, newest = (await said(fleet, derivatives))[-1], (await said(fleet, liquidations))[-1]
            told = row["mark_price_at"] == str(last["time"]) and row["open_interest"] == interest
            return told and newest["time"] == str(truth["liquidations"][-1]["time"])

        await fleet.until(the_last, 90)
        # of Binance the open interest is that of the moment of the request, not of a quote
        quoted = FIGURES[:-1] if exchange == "binance" else FIGURES
        for row in await said(fleet, derivatives):
            assert set(row) == {name + at for name in FIGURES for at in ("", "_at") if name in row}
            for name in quoted:
                if name in row:
                    assert row[name] == str(by_time[int(row[f"{name}_at"])][name]), name
        shown = [
            {name: row[name] for name in ("side", "price", "quantity", "time")}
            for row in await said(fleet, liquidations)
        ]
        expected = [
            {name: str(value) for name, value in row.items() if name != "event_time"}
            for row in truth["liquidations"]
        ]
        assert shown == expected[-len(shown) :]
