"""The role `orders` and bad data: it costs its own symbol, and a stored book is shown once something has followed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from workers.model.level3.sync import OrderSync
from workers.model.level3.top import decode_orders_top
from workers.orders import book as book_module
from workers.orders.worker import OrderWorker
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.tasks import end
from workers.settings.loading import parse
from workers.store.keys import ORDERS, ORDERS_GROUP, Keys

KEYS = Keys()
GOOD, BAD = "BTCUSD", "XRPUSD"
LONGEST_S = 60.0
BEGAN_US = time.time_ns() // 1000
"""The time of the first event: just now, so that silence alone makes no book outdated."""
SETTINGS = """
[fleet]
lease_ms = 2500
heartbeat_ms = 500
[venues.bitstamp]
exchange = "bitstamp"
market = "all"
symbols = ["BTCUSD", "XRPUSD"]
orders = true
orders_seed = false
[orders]
commit_ms = 50
behind_ms = 60000
"""


class Role:
    """The owner of the orders, and a stream that is written by hand."""

    def __init__(self, url: str) -> None:
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.process = Process("orders", parse(SETTINGS, "a test", {}).settings, 0, url)
        self.counts = dict.fromkeys((GOOD, BAD), 0)

    async def tell(self, symbol: str, *, lose: int = 0, data: bytes | None = None) -> str:
        """Append an event that creates an order, after `lose` events that are not told; the id of the event."""
        self.counts[symbol] += lose
        before, number = self.counts[symbol], self.counts[symbol] + 1
        self.counts[symbol] = number
        ids = [f"{BEGAN_US + each:016x}" for each in (before, number)]
        before_id, event_id = (f"{text[:8]}-{text[8:12]}-{text[12:]}-0000-000100000020" for text in ids)
        order = {"id_str": str(number), "order_type": 0, "microtimestamp": str(BEGAN_US), "amount_str": "1.5",
                 "price_str": f"{100 + number}"}  # fmt: skip
        frame = {"data": order, "event": "order_created", "event_id": event_id, "pre_event_id": before_id}
        appending = self.client.xadd(
            KEYS.raw(symbol, ORDERS),
            {"data": data or msgspec.json.encode(frame), "received": str(BEGAN_US), "line": "a"},
            id=f"{BEGAN_US // 1000}-{number}",
        )
        if not isinstance(self.client, Pipeline):
            await appending
        return event_id

    async def shown(self, symbol: str) -> str:
        """The id at which the newest top stands; or `withheld: …`."""
        found = await self.client.xrevrange(KEYS.orders_top(symbol), count=1)
        top = decode_orders_top(found[0][1][b"data"]) if found else None
        if top is None:
            return ""
        return f"withheld: {top.withheld}" if top.withheld else top.u

    async def until(self, what: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(LONGEST_S):
            while not await what():
                await asyncio.sleep(0.02)

    async def shows(self, symbol: str, wanted: str) -> None:
        async def so() -> bool:
            return await self.shown(symbol) == wanted

        await self.until(so)


@asynccontextmanager
async def role(url: str) -> AsyncIterator[Role]:
    made = Role(url)
    beat = asyncio.create_task(made.process._beat())
    async with Sessions() as sessions:
        working = asyncio.create_task(OrderWorker(made.process, sessions).run())
        try:
            yield made
        finally:
            made.process.stop.set()
            await working
            await end([beat])
            await made.process.client.aclose()
            await made.client.aclose()


async def test_bad_data_costs_its_own_symbol_and_a_stored_book_is_shown_once_something_follows(
    spare_server: str,
):
    async with role(spare_server) as one:
        for symbol in (GOOD, BAD):
            await one.shows(symbol, await one.tell(symbol))
        await one.tell(BAD, data=b"{no event")
        await one.shows(BAD, "withheld: broken")
        await one.shows(BAD, await one.tell(BAD))
        await one.tell(GOOD, lose=1)
        await one.until(lambda: _lost(one, GOOD))
        gaps = await one.client.xrange(KEYS.gaps(GOOD))
        assert [fields[b"reason"] for _, fields in gaps] == [b"a message is missing"]
        last = await one.tell(GOOD)
        await one.shows(GOOD, last)
        await one.client.rename(KEYS.raw(BAD, ORDERS), "elsewhere")
        await one.client.set(KEYS.raw(BAD, ORDERS), "rubbish")
        await one.shows(BAD, "withheld: unreadable")
        await one.shows(GOOD, await one.tell(GOOD))
        await one.client.rename("elsewhere", KEYS.raw(BAD, ORDERS))
        await one.shows(BAD, await one.tell(BAD))
        counts = dict(one.counts)
    async with Redis.from_url(spare_server) as client:
        await client.set(KEYS.orders_checkpoint(BAD), "rubbish")
    async with role(spare_server) as two:
        two.counts = counts
        await two.shows(GOOD, "withheld: stale")
        await two.shows(BAD, "withheld: waiting")
        orders = int(await two.client.hget(KEYS.orders_status(GOOD), "orders"))
        assert orders >= 2, "the book is that of the owner before"
        for symbol in (GOOD, BAD):
            await two.shows(symbol, await two.tell(symbol))
        assert int(await two.client.hget(KEYS.orders_status(GOOD), "orders")) >= orders


async def test_an_entry_that_the_owner_before_was_given_costs_no_book(spare_server: str):
    async with role(spare_server) as one:
        await one.shows(GOOD, await one.tell(GOOD))

        async def stored() -> bool:
            return bool(await one.client.exists(KEYS.orders_checkpoint(GOOD)))

        await one.until(stored)
        # another one is given the next entry, as an owner is that is not gone yet
        async with one.client.pipeline(transaction=True) as pipe:
            one.client, real = pipe, one.client
            await one.tell(GOOD)
            pipe.xreadgroup(ORDERS_GROUP, "owner", {KEYS.raw(GOOD, ORDERS): ">"}, count=1)
            one.client = real
            await pipe.execute()
        await one.shows(GOOD, await one.tell(GOOD))
        status = await one.client.hgetall(KEYS.orders_status(GOOD))
        assert (status[b"lost"], status[b"syncs"], status[b"orders"]) == (b"0", b"1", b"3")
        assert not await one.client.exists(KEYS.gaps(GOOD))


async def test_a_book_that_cannot_be_stored_costs_its_own_symbol(
    spare_server: str, monkeypatch: pytest.MonkeyPatch
):
    real = book_module.encode_orders

    def encode(sync: OrderSync, stream_id: str) -> bytes:
        if sync.symbol == BAD and sync.synced:
            raise OverflowError("a number of 65 bits")
        return real(sync, stream_id)

    monkeypatch.setattr(book_module, "encode_orders", encode)
    async with role(spare_server) as one:
        for symbol in (BAD, GOOD):
            await one.tell(symbol)
        await one.until(lambda: _lost(one, BAD))
        await one.shows(GOOD, await one.tell(GOOD))
        assert await one.client.exists(KEYS.orders_checkpoint(GOOD))


async def test_a_top_that_cannot_be_written_is_said_and_costs_its_own_symbol(spare_server: str):
    async with role(spare_server) as one:
        for symbol in (GOOD, BAD):
            await one.shows(symbol, await one.tell(symbol))
        await one.client.set(KEYS.orders_top(BAD), "rubbish")

        async def said() -> bool:
            await one.tell(BAD)
            state, reason = await one.client.hmget(KEYS.orders_status(BAD), "state", "reason")
            return state == b"unreadable" and KEYS.orders_top(BAD).encode() in reason

        await one.until(said)
        await one.shows(GOOD, await one.tell(GOOD))
        await one.client.delete(KEYS.orders_top(BAD))
        await one.shows(BAD, await one.tell(BAD))


async def _lost(one: Role, symbol: str) -> bool:
    return int(await one.client.hget(KEYS.orders_status(symbol), "lost") or 0) >= 1
