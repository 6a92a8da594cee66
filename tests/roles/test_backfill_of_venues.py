"""Trades that both lines missed, of the venues whose ids do not show which: REST has them, and each is there once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import aiohttp
import pytest
from simulated_fleet import KEYS, SimulatedFleet

from workers.model.trades.latest import LatestTrade, decode_member
from workers.sim import SimSettings, SimulatedExchange

LONGEST_S = 90.0
MISSED = 60
"""Fills that the exchange makes while no line is connected, at the least: Bitfinex begins with the last 30."""


class Market(NamedTuple):
    """One venue's."""

    flavour: str
    market: str
    symbol: str
    path: str = ""
    settings: tuple[tuple[str, str], ...] = ()


MARKETS = [
    Market("bybit", "linear", "BTCUSDT"),
    Market("okx", "spot", "BTC-USDT", settings=(("trades", "trades"),)),
    Market("bitfinex", "spot", "BTCUSD", "/ws/2"),
    Market("bitstamp", "all", "BTCUSD"),
]


class Lines(SimulatedFleet):
    """Both lines and the fold of the trades of one symbol."""

    def __init__(self, exchange: SimulatedExchange, market: Market, redis_url: str) -> None:
        super().__init__(exchange, market.market, [market.symbol], market.path, redis_url)
        self.symbol = market.symbol
        [venue] = self.settings.venues.values()
        for name, value in market.settings:
            setattr(venue, name, value)
        self.settings.trades.repair_attempts, self.settings.trades.repair_for_s = 2, 0

    async def tape(self) -> list[LatestTrade]:
        members = await self.client.zrange(KEYS.trades_latest(self.symbol), 0, -1, withscores=True)
        rows = [decode_member(member, self.symbol, int(score)) for member, score in members]
        return sorted(rows, key=lambda row: row.agg_trade_id)

    async def fills(self) -> list[dict[str, Any]]:
        return list((await self.truth("trades", self.symbol, market=self.market, from_id="0"))["trades"])

    async def fault(self, text: str) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.exchange.url}/control/faults", json={"fault": text}) as response,
        ):
            return int((await response.json())["id"])

    async def take_back(self, number: int) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.delete(f"{self.exchange.url}/control/faults", params={"id": number}) as response,
        ):
            assert response.status == 200

    async def miss_some(self) -> None:
        """Both lines are cut, and come back when some trades were made."""

        async def flows() -> bool:
            return len(await self.tape()) > 5

        self.start("ingest-a", "a")
        self.start("ingest-b", "b")
        self.start("trades", "trades-1")
        await self.until(flows, LONGEST_S)
        number = await self.fault("refuse")
        await self.control("disconnect", {})
        before = len(await self.fills())

        async def traded() -> bool:
            return len(await self.fills()) >= before + MISSED

        await self.until(traded, LONGEST_S)
        await self.take_back(number)
        await self.until(self.told, LONGEST_S)

    async def gaps(self) -> list[tuple[str, str]]:
        entries = await self.client.xrange(KEYS.gaps(self.symbol))
        return [
            (fields[b"reason"].decode(), fields[b"repaired"].decode())
            for _, fields in entries
            if fields[b"reason"].startswith(b"connection")
        ]

    async def told(self) -> bool:
        return bool(await self.gaps())

    async def reasons(self) -> set[str]:
        """Why bars of a minute are not proven."""
        bars = await self.client.xrange(KEYS.bars(self.symbol, "100ms"))
        return {fields[b"reason"].decode() for _, fields in bars}

    async def as_in_truth(self) -> bool:
        """Whether every fill since the first known trade is there, once."""
        rows, fills = await self.tape(), await self.fills()
        names = [str(fill.get("i") or fill["a"]) for fill in fills]
        if rows[-1].venue_trade_id != names[-1]:
            return False
        since = fills[names.index(rows[0].venue_trade_id) + 1 :]
        assert len({row.venue_trade_id for row in rows}) == len(rows)
        if (
            self.exchange.settings.flavour == "okx"
        ):  # its stream has the fills of an order at a price together
            return _sums((row.price, row.quantity) for row in rows[1:]) == _sums(
                (fill["p"], fill["q"]) for fill in since
            )
        kept = [(row.venue_trade_id, row.price, row.quantity, row.is_buyer_maker) for row in rows[1:]]
        return kept == [
            (name, fill["p"], fill["q"], fill["m"])
            for name, fill in zip(names[len(names) - len(since) :], since, strict=True)
        ]


def _sums(rows: Any) -> tuple[Decimal, Decimal]:
    pairs = [(Decimal(price), Decimal(quantity)) for price, quantity in rows]
    return sum((q for _, q in pairs), Decimal(0)), sum((p * q for p, q in pairs), Decimal(0))


def simulated(market: Market) -> SimSettings:
    return SimSettings(
        flavour=market.flavour,
        port=0,
        rate_scale=5.0,
        levels_per_side=50,
        symbols={market.market: (market.symbol,)},
    )


@pytest.mark.parametrize("market", MARKETS, ids=[market.flavour for market in MARKETS])
async def test_what_both_lines_missed_is_fetched_and_there_once(market: Market, spare_server: str) -> None:
    async with SimulatedExchange(simulated(market)) as exchange:
        fleet = Lines(exchange, market, spare_server)
        try:
            await fleet.miss_some()
            await fleet.control("pause", {})
            await fleet.until(fleet.as_in_truth, LONGEST_S)
            [(reason, filled), *_] = await fleet.gaps()
            assert reason == "connection"
            assert filled.endswith(" over REST")
            assert int(filled.split()[0]) > 0
            assert "missing" not in await fleet.reasons()
        finally:
            await fleet.end()


@pytest.mark.parametrize("market", MARKETS[:1], ids=["bybit"])
async def test_while_rest_fails_they_are_missing_and_it_is_said_so(market: Market, spare_server: str) -> None:
    async with SimulatedExchange(simulated(market)) as exchange:
        fleet = Lines(exchange, market, spare_server)
        try:
            await fleet.fault("rest_status value=500")
            await fleet.miss_some()
            [(reason, filled), *_] = await fleet.gaps()
            assert reason.startswith("connection: ")
            assert "500" in reason
            assert filled == "no"

            async def missing() -> bool:
                return "missing" in await fleet.reasons()

            await fleet.until(missing, LONGEST_S)
        finally:
            await fleet.end()
