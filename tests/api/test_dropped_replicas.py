"""What a process follows on demand and drops again, while the work for it is under way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from workers.api.books import live as live_books
from workers.api.books.live import LiveBooks
from workers.api.http.markets import Markets
from workers.api.orders import live as live_orders
from workers.api.orders.live import LiveOrders, OrderReplica
from workers.api.server import Api
from workers.model.books.sync import SyncState
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.orders.rebuilding import OrderStatement
from workers.venues.binance.settings import BinanceSettings
from workers.venues.bitstamp.settings import BitstampSettings

SETTINGS = Settings(
    venues={
        "usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT"]),
        "bitstamp": BitstampSettings(symbols=["BTCUSD"], orders=True),
    }
)


class FollowedStreams:
    """A reader that reads nothing."""

    def __init__(self) -> None:
        self.followed: list[str] = []

    def every(self, _: float, __: Any) -> Any:
        return lambda: None

    def follow(self, key: str, _: Any, __: Any) -> None:
        self.followed.append(key)

    def leave(self, key: str) -> None:
        self.followed.remove(key)


async def test_a_book_that_is_asked_for_just_as_it_was_dropped_is_followed(real_server: str) -> None:
    process = Process("api", SETTINGS, 0, real_server)
    await process.client.flushall()
    served = Api(process)
    served.start()
    books, market = served.books, served.markets.named("BTCUSDT")
    first = books.replica(market)
    async with asyncio.timeout(60):
        while not first.asked_owner:
            await asyncio.sleep(0.01)
        task = books._rebuilding[market]  # goes on, as nothing is shown
        first.used_at = float("-inf")
        books._drop_idle()
        assert books.replica(market) is not first
        while books._rebuilding.get(market) in (None, task):
            await asyncio.sleep(0.01)
    await served.close()
    await process.client.aclose()


async def test_a_book_that_is_dropped_while_it_is_rebuilt_is_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader: Any = FollowedStreams()
    books, market = LiveBooks(None, reader, SETTINGS), Markets(SETTINGS).named("BTCUSDT")

    async def rebuilt(*_: Any, **__: Any) -> Any:
        del books._replicas[market]
        return SimpleNamespace(sync=SimpleNamespace(synced_at=1), state=SyncState.SYNCED, stream_id=b"1-1")

    monkeypatch.setattr(live_books, "rebuild", rebuilt)
    books.replica(market)
    await books._rebuilding[market]
    assert reader.followed == []


async def test_orders_that_are_dropped_while_they_are_rebuilt_are_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader: Any = FollowedStreams()
    orders, market = LiveOrders(None, reader, SETTINGS), Markets(SETTINGS).named("bitstamp:BTCUSD")
    replica = orders._replicas[market] = OrderReplica(market)
    replica.statement = OrderStatement({"state": "synced"}, "orders-1", 0)

    async def rebuilt(*_: Any) -> Any:
        del orders._replicas[market]
        return SimpleNamespace(continues=lambda _: True, stream_id=b"1-1")

    monkeypatch.setattr(live_orders, "rebuild_orders", rebuilt)
    await orders._rebuild(replica)
    assert reader.followed == []
