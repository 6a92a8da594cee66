"""Coinbase with real sockets, in one process: followed, and begun anew after a hole in the numbers of a connection."""

from __future__ import annotations

import aiohttp
import pytest
from in_process import Fleet
from redis.asyncio import Redis

from workers.model.books.top_of_book import decode_top
from workers.model.trades.latest import decode_member
from workers.settings.loading import parse
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import Keys

KEYS = Keys()
PRODUCTS = ("BTC-USD", "DOGE-USD")
LONGEST_S = 90.0
FLEET = """
[fleet]
lease_ms = 2500
heartbeat_ms = 500
[venues.coinbase]
exchange = "coinbase"
market = "{market}"
symbols = ["BTC-USD", "DOGE-USD"]
websocket_url = "{websocket_url}/{market}"
rest_url = "{url}"
request_spacing_ms = 20
[ingest]
backoff_first_s = 0.05
"""


class CoinbaseFleet(Fleet):
    """Two lines, books and trades of one market of Coinbase."""

    def __init__(self, exchange: SimulatedExchange, market: str, redis_url: str) -> None:
        text = FLEET.format(market=market, url=exchange.url, websocket_url=exchange.websocket_url)
        self.exchange, self.market, self.url = exchange, market, redis_url
        self.settings = parse(text, "a test", {}).settings
        self.symbols = list(PRODUCTS)
        self.client = Redis.from_url(redis_url, protocol=2)
        self.processes, self.tasks, self.workers = {}, {}, {}

    async def control(self, path: str, body: dict[str, str]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.exchange.url}/control/{path}", json=body) as response,
        ):
            assert response.status == 200, await response.text()

    async def all_traded(self) -> bool:
        return all([await self.client.exists(KEYS.trades_latest(symbol)) for symbol in self.symbols])

    async def syncs(self, symbol: str) -> int:
        return int(await self.client.hget(KEYS.book_status(symbol), "sync_count") or 0)

    async def as_in_truth(self) -> bool:
        """Whether every book is shown, and is that of now, and all trades since the first one known are there."""
        for symbol in self.symbols:
            payload = await self.client.hget("LIVE_ORDERBOOK", symbol)
            if payload is None:
                return False
            top = decode_top(payload)
            truth = await self.truth("book", symbol, market=self.market, depth="10")
            if [[list(level) for level in side] for side in (top.b, top.a)] != [truth["bids"], truth["asks"]]:
                return False
            members = await self.client.zrange(KEYS.trades_latest(symbol), 0, -1, withscores=True)
            trades = [decode_member(member, symbol, int(score)) for member, score in members]
            known = [
                {"a": trade.agg_trade_id, "p": trade.price, "q": trade.quantity, "m": trade.is_buyer_maker}
                for trade in sorted(trades, key=lambda trade: trade.agg_trade_id)
            ]
            if not known:
                return False
            rows = await self.truth("trades", symbol, market=self.market, from_id=str(known[0]["a"]))
            if known != [{key: row[key] for key in "apqm"} for row in rows["trades"]]:
                return False
        return True


@pytest.mark.parametrize("market", ["advanced", "exchange"])
async def test_books_and_trades_agree_with_what_really_happened(market: str, spare_server: str) -> None:
    simulated = SimSettings(
        flavour="coinbase", port=0, rate_scale=3.0, levels_per_side=300, symbols={market: PRODUCTS}
    )
    async with SimulatedExchange(simulated) as exchange:
        fleet = CoinbaseFleet(exchange, market, spare_server)
        try:
            for role, name in (
                ("ingest-a", "a"),
                ("ingest-b", "b"),
                ("books", "books-1"),
                ("trades", "trades-1"),
            ):
                fleet.start(role, name)
            await fleet.until(fleet.all_shown, LONGEST_S)
            if market == "advanced":
                before = {symbol: await fleet.syncs(symbol) for symbol in PRODUCTS}
                await fleet.control("faults", {"fault": "lose stream=level2:BTC-USD count=1"})

                async def begun_anew() -> bool:
                    return all([await fleet.syncs(symbol) > before[symbol] for symbol in PRODUCTS])

                await fleet.until(begun_anew, LONGEST_S)  # a hole concerns all products of the connection
                await fleet.until(fleet.all_shown, LONGEST_S)
            await fleet.until(fleet.all_traded, LONGEST_S)
            await fleet.control("pause", {})
            await fleet.until(fleet.as_in_truth, LONGEST_S)
        finally:
            for name in list(fleet.tasks):
                await fleet.stop(name)
            await fleet.client.aclose()
