"""The channels `orders` and `analytics`: what owners publish, what becomes of it, and nothing asked for nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from workers.api.books.reader import Reader
from workers.api.http.markets import Market, Markets
from workers.api.live.analytics_topics import AnalyticsTopics
from workers.api.live.hub import Hub, Wanted
from workers.api.live.order_topics import OrderTopics
from workers.api.live.outlet import Outlet
from workers.api.live.trade_holes import TradeHoles
from workers.api.orders.live import LiveOrders
from workers.errors import NotKnown, OrdersNotServed
from workers.model.level3.top import OrdersTop, TopLevel, TopOrder, encode_orders_top
from workers.settings.schema import Settings
from workers.store.books.watch import Watch
from workers.store.keys import ANALYTICS_GROUP, ORDERS_GROUP, Keys
from workers.venues.binance.settings import BinanceSettings
from workers.venues.bitstamp.settings import BitstampSettings

SYMBOL = "BTCUSD"
SETTINGS = Settings(
    venues={
        "bitstamp": BitstampSettings(symbols=[SYMBOL], orders=True),
        "usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT"]),
    }
)
KEYS = Keys()
ORDERS = Wanted(channel="orders", symbols=[SYMBOL])
ANALYTICS = Wanted(channel="analytics", symbols=[SYMBOL])
E_US = 1_787_620_344_640_000


class Counting:
    """A client of Redis that counts round trips."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        return getattr(self._client, name)


async def nothing(_: Any) -> list[Any]:
    return []


class World:
    """A hub with both channels, and what owners write."""

    def __init__(self, client: Any, *, is_enabled: bool = True) -> None:
        self.client = client
        self.counting = Counting(client)
        self.reader = Reader(Watch(client), 1)
        markets = Markets(SETTINGS)
        families: Any = {
            "orders": OrderTopics(self.counting, self.reader),
            "analytics": AnalyticsTopics(self.counting, self.reader, 0.001, is_enabled=is_enabled),
        }
        books: Any = None
        holes = TradeHoles(client, self.reader.watch)
        self.hub = Hub(SETTINGS.api, markets, books, self.reader, nothing, holes, families)
        self.market: Market = markets.named(SYMBOL)

    async def own(self, group: str) -> None:
        await self.client.hset(KEYS.lease(group, SYMBOL), "owner", "somebody")

    async def say(self, **status: str | int) -> None:
        seconds, micros = await self.client.time()
        told = {"told_ms": seconds * 1000 + micros // 1000, **status}
        await self.client.hset(KEYS.orders_status(SYMBOL), mapping=told)

    async def publish(self, top: OrdersTop) -> None:
        await self.client.xadd(KEYS.orders_top(SYMBOL), {"data": encode_orders_top(top)})

    def hurry(self) -> None:
        """What is read every so often is read in the next round."""
        for poll in self.reader._polls:
            poll.due = 0.0

    async def told(self, outlet: Outlet) -> list[dict[str, Any]]:
        """What a client is sent next."""
        async with asyncio.timeout(60):
            while not outlet.waits:
                await self.reader.step()
                await asyncio.sleep(0.005)
        return [msgspec.json.decode(message) for message in await outlet.take()]


def top(quantity: str, number: int = 1) -> OrdersTop:
    orders = [TopOrder("77", quantity, E_US - 5_000_000, True), TopOrder("78", "1", -1, False)]
    level = TopLevel("100.5", "9.5", 7, False, orders)
    return OrdersTop(
        s=SYMBOL, b=[level], orders=12, whole=True, u="x", n=number, E=E_US, synced_at=3, published=1
    )


@pytest.fixture
async def world(real_server: str) -> AsyncIterator[World]:
    client: Any = Redis.from_url(real_server, protocol=2)
    await client.flushall()
    made = World(client)
    yield made
    await made.hub.close()
    await client.aclose()


async def test_the_newest_orders_come_first_and_a_slow_reader_gets_the_newest(world: World):
    await world.own(ORDERS_GROUP)
    await world.say(state="synced")
    for number in range(3):
        await world.publish(top(f"{number}.0", number))
    slow, late = world.hub.enter("ws"), world.hub.enter("ws")
    assert await world.hub.subscribe(slow, ORDERS) == ([f"bitstamp:{SYMBOL}"], {})
    [first] = await world.told(slow.outlet)
    assert (first["channel"], first["type"], first["last_number"], first["asks"]) == (
        "orders",
        "snapshot",
        2,
        [],
    )
    assert first["bids"] == [
        {
            "price": "100.5",
            "quantity": "9.5",
            "orders_count": 7,
            "is_complete": False,
            "orders": [
                {"id": "77", "quantity": "2.0", "placed_us": E_US - 5_000_000, "age_ms": 5000, "is_seen": True},
                {"id": "78", "quantity": "1", "placed_us": None, "age_ms": None, "is_seen": False},
            ],
        }
    ]  # fmt: skip
    for number in (3, 4):
        await world.publish(top("1", number))
        await world.reader.step()
    await world.hub.subscribe(late, ORDERS)
    for client in (slow, late):
        assert [one["last_number"] for one in await world.told(client.outlet)] == [4]


async def test_orders_that_are_withdrawn_or_that_nobody_vouches_for_are_told(world: World):
    await world.own(ORDERS_GROUP)
    await world.say(state="synced")
    await world.publish(top("1"))
    client = world.hub.enter("ws")
    await world.hub.subscribe(client, ORDERS)
    assert [one["type"] for one in await world.told(client.outlet)] == ["snapshot"]
    await world.say(state="broken", reason="a message is missing")
    await world.publish(OrdersTop(s=SYMBOL, withheld="broken", published=2))
    [gone] = await world.told(client.outlet)
    assert (gone["type"], gone["state"], gone["reason"]) == ("withheld", "broken", "a message is missing")
    await world.client.xadd(KEYS.orders_top(SYMBOL), {"what": "others wrote"})
    assert [one["state"] for one in await world.told(client.outlet)] == ["unreadable"]
    await world.publish(top("2", 5))
    assert [one["last_number"] for one in await world.told(client.outlet)] == [5]
    await world.say(
        state="unreadable", reason="its key", updated=7
    )  # which it cannot write where the top stands
    world.hurry()
    assert [(one["state"], one["reason"]) for one in await world.told(client.outlet)] == [
        ("unreadable", "its key")
    ]
    await world.say(state="synced", reason="")
    world.hurry()
    assert [one["type"] for one in await world.told(client.outlet)] == ["snapshot"]
    await world.client.delete(KEYS.lease(ORDERS_GROUP, SYMBOL))
    world.hurry()
    assert [one["state"] for one in await world.told(client.outlet)] == ["not owned"]
    await world.own(ORDERS_GROUP)
    world.hurry()
    assert [one["type"] for one in await world.told(client.outlet)] == ["snapshot"]
    await world.client.hset(KEYS.orders_status(SYMBOL), "told_ms", 1)
    world.hurry()
    assert [one["state"] for one in await world.told(client.outlet)] == ["unheard"]
    world.reader.heard_at = float("-inf")  # Redis has not answered for long
    for run in world.reader._after:
        run()
    [silent] = [msgspec.json.decode(message) for message in await client.outlet.take()]
    assert silent["reason"] == "Redis does not answer"


async def test_a_status_that_is_none_is_told_of_the_orders(world: World):
    await world.client.set(KEYS.orders_status(SYMBOL), "rubbish")
    orders = LiveOrders(world.client, world.reader, SETTINGS)
    asked = asyncio.create_task(orders.demand(world.market))
    async with asyncio.timeout(60):
        while not asked.done():
            await world.reader.step()
            await asyncio.sleep(0.005)
    with pytest.raises(OrdersNotServed, match="unreadable"):
        await asked
    await orders.close()


async def test_figures_come_as_they_change_and_events_each(world: World):
    await world.own(ANALYTICS_GROUP)
    event = {"kind": "wall_appeared", "side": "bid", "price": 9.5, "time_us": 7, "figures": {"ratio": 8.0}}
    await world.client.xadd(KEYS.analytics_events(SYMBOL), {"data": json.dumps([event])})
    figures = {
        "state": "shown",
        "event_time": 5,
        "told_ms": 6,
        "window_ms": 60_000,
        "mid": "9.75",
        "spread": "",
    }
    await world.client.hset(KEYS.analytics(SYMBOL), mapping={**figures, "walls": '[["bid",9.5,4.0,8.0]]'})
    client = world.hub.enter("ws")
    await world.hub.subscribe(client, ANALYTICS)
    [first] = await world.told(client.outlet)
    assert (first["type"], first["owner"], first["figures"]["mid"]) == ("figures", "somebody", 9.75)
    assert first["figures"]["spread"] is None
    assert first["figures"]["walls"] == [
        {"side": "bid", "price": 9.5, "quantity": 4.0, "ratio": 8.0, "orders": None}
    ]
    assert first["figures"]["level"] == 2
    for kind, order in (("wall_eaten", {}), ("iceberg_found", {"order_id": "777"})):
        await world.client.xadd(
            KEYS.analytics_events(SYMBOL), {"data": json.dumps([{**event, "kind": kind, **order}])}
        )
    await world.client.xadd(KEYS.analytics_events(SYMBOL), {"data": "rubbish"})
    told = await world.told(client.outlet)
    assert [(one["type"], one["event"]["kind"], one["event"]["order_id"]) for one in told] == [
        ("event", "wall_eaten", None),
        ("event", "iceberg_found", "777"),
    ], "what was told before the subscription is not told again"
    level3 = {"mid": "10", "level": "3", "icebergs": '[["ask",10.5,4.0,0.9,"777"]]'}
    await world.client.hset(KEYS.analytics(SYMBOL), mapping=level3)
    [now] = [one["figures"] for one in await world.told(client.outlet)]
    assert (now["mid"], now["level"], now["icebergs"][0]["order_id"]) == (10, 3, "777")
    await world.client.hset(KEYS.analytics(SYMBOL), "mid", "rubbish")
    assert [(one["type"], one["state"]) for one in await world.told(client.outlet)] == [
        ("withheld", "unreadable")
    ]
    await world.client.hset(KEYS.analytics(SYMBOL), "mid", "")
    await world.client.delete(KEYS.lease(ANALYTICS_GROUP, SYMBOL))
    last = (await world.told(client.outlet))[-1]
    while last.get("owner") is not None:
        last = (await world.told(client.outlet))[-1]
    assert (last["figures"]["mid"], last["figures"]["spread"]) == (None, None)


async def test_where_a_role_is_not_configured_the_channel_is_refused(world: World):
    client = world.hub.enter("ws")
    with pytest.raises(NotKnown) as refused:
        await world.hub.subscribe(client, Wanted(channel="orders", symbols=[SYMBOL, "usdm:BTCUSDT"]))
    assert refused.value.title == "Single orders of usdm are not followed"
    assert "those of binance are not followed" in refused.value.detail
    off = World(world.client, is_enabled=False)
    with pytest.raises(NotKnown) as refused:
        await off.hub.subscribe(off.hub.enter("ws"), ANALYTICS)
    assert refused.value.detail == "analytics.enabled = true in the settings"
    assert not client.topics


async def test_nothing_is_asked_while_nobody_follows(world: World):
    async def rounds() -> int:
        before = world.counting.asked
        for _ in range(20):
            world.hurry()
            await world.reader.step()
        return world.counting.asked - before

    client = world.hub.enter("ws")
    assert await rounds() == 0
    for wanted in (ORDERS, ANALYTICS):
        await world.hub.subscribe(client, wanted)
    assert await rounds() >= 2
    assert world.reader.streams == 2
    world.hub.leave(client)
    assert (await rounds(), world.reader.streams) == (0, 0)
