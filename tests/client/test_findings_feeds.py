"""Single orders and analytics as the client reads them live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.client import AnalyticsRecord, FleetClient, Gap, Number, OrdersTop, Withheld
from workers.model.level3 import top as level3
from workers.store.keys import ORDERS_GROUP, Keys

SYMBOL = "BTCUSD"
KEYS = Keys()
TOP, STATUS, LEASE = KEYS.orders_top(SYMBOL), KEYS.orders_status(SYMBOL), KEYS.lease(ORDERS_GROUP, SYMBOL)


@pytest.fixture
async def client(real_server: str) -> AsyncIterator[Any]:
    made: Any = Redis.from_url(real_server, protocol=2)
    await made.flushall()
    yield made
    await made.aclose()


async def say(client: Any, **status: str) -> None:
    seconds, micros = await client.time()
    await client.hset(STATUS, mapping={"told_ms": seconds * 1000 + micros // 1000, **status})


async def publish(client: Any, number: int, **fields: Any) -> None:
    first = [level3.TopOrder("77", "1.50", 5, True), level3.TopOrder("78", "1", -1, False)]
    level = level3.TopLevel("100.5", "9.50", 7, False, first)
    top = level3.OrdersTop(s=SYMBOL, published=number, **({"b": [level], "n": number} | fields))
    await client.xadd(TOP, {"data": level3.encode_orders_top(top)})


async def test_orders_begin_with_the_newest_and_are_withheld_with_the_reason(client: Any, real_server: str):
    await client.hset(LEASE, "owner", "orders-1")
    await say(client, state="synced")
    for number in (1, 2):
        await publish(client, number)
    async with FleetClient(real_server) as fleet, fleet.orders([SYMBOL]) as feed, asyncio.timeout(90):
        first = await anext(feed)
        assert isinstance(first, OrdersTop)
        assert (first.last_number, first.asks, first.bids[0].orders_count) == (2, [], 7)
        [head, second] = first.bids[0].first
        assert (str(first.bids[0].quantity), head.quantity) == ("9.50", Number("1.5"))
        assert (head.placed_us, second.placed_us, second.is_seen) == (5, None, False)
        token = feed.token
        await publish(client, 3)
        assert (await anext(feed)).last_number == 3  # type: ignore[union-attr]
        await say(client, state="broken", reason="a message is missing")
        await publish(client, 4, withheld="broken", b=[])
        assert await anext(feed) == Withheld(SYMBOL, "broken", "a message is missing")
        await client.xadd(TOP, {"what": "others wrote"})
        rubbish = await anext(feed)
        assert isinstance(rubbish, Gap)
        assert rubbish.reason == "undecodable"
        await publish(client, 5)
        assert (await anext(feed)).last_number == 5  # type: ignore[union-attr]
        await say(client, state="unreadable", reason="its key", updated="7")  # the top cannot be withdrawn
        assert await anext(feed) == Withheld(SYMBOL, "unreadable", "its key")
        await say(client, state="synced", reason="")
        assert (await anext(feed)).last_number == 5  # type: ignore[union-attr]
        await client.delete(LEASE)
        assert (await anext(feed)).state == "not owned"  # type: ignore[union-attr]
        await client.hset(LEASE, "owner", "orders-2")
        assert (await anext(feed)).last_number == 5  # type: ignore[union-attr]
        await client.hset(STATUS, "told_ms", 1)
        assert (await anext(feed)).state == "unheard"  # type: ignore[union-attr]
        await say(client)
        async with fleet.orders([SYMBOL], resume=token) as later:
            assert (await anext(later)).last_number == 5  # type: ignore[union-attr]


async def test_each_event_is_told_once_and_a_token_goes_on_after_it(client: Any, real_server: str):
    event = {"kind": "flicker", "side": "bid", "price": 9.5, "time_us": 7}
    key = KEYS.analytics_events(SYMBOL)
    for price in (1.0, 2.0):
        await client.xadd(key, {"data": json.dumps([{**event, "price": price}, {**event, "price": -price}])})
    async with FleetClient(real_server) as fleet, asyncio.timeout(90):
        async with fleet.analytics([SYMBOL], from_ms=1) as feed:
            found = [await anext(feed)]
            async with fleet.analytics([SYMBOL], from_ms=1, resume=feed.token) as again:
                assert (await anext(again)).event.price == 1.0, "an entry is done with its last event"  # type: ignore[union-attr]
            found.append(await anext(feed))
            assert all(isinstance(one, AnalyticsRecord) for one in found)
            assert [one.event.price for one in found] == [1.0, -1.0]  # type: ignore[union-attr]
            token = feed.token
        async with fleet.analytics([SYMBOL], resume=token) as later:
            assert (await anext(later)).event.price == 2.0  # type: ignore[union-attr]
            await anext(later)
            await client.xadd(key, {"data": "rubbish"})
            assert isinstance(await anext(later), Gap)
