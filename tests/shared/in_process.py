"""A whole fleet inside one test process: real sockets, a real server, the simulated exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
from redis.asyncio import Redis

from workers.alerts import worker as alerts
from workers.analytics import worker as analytics
from workers.books.worker import BookWorker
from workers.ingest.worker import IngestWorker
from workers.keeper.worker import Keeper
from workers.model.books.top_of_book import decode_top
from workers.model.trades.latest import decode_member
from workers.orders.worker import OrderWorker
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.tasks import end
from workers.settings.schema import BookSettings, FleetSettings, Settings, TradeSettings
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import Keys
from workers.store.log.streams import GroupReader
from workers.trades.worker import TradeWorker
from workers.venues.binance.settings import BinanceSettings

SYMBOLS = ["BTCUSDT", "SOLUSDT", "币安人生USDT"]
KEYS = Keys()
OWNERS: Mapping[str, type[BookWorker] | type[TradeWorker] | type[OrderWorker]] = {
    "books": BookWorker,
    "trades": TradeWorker,
    "orders": OrderWorker,
}
MAINS: Mapping[str, Callable[[Process], Awaitable[None]]] = {
    "alerts": alerts.main,
    "analytics": analytics.main,
}
"""Roles of which a test needs no more than that they run."""


class Fleet:
    """Workers of one fleet in this process, each with a name and a client of its own."""

    def __init__(
        self,
        exchange: SimulatedExchange,
        url: str,
        symbols: Sequence[str] = SYMBOLS,
        venue: Mapping[str, Any] | None = None,
    ) -> None:
        self.exchange = exchange
        self.url = url
        self.symbols = list(symbols)
        self.settings = Settings(
            fleet=FleetSettings(lease_ms=2500, heartbeat_ms=500),  # a busy machine must not cost a lease
            venues={
                "usdm": BinanceSettings(
                    market="usdm",
                    symbols=self.symbols,
                    websocket_url=f"{exchange.websocket_url}/usdm",
                    rest_url=f"{exchange.url}/usdm",
                    request_spacing_ms=20,
                    **(venue or {}),
                )
            },
            books=BookSettings(commit_ms=300, snapshot_delay_ms=600),
            trades=TradeSettings(repair_attempts=2, repair_for_s=0, repair_timeout_s=2),
        )
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.processes: dict[str, Process] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.workers: dict[str, BookWorker | TradeWorker | OrderWorker] = {}

    def be_patient(self) -> None:
        """Lose and withhold no book because this machine is busy: all workers, and who asks them, share a process."""
        self.settings.fleet.lease_ms = 10_000
        self.settings.books.behind_ms = 60_000

    def start(self, role: str, name: str, number: int = 0, processes: int = 1) -> None:
        process = Process(role, self.settings, number, self.url, processes)
        process.name = name
        self.processes[name] = process
        self.tasks[name] = asyncio.create_task(self._run(process, name))

    async def _run(self, process: Process, name: str) -> None:
        beat = asyncio.create_task(process._beat())
        try:
            if process.role.startswith("ingest"):
                await IngestWorker(process, process.role[-1]).run()
            elif process.role == "keeper":
                async with Sessions() as session:
                    await Keeper(process, session).run()
            elif process.role in MAINS:
                await MAINS[process.role](process)
            else:
                async with Sessions() as session:
                    worker = self.workers[name] = OWNERS[process.role](process, session)
                    await worker.run()
        finally:
            await end([beat])

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
        worker.ownership.share = worker.ownership.renew = nothing  # type: ignore[method-assign]  # should its loop outlive the cancellation
        task = self.tasks.pop(name)
        await end([task])

    async def until(self, what: Callable[[], Awaitable[bool]], seconds: float = 150) -> None:
        async with asyncio.timeout(seconds):
            while not await what():
                await asyncio.sleep(0.02)

    async def truth(self, what: str, symbol: str, **query: str) -> Any:
        """What really happened, as the exchange tells it."""
        url = f"{self.exchange.url}/control/truth/{what}"
        asked = {"market": "usdm", "symbol": symbol, **query}
        async with aiohttp.ClientSession() as session, session.get(url, params=asked) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def passed(self, *symbols: str) -> None:
        """Wait until the fold of the trades is beyond where the exchange stands now.

        What is lost at the very end of a stream shows only when something comes after it.
        """
        for symbol in symbols:
            next_id = (await self.truth("trades", symbol))["next_id"]

            async def beyond(symbol: str = symbol, next_id: int = next_id) -> bool:
                last = await self.client.hget(KEYS.trades_state(symbol), "last_id")
                return int(last or -1) >= next_id

            await self.until(beyond)

    async def all_shown(self) -> bool:
        return set(await self.client.hkeys("LIVE_ORDERBOOK")) == {symbol.encode() for symbol in self.symbols}

    async def owner(self, role: str, symbol: str) -> str:
        found = await self.client.hget(KEYS.lease(role, symbol), "owner")
        return found.decode() if found else ""

    async def snapshots(self) -> int:
        """Snapshots the books asked for and used since the start."""
        return sum([await self.client.xlen(KEYS.raw_snapshot(symbol)) for symbol in self.symbols])

    async def check_books(self) -> None:
        await self.until(self.all_shown)
        for symbol in self.symbols:
            top = decode_top(await self.client.hget("LIVE_ORDERBOOK", symbol))
            truth = await self.truth("book", symbol, u=str(top.u), depth="10")
            assert [list(level) for level in top.b] == truth["bids"], symbol
            assert [list(level) for level in top.a] == truth["asks"], symbol

    async def check_trades(self) -> None:
        for symbol in self.symbols:
            truth = [row["a"] for row in (await self.truth("trades", symbol))["trades"]]
            held = [
                decode_member(member, symbol, int(score)).agg_trade_id
                for member, score in await self.client.zrange(
                    KEYS.trades_latest(symbol), 0, -1, withscores=True
                )
            ]
            # the market may go on meanwhile: what is newer than all that is held is on its way
            truth = [number for number in truth if number <= max(held, default=0)]
            assert sorted(held) == truth[len(truth) - len(held) :], symbol
            assert len(held) == len(set(held))


@asynccontextmanager
async def fleet_of(
    real_server: str,
    *,
    symbols: Sequence[str] = SYMBOLS,
    venue: Mapping[str, Any] | None = None,
    rate_scale: float = 2.0,
    **sim: Any,
) -> AsyncIterator[Fleet]:
    """An exchange and an empty server; the workers are started by the test.

    Args:
        venue: settings of the venue's section beside those every test has.
        sim: settings of the exchange.
    """
    settings = SimSettings(port=0, usdm_symbols=tuple(symbols), spot_symbols=(), rate_scale=rate_scale, **sim)
    async with AsyncExitStack() as stack:
        exchange = await stack.enter_async_context(SimulatedExchange(settings))
        fleet = Fleet(exchange, real_server, symbols, venue)
        await fleet.client.flushall()  # the server is this test process's own
        yield fleet
        for process in fleet.processes.values():
            process.stop.set()
        if fleet.tasks:
            await asyncio.wait(fleet.tasks.values(), timeout=30)
        await end(fleet.tasks.values())
        for process in fleet.processes.values():
            await process.client.aclose()
        await fleet.client.aclose()


async def settle(fleet: Fleet) -> None:
    """Stop the exchange's clock and wait until everything sent is folded."""
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{fleet.exchange.url}/control/pause") as response:
            assert response.status == 200
        async with session.get(f"{fleet.exchange.url}/control/truth/summary") as response:
            sent = (await response.json())["markets"]["usdm"]

    async def arrived() -> bool:
        for symbol in fleet.symbols:
            newest = {"depth": sent[symbol]["update_id"]["last"]}
            if fleet.settings.venues["usdm"].trades != "none":
                newest["aggTrade"] = sent[symbol]["agg_trade_id"]["next"] - 1
            for channel, number in newest.items():
                entry = await fleet.client.xrevrange(KEYS.raw(symbol, channel), count=1)
                if entry and int(entry[0][0].partition(b"-")[2]) < number:
                    return False
        return True

    async def folded() -> bool:
        for symbol in fleet.symbols:
            for group, channel in (("books", "depth"), ("trades", "aggTrade")):
                key = KEYS.raw(symbol, channel)
                waiting, pending = await GroupReader(fleet.client, group).lag(key)
                if waiting or (pending and group == "trades"):
                    return False
            long_windows = await fleet.client.hget(KEYS.trades_state(symbol), "long_windows")
            if long_windows and not long_windows.endswith(b"|"):
                return False
        return True

    with suppress(TimeoutError):  # what came before the lines were there, or was lost, does not arrive
        await fleet.until(arrived, 3)
    await fleet.until(folded)
    await asyncio.sleep(0.3)
