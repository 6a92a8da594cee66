"""A fleet in this process that follows the single orders of a simulated exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simulated_fleet import KEYS, SimulatedFleet

from workers.model.level3.checkpoint import decode_orders
from workers.model.level3.rules import OrderRules
from workers.model.level3.sync import OrderSync
from workers.model.level3.top import OrdersTop, decode_orders_top
from workers.sim import SimSettings, SimulatedExchange
from workers.sim.flavours import ORDERS_PATHS
from workers.venues.registry import venue_of

SYMBOL = "BTCUSD"
SYMBOLS = {"kraken": "BTC-USD", "coinbase": "BTC-USD"}
KEY = {"api_key": "sesame", "api_secret": "b3BlbiBzZXNhbWU="}
KEYS_OF = {"kraken": KEY, "coinbase": KEY | {"api_passphrase": "open"}}
LONGEST_S = 90.0
QUICK = """orders = true
[orders]
commit_ms = 100
seed_delay_ms = 300
seed_retry_s = 0.3
"""


class OrderFleet(SimulatedFleet):
    """Both lines, the books, one owner of orders and one of analytics."""

    rules: OrderRules

    @property
    def symbol(self) -> str:
        [symbol] = self.symbols
        return symbol

    async def status(self) -> dict[str, str]:
        found = await self.client.hgetall(KEYS.orders_status(self.symbol))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def newest(self) -> OrdersTop | None:
        found = await self.client.xrevrange(KEYS.orders_top(self.symbol), count=1)
        return decode_orders_top(found[0][1][b"data"]) if found else None

    async def shown(self) -> bool:
        newest = await self.newest()
        return newest is not None and not newest.withheld

    async def synced_again(self, times: int) -> bool:
        status = await self.status()
        return status.get("state") == "synced" and int(status["syncs"]) >= times

    async def stored(self) -> OrderSync | None:
        found = await self.client.get(KEYS.orders_checkpoint(self.symbol))
        return decode_orders(found, self.rules)[0] if found else None

    async def analytics_use_them(self) -> bool:
        found = await self.client.hmget(KEYS.analytics(self.symbol), "level", "state")
        return bool(found == [b"3", b"shown"])

    async def every_order_as_in_truth(self) -> bool:
        """Whether the stored book is that of now: each order by id, price and what is left, in its queue's order."""
        sync = await self.stored()
        if sync is None or not sync.synced:
            return False
        truth = await self.truth("orders", self.symbol, market=self.market)
        held = [
            [
                [queue.price, order.quantity, order.order_id]
                for queue in sync.book.levels(side)
                for order in queue
            ]
            for side in ("bid", "ask")
        ]
        return sync.last_id == truth["event_id"] and held == [truth["bids"], truth["asks"]]


@asynccontextmanager
async def orders_of(
    server: str, exchange_name: str, market: str, path: str, more: str = ""
) -> AsyncIterator[OrderFleet]:
    """The fleet at work; `more`: settings beside those every test has."""
    symbol = SYMBOLS.get(exchange_name, SYMBOL)
    simulated = SimSettings(
        flavour=exchange_name,
        port=0,
        rate_scale=3.0,
        levels_per_side=100,
        symbols={market: (symbol,)},
        key=KEYS_OF.get(exchange_name, {}),
    )
    async with SimulatedExchange(simulated) as exchange:
        fleet = OrderFleet(exchange, market, [symbol], path, server, QUICK + more)
        section = fleet.settings.venues[exchange_name]
        if exchange_name in ORDERS_PATHS:
            section.orders_url = f"{exchange.websocket_url}{ORDERS_PATHS[exchange_name]}"
        feed = venue_of(exchange_name, section).order_feed
        assert feed is not None
        fleet.rules = feed.rules
        fleet.settings.orders.behind_ms = 60_000  # this process has all roles, and the machine others
        fleet.settings.books.behind_ms = 60_000
        for role, name in (
            ("ingest-a", "a"),
            ("ingest-b", "b"),
            ("books", "books-1"),
            ("orders", "orders-1"),
            ("analytics", "analytics-1"),
        ):
            fleet.start(role, name)
        try:
            yield fleet
        finally:
            await fleet.end()
