"""A fleet's Redis written by hand."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from workers.client.feed import Feed
from workers.model.books.checkpoint import encode_checkpoint
from workers.model.books.sequence import SequenceRule
from workers.model.books.sync import BookSync
from workers.model.events import DepthEvent, Snapshot
from workers.model.events import Trade as WireTrade
from workers.model.trades.latest import Member
from workers.store.keys import Keys
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore

S = "BTCUSDT"
KEYS = Keys()
T0 = 1_790_035_200_000


class World:
    """What the workers would have written."""

    def __init__(self, client: Any) -> None:
        self.redis = client
        self.published = 0

    async def own(self, symbol: str = S, keys: Keys = KEYS) -> None:
        await self.redis.hset(keys.lease("books", symbol), mapping={"owner": "w", "token": 1})

    def payload(self, u: int, symbol: str = S) -> bytes:
        self.published += 1
        row = {
            "s": symbol,
            "b": [["100.10", "1.50"], ["100.00", "2"]],
            "a": [["100.30", "0.5"]],
            "u": u,
            "E": T0,
        }
        row |= {
            "T": T0 - 1,
            "synced_at": T0 - 9,
            "received": T0 * 1000,
            "published": T0 * 1000 + self.published,
        }
        return json.dumps(row).encode()

    async def publish(self, u: int, symbol: str = S, keys: Keys = KEYS, kept: int = 600) -> None:
        payload = self.payload(u, symbol)
        await self.redis.hset(keys.live_orderbook, symbol, payload)
        await self.redis.xadd(
            keys.book_top(symbol), {"data": payload}, id=f"{T0}-{u}", maxlen=kept, approximate=False
        )

    async def withhold(self, state: str, reason: str, symbol: str = S) -> None:
        await self.redis.hset(KEYS.book_status(symbol), mapping={"state": state, "reason": reason})
        await self.redis.hdel(KEYS.live_orderbook, symbol)

    @staticmethod
    def trade(number: int, symbol: str = S) -> WireTrade:
        ms = T0 + number * 37
        return WireTrade(
            symbol, number, f"{100 + number % 7}.50", "0.250", number, number, ms, ms, number % 2 == 0
        )

    @staticmethod
    def wire(row: WireTrade) -> bytes:
        fields = {"e": "aggTrade", "E": row.event_time, "s": row.symbol, "a": row.trade_id, "p": row.price}
        fields |= {"q": row.quantity, "f": row.first_trade_id, "l": row.last_trade_id, "T": row.trade_time}
        return json.dumps({**fields, "m": row.is_buyer_maker}).encode()

    async def stream(self, *numbers: int, symbol: str = S) -> None:
        """Trades as a line appends them."""
        for number in numbers:
            row = self.trade(number, symbol)
            fields = {"data": self.wire(row), "received": 1, "line": "a"}
            await self.redis.xadd(KEYS.raw(symbol, "aggTrade"), fields, id=f"{row.trade_time}-{number}")

    async def fold(self, *numbers: int, symbol: str = S, member: Member = "json") -> None:
        """Trades as the fold applies them."""
        store = TradeStore(
            self.redis, KEYS, Scripts(self.redis), retention_ms=0, bar_retention={}, member=member
        )
        await store.apply(symbol, [("", self.trade(number, symbol)) for number in numbers])

    async def accept(self, first: int, last: int) -> None:
        """Trades that nobody has any more."""
        store = TradeStore(self.redis, KEYS, Scripts(self.redis), retention_ms=0, bar_retention={})
        await store.skip(S, first, last)


async def take(feed: Feed[Any], count: int, seconds: float = 60.0) -> list[Any]:
    """The next records of a feed; fails when they do not come."""
    async with asyncio.timeout(seconds):
        return [await anext(feed) for _ in range(count)]


async def lay_book(world: World) -> None:
    """A checkpoint at update id 10 and two events after it."""
    sync = BookSync(S, SequenceRule.FUTURES)
    sync.on_event(DepthEvent(S, 10, 10, 9, T0, T0, [], []), 0)
    sync.on_snapshot(Snapshot(S, 10, [("100.0", "1"), ("99.0", "2")], [("101.0", "3")], limit=2), 0)
    await world.redis.set(KEYS.book_checkpoint(S), encode_checkpoint(sync.checkpoint(f"{T0}-10")))
    for u, bids in ((11, [["100.5", "4"]]), (12, [["100.0", "0"]])):
        row = {
            "e": "depthUpdate",
            "E": T0 + u,
            "T": T0,
            "s": S,
            "U": u,
            "u": u,
            "pu": u - 1,
            "b": bids,
            "a": [],
        }
        await world.redis.xadd(
            KEYS.raw(S, "depth"), {"data": json.dumps(row), "received": 1}, id=f"{T0 + u}-{u}"
        )
    await world.own()
    await world.publish(12)
