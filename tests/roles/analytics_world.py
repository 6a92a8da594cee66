"""A market whose single orders a test files, and a worker of the role `analytics` that is asked to go round."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from redis.asyncio import Redis

from workers.analytics.worker import AnalyticsWorker
from workers.model.books.top_of_book import TopOfBook, encode_top
from workers.model.level3.events import OrderChange, OrderSeed
from workers.model.level3.sync import OrderSync
from workers.orders.book import OwnedOrders
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.settings.analytics import AnalyticsSettings
from workers.settings.schema import Settings
from workers.store.keys import ORDERS, Keys
from workers.store.log.streams import delivered
from workers.store.orders.publishing import OrdersPublication, OrderStore
from workers.venues.bitstamp.settings import BitstampSettings

KEYS = Keys()
SYMBOL = "BTCUSD"
TOKEN = 7
BEGAN_US = time.time_ns() // 1000
ICEBERG = "777"
PART, LEFT = "1.00000000", "0.40000000"


def settings_of(*, orders: bool = True, seed: bool = True) -> Settings:
    venue = BitstampSettings(market="all", symbols=[SYMBOL], orders=orders, orders_seed=seed)
    return Settings(
        venues={"bitstamp": venue},
        analytics=AnalyticsSettings(enabled=True),
    )


class Market:
    """The exchange's single orders as ingest files them, and the owner of their book, without its loop."""

    def __init__(self, client: Redis, url: str) -> None:
        self.client = client
        self.now_us = BEGAN_US
        self.last_id = self.id_of(BEGAN_US)
        settings = settings_of()
        [context] = venue_contexts(settings)
        self.claim, feed = Claim(context, SYMBOL), context.venue.order_feed
        assert feed is not None
        self.store = OrderStore(client, context.keys, 10)
        self.owner = OwnedOrders(self.claim, TOKEN, feed, OrderSync(SYMBOL, feed.rules), settings.orders)

    @staticmethod
    def id_of(micros: int) -> str:
        text = f"{micros:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:]}-0000-000100000020"

    async def event(
        self, kind: str, order_id: str, price: str, left: str, *, side: int = 1, after_us: int = 1_000_000,
        file: bool = True,
    ) -> bytes:  # fmt: skip
        """One event of the chain; `file`: whether it gets into the log."""
        self.now_us += after_us
        before, self.last_id = self.last_id, self.id_of(self.now_us)
        order = {"id_str": order_id, "order_type": side, "microtimestamp": str(self.now_us), "amount_str": left,
                 "price_str": price}  # fmt: skip
        data = msgspec.json.encode(
            {"data": order, "event": f"order_{kind}", "event_id": self.last_id, "pre_event_id": before}
        )
        if file:
            await self.file(data, self.now_us)
        return data

    async def file(self, data: bytes, micros: int) -> None:
        fields = {"data": data, "received": str(micros), "line": "a"}
        await self.client.xadd(KEYS.raw(SYMBOL, ORDERS), fields, id=f"{micros // 1000}-{micros}")

    async def rests(self, order_id: str = ICEBERG, price: str = "101.00") -> None:
        await self.event("created", order_id, price, PART)

    async def refill(self, times: int, order_id: str = ICEBERG) -> None:
        """Most of a part is taken, and the order has a whole one again: as of an iceberg of the exchange."""
        for _ in range(times):
            await self.event("changed", order_id, "101.00", LEFT)
            await self.event("changed", order_id, "101.00", PART, after_us=100)

    async def withdraw(self, order_id: str = ICEBERG) -> None:
        await self.event("deleted", order_id, "101.00", PART)

    async def seed(self) -> None:
        """REST tells the owner all orders: three of them make the level at 95 large."""
        await self.event("created", "1", "90.00", "1.00000000", side=0)
        await self.read()
        rows = [OrderChange("add", str(200 + at), "bid", f"{100 - at}.00", "1") for at in range(10)]
        rows += [OrderChange("add", f"30{number}", "bid", "95.00", "6") for number in range(2)]
        rows += [OrderChange("add", str(400 + at), "ask", f"{101 + at}.00", "1") for at in range(10)]
        self.owner.sync.on_seed(OrderSeed(self.now_us, rows))
        assert self.owner.sync.synced
        self.owner.proven = True

    async def read(self) -> None:
        """The owner folds what is new, and says how its book is."""
        last = self.owner.last_stream_id.decode()
        entries: Any = await self.client.xrange(KEYS.raw(SYMBOL, ORDERS), f"({last}")
        for entry in delivered(entries):
            self.owner.take(entry)
        await self.say()

    async def say(self) -> None:
        now = time.monotonic()
        self.owner.heard_at = now
        self.owner.read_until(now, end=True)
        await self.client.hset(KEYS.lease("orders", SYMBOL), mapping={"token": TOKEN, "owner": "orders-1"})
        status = self.owner.status("orders-1", now)
        await self.store.publish([OrdersPublication(SYMBOL, TOKEN, None, status)])
        state, ids = self.owner.checkpoint()
        await self.store.commit(SYMBOL, TOKEN, state, ids)


class Driven:
    """An owner of the analytics, which are asked to go round."""

    def __init__(self, worker: AnalyticsWorker, client: Redis, market: Market) -> None:
        self.worker = worker
        self.client = client
        self.market = market

    async def round(self) -> dict[str, str]:
        """One whole round, after the owner of the orders had one; what the hash says then."""
        await self.market.read()
        for _ in range(2):  # the first takes a book up that the second reads on
            for owned in self.worker.owned.values():
                owned.published_at = owned.orders_at = 0.0
                owned.analytics.check()
            self.worker._deadlines.set(" all", 0.0)
            await self.worker.step()
        found = await self.client.hgetall(KEYS.analytics(SYMBOL))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def show(self, second: int) -> None:
        """The published book of levels, with the wall."""
        bids = [(f"{100 - at}.00", "13" if at == 5 else "1") for at in range(10)]
        asks = [(f"{101 + at}.00", "1") for at in range(10)]
        ms = BEGAN_US // 1000 + second * 1000
        payload = encode_top(TopOfBook(SYMBOL, bids, asks, 1, ms, ms, BEGAN_US, ms * 1000, ms * 1000))
        await self.client.hset(KEYS.live_orderbook, SYMBOL, payload)
        await self.client.xadd(KEYS.book_top(SYMBOL), {"data": payload})

    async def events(self) -> list[tuple[str, str]]:
        entries: Any = await self.client.xrange(KEYS.analytics_events(SYMBOL))
        return [
            (event["kind"], event.get("order_id", ""))
            for _, fields in entries
            for event in json.loads(fields[b"data"])
        ]

    async def newest(self) -> dict[str, Any]:
        [(_, fields)] = await self.client.xrevrange(KEYS.analytics_events(SYMBOL), count=1)
        event: dict[str, Any] = json.loads(fields[b"data"])[-1]
        return event


@asynccontextmanager
async def worker_of(url: str, settings: Settings) -> AsyncIterator[AnalyticsWorker]:
    process = Process("analytics", settings, 0, url)
    worker = AnalyticsWorker(process)
    worker.ownership.safe = lambda claim: True  # type: ignore[method-assign]  # what is taken here is owned
    client: Any = process.client
    await client.hset(KEYS.lease("analytics", SYMBOL), mapping={"token": TOKEN, "owner": "analytics-1"})
    await worker.recover(Claim(worker._contexts[0], SYMBOL), TOKEN)
    yield worker
    await worker._reader_client.aclose()
    await client.aclose()
