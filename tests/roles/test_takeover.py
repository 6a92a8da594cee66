"""Owners come and go: books and trades go on from where the last owner stood, without asking the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from redis.asyncio import Redis

from workers.books.publisher import decode_top
from workers.books.worker import BookWorker
from workers.ingest.worker import IngestWorker
from workers.model.sync import SyncState
from workers.process import Process
from workers.settings import BookSettings, FleetSettings, Settings, VenueSettings
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import Keys
from workers.store.streams import GroupReader
from workers.trades.worker import TradeWorker

SYMBOLS = ["BTCUSDT", "SOLUSDT", "币安人生USDT"]
KEYS = Keys()


class Fleet:
    """Workers of one fleet in this process, each with a name and a client of its own."""

    def __init__(self, exchange: SimulatedExchange, url: str) -> None:
        self.exchange = exchange
        self.url = url
        self.settings = Settings(
            fleet=FleetSettings(lease_ms=600, heartbeat_ms=200),
            venues={
                "usdm": VenueSettings(
                    market="usdm",
                    symbols=SYMBOLS,
                    websocket_url=f"{exchange.websocket_url}/usdm",
                    rest_url=f"{exchange.url}/usdm",
                    request_spacing_ms=20,
                )
            },
            books=BookSettings(commit_ms=300, snapshot_delay_ms=600),
        )
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.processes: dict[str, Process] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.workers: dict[str, BookWorker | TradeWorker] = {}

    def start(self, role: str, name: str) -> None:
        process = Process(role, self.settings, 0, self.url)
        process.name = name
        self.processes[name] = process
        self.tasks[name] = asyncio.create_task(self._run(process, name))

    async def _run(self, process: Process, name: str) -> None:
        beat = asyncio.create_task(process._beat())
        try:
            if process.role.startswith("ingest"):
                await IngestWorker(process, process.role[-1]).run()
            else:
                async with aiohttp.ClientSession() as session:
                    kind = BookWorker if process.role == "books" else TradeWorker
                    worker = self.workers[name] = kind(process, session)
                    await worker.run()
        finally:
            beat.cancel()

    async def stop(self, name: str) -> None:
        """Ask a worker to stop, as SIGTERM does."""
        self.processes[name].stop.set()
        await self.tasks.pop(name)
        await self.processes[name].registry.leave(self.processes[name].role, name)

    async def crash(self, name: str) -> None:
        """End a worker without a last word: what it held in memory is gone, its lease runs out."""
        worker = self.workers.pop(name)

        async def nothing() -> None:
            return None

        worker.ownership.release_all = nothing  # type: ignore[method-assign]
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def until(self, what: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(20):
            while not await what():  # noqa: ASYNC110 -- the world outside has no event to wait for
                await asyncio.sleep(0.02)

    async def all_shown(self) -> bool:
        return set(await self.client.hkeys("LIVE_ORDERBOOK")) == {symbol.encode() for symbol in SYMBOLS}

    async def owner(self, role: str, symbol: str) -> str:
        found = await self.client.hget(KEYS.lease(role, symbol), "owner")
        return found.decode() if found else ""

    async def snapshots(self) -> int:
        """Snapshots the books asked for and used since the start."""
        return sum([await self.client.xlen(KEYS.raw_snapshot(symbol)) for symbol in SYMBOLS])

    async def check_books(self) -> None:
        for symbol in SYMBOLS:
            top = decode_top(await self.client.hget("LIVE_ORDERBOOK", symbol))
            url = f"{self.exchange.url}/control/truth/book"
            query = {"market": "usdm", "symbol": symbol, "u": str(top.u), "depth": "10"}
            async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
                truth = await response.json()
            assert [list(level) for level in top.b] == truth["bids"], symbol
            assert [list(level) for level in top.a] == truth["asks"], symbol

    async def check_trades(self) -> None:
        for symbol in SYMBOLS:
            url = f"{self.exchange.url}/control/truth/trades"
            query = {"market": "usdm", "symbol": symbol}
            async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
                truth = [row["a"] for row in (await response.json())["trades"]]
            held = [
                int(member.split(b'"agg_trade_id":')[1].split(b",")[0])
                for member in await self.client.zrange(KEYS.trades_latest(symbol), 0, -1)
            ]
            assert sorted(held) == truth[-len(held) :], symbol
            assert len(held) == len(set(held))


@asynccontextmanager
async def fleet_of(real_server: str, **sim: object) -> AsyncIterator[Fleet]:
    settings = SimSettings(port=0, usdm_symbols=SYMBOLS, spot_symbols=[], rate_scale=2.0, **sim)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        exchange = await stack.enter_async_context(SimulatedExchange(settings))
        fleet = Fleet(exchange, real_server)
        await fleet.client.flushall()  # the server is this test process's own
        yield fleet
        for task in fleet.tasks.values():
            task.cancel()
        await asyncio.gather(*fleet.tasks.values(), return_exceptions=True)
        for process in fleet.processes.values():
            await process.client.aclose()
        await fleet.client.aclose()


async def settle(fleet: Fleet) -> None:
    """Stop the exchange's clock and wait until everything sent is folded."""
    async with aiohttp.ClientSession() as session:
        await session.post(f"{fleet.exchange.url}/control/pause")

    async def folded() -> bool:
        for symbol in SYMBOLS:
            for group, channel in (("books", "depth"), ("trades", "aggTrade")):
                key = KEYS.raw(symbol, channel)
                waiting, pending = await GroupReader(fleet.client, group).lag(key)
                if waiting or (pending and group == "trades"):
                    return False
        return True

    await asyncio.sleep(0.3)
    await fleet.until(folded)
    await asyncio.sleep(0.3)


@pytest.mark.parametrize("how", ["crash", "stop"])
async def test_the_next_owner_goes_on_without_a_snapshot(real_server: str, how: str) -> None:
    async with fleet_of(real_server) as fleet:
        for role, name in (("ingest-a", "a"), ("books", "books-1"), ("trades", "trades-1")):
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)
        await asyncio.sleep(0.7)
        asked = await fleet.snapshots()
        assert asked == len(SYMBOLS)
        for old, new, role in (("books-1", "books-2", "books"), ("trades-1", "trades-2", "trades")):
            await (fleet.crash(old) if how == "crash" else fleet.stop(old))
            fleet.start(role, new)

        async def taken_over() -> bool:
            owners = {await fleet.owner(role, symbol) for role in ("books", "trades") for symbol in SYMBOLS}
            return owners == {"books-2", "trades-2"} and await fleet.all_shown()

        await fleet.until(taken_over)
        await asyncio.sleep(0.5)
        await settle(fleet)
        await fleet.check_books()
        await fleet.check_trades()
        assert await fleet.snapshots() == asked
        for symbol in SYMBOLS:
            status = await fleet.client.hgetall(KEYS.book_status(symbol))
            assert (status[b"gap_count"], status[b"sync_count"]) == (b"0", b"1")
            assert await fleet.client.exists(KEYS.gaps(symbol)) == 0


async def test_workers_that_join_share_the_symbols_and_nothing_is_lost(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        for role, name in (
            ("ingest-a", "a"),
            ("ingest-b", "b"),
            ("books", "books-1"),
            ("trades", "trades-1"),
        ):
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)
        fleet.start("books", "books-2")
        fleet.start("trades", "trades-2")

        async def shared() -> bool:
            for role in ("books", "trades"):
                owners = [await fleet.owner(role, symbol) for symbol in SYMBOLS]
                if sorted(map(owners.count, set(owners))) != [1, 2] or "" in owners:
                    return False
            return True

        await fleet.until(shared)
        await fleet.until(fleet.all_shown)
        await fleet.stop("books-1")

        async def all_of_two() -> bool:
            return {await fleet.owner("books", symbol) for symbol in SYMBOLS} == {"books-2"}

        await fleet.until(all_of_two)
        await fleet.until(fleet.all_shown)
        await settle(fleet)
        await fleet.check_books()
        await fleet.check_trades()
        assert await fleet.snapshots() == len(SYMBOLS)


async def test_entries_read_by_an_owner_that_was_gone_are_found_again(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("books", "books-1")
        await fleet.until(fleet.all_shown)
        zombie = GroupReader(fleet.client, "books")
        stolen = 0
        async with asyncio.timeout(10):
            while not stolen:
                found = await zombie.new([KEYS.raw("BTCUSDT", "depth")], 10)
                stolen = sum(len(entries) for entries in found.values())
        await asyncio.sleep(1.5)
        await fleet.until(fleet.all_shown)
        worker = fleet.workers["books-1"]
        assert isinstance(worker, BookWorker)
        assert worker.books[KEYS.raw("BTCUSDT", "depth")].sync.state is SyncState.SYNCED
        await settle(fleet)
        await fleet.check_books()
        assert await fleet.snapshots() == len(SYMBOLS)
        assert await fleet.client.exists(KEYS.gaps("BTCUSDT")) == 0
