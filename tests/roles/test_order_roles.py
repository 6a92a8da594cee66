"""The role `orders` with real sockets, in one process: every single order, as it really stands in its queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from simulated_fleet import KEYS, SimulatedFleet

from workers.model.level3.checkpoint import decode_orders
from workers.model.level3.rules import OrderRules
from workers.model.level3.sync import OrderSync
from workers.model.level3.top import OrdersTop, decode_orders_top
from workers.orders.seeds import SEEDS
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


def seeds_asked() -> float:
    """How often the owners of this process asked for a book."""
    return sum(
        sample.value
        for metric in SEEDS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


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
async def orders_of(server: str, exchange_name: str, market: str, path: str) -> AsyncIterator[OrderFleet]:
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
        fleet = OrderFleet(exchange, market, [symbol], path, server, QUICK)
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


@pytest.mark.parametrize(
    ("exchange", "market", "path", "stream", "holes"),
    [
        ("bitstamp", "all", "", "live_orders_*", [b"a message is missing"]),
        ("bitfinex", "spot", "/ws/2", "book.R0.*", [b"connection"]),
        ("coinbase", "exchange", "/exchange", "full:*", [b"a message is missing"]),
        ("kraken", "spot", "/v2", "level3.*", []),  # the log has all that came: the checksum alone shows it
    ],
)
async def test_every_order_is_as_in_truth_through_a_loss_and_a_takeover(
    spare_server: str, exchange: str, market: str, path: str, stream: str, holes: list[bytes]
) -> None:
    async with orders_of(spare_server, exchange, market, path) as fleet:
        await fleet.until(fleet.shown, LONGEST_S)

        async def compared_with_levels() -> bool:
            return int((await fleet.status())["level2_compared"]) >= 3

        await fleet.until(compared_with_levels, LONGEST_S)
        assert (await fleet.status())["level2_differed"] == "0"
        await fleet.control(
            "faults", {"fault": "old_token"}
        )  # where there are any, what is shown now is a new one
        # a checksum of ten prices does not show every message that is lost, of some in a row it does
        await fleet.control("faults", {"fault": f"lose stream={stream} count={1 if holes else 6}"})

        async def lost_and_back() -> bool:
            return int((await fleet.status()).get("lost", 0)) >= 1 and await fleet.synced_again(2)

        await fleet.until(lost_and_back, LONGEST_S)
        await fleet.until(fleet.analytics_use_them, LONGEST_S)
        gaps = await fleet.client.xrange(KEYS.gaps(fleet.symbol))
        assert {*holes} <= {fields[b"reason"] for _, fields in gaps if fields[b"channel"] == b"orders"}
        syncs = (await fleet.status())["syncs"]

        async def kept() -> bool:
            stored = await fleet.stored()
            return stored is not None and stored.synced and stored.counts["syncs"] == int(syncs)

        await fleet.until(kept, LONGEST_S)
        asked = seeds_asked()
        await fleet.crash("orders-1")
        fleet.start("orders", "orders-2")

        async def taken_over() -> bool:
            return (await fleet.status())["owner"] == "orders-2" and await fleet.shown()

        await fleet.until(taken_over, LONGEST_S)
        await fleet.control("pause", {})
        await fleet.until(fleet.every_order_as_in_truth, LONGEST_S)
        status = await fleet.status()
        assert int(status["syncs"]) >= int(syncs) > 0, "the next owner goes on from the checkpoint"
        assert seeds_asked() == asked, "and asks for nothing"

        async def shows_the_last_change() -> bool:
            newest, truth = await fleet.newest(), await fleet.truth("orders", fleet.symbol, market=market)
            best = newest.b[0] if newest is not None and newest.b else None
            return (
                newest is not None
                and best is not None
                and [best.price, best.first[0].quantity, best.first[0].order_id] == truth["bids"][0]
                and best.orders == sum(row[0] == best.price for row in truth["bids"])
                and newest.whole
                and all(level.complete for level in (*newest.b, *newest.a))
            )

        await fleet.until(shows_the_last_change, LONGEST_S)
