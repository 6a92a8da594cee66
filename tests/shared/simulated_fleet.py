"""A fleet in this process that follows one simulated exchange, and whether it holds what really happened there."""

from __future__ import annotations

import aiohttp
from in_process import Fleet
from redis.asyncio import Redis

from workers.model.books.top_of_book import decode_top
from workers.model.trades.latest import decode_member
from workers.settings.loading import parse
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import Keys

KEYS = Keys()
FLEET = """
[fleet]
lease_ms = 2500
heartbeat_ms = 500
[venues.{name}]
exchange = "{name}"
market = "{market}"
symbols = {symbols}
websocket_url = "{websocket_url}"
rest_url = "{url}"
request_spacing_ms = 20
{more}[ingest]
backoff_first_s = 0.05
"""


def _key(simulated: SimSettings) -> dict[str, str]:
    """What the environment says of the key that a simulated exchange knows."""
    exchange = simulated.flavour
    return {f"FLEET_VENUES__{exchange}__{name}".upper(): part for name, part in simulated.key.items()}


class SimulatedFleet(Fleet):
    """Two lines, books and trades of one market; `path` is that of its sockets."""

    def __init__(
        self,
        exchange: SimulatedExchange,
        market: str,
        symbols: list[str],
        path: str,
        redis_url: str,
        more: str = "",
    ) -> None:
        text = FLEET.format(
            name=exchange.settings.flavour,
            more=more,
            market=market,
            symbols=str(symbols).replace("'", '"'),
            url=exchange.url,
            websocket_url=f"{exchange.websocket_url}{path}",
        )
        self.exchange, self.market, self.url = exchange, market, redis_url
        self.settings = parse(text, "a test", _key(exchange.settings)).settings
        self.symbols = symbols
        self.client = Redis.from_url(redis_url, protocol=2)
        self.processes, self.tasks, self.workers = {}, {}, {}

    def start_all(self) -> None:
        for role, name in (
            ("ingest-a", "a"),
            ("ingest-b", "b"),
            ("books", "books-1"),
            ("trades", "trades-1"),
        ):
            self.start(role, name)

    async def end(self) -> None:
        for name in list(self.tasks):
            await self.stop(name)
        await self.client.aclose()

    async def control(self, path: str, body: dict[str, str | int]) -> None:
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
        return all([await self._as_in_truth(symbol) for symbol in self.symbols])

    async def _as_in_truth(self, symbol: str) -> bool:
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
            {
                "a": int(trade.venue_trade_id or trade.agg_trade_id),
                "p": trade.price,
                "q": trade.quantity,
                "m": trade.is_buyer_maker,
            }
            for trade in sorted(trades, key=lambda trade: trade.agg_trade_id)
        ]
        if not known:
            return False
        rows = await self.truth("trades", symbol, market=self.market, from_id=str(known[0]["a"]))
        return known == [{key: row[key] for key in "apqm"} for row in rows["trades"]]
