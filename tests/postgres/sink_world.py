"""Streams as the fleet writes them, workers that store them, and what must be in the database at the end."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from workers.bench.postgres_server import PostgresServer
from workers.postgres.worker import PostgresWorker
from workers.runtime.process import Process
from workers.runtime.tasks import end
from workers.settings.analytics import AnalyticsSettings
from workers.settings.postgres import PostgresSettings
from workers.settings.schema import FleetSettings, Settings
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

SYMBOL = "币安人生USDT"
KEYS = Keys()
MIDNIGHT = 1_790_035_200_000
assert MIDNIGHT % 86_400_000 == 0
RAW = KEYS.raw(SYMBOL, "aggTrade")


def trade(number: int, ms: int) -> tuple[str, dict[str, str]]:
    """The entry of a trade."""
    data = {
        "e": "aggTrade", "E": ms + 3, "s": SYMBOL, "a": number, "p": f"0.{number}0", "q": "1.50",
        "f": number * 2, "l": number * 2 + 1, "T": ms, "m": number % 2 == 0,
    }  # fmt: skip
    return f"{ms}-{number}", {"data": json.dumps(data), "received": str(ms * 1000 + 123), "line": "a"}


def bar(
    start: int, number: int, revision: int = 0, *, complete: bool = True, **fields: str
) -> dict[str, str]:
    """The fields of a bar."""
    made = {
        "start": start, "revision": revision, "complete": int(complete), "reason": "" if complete else "unproven",
        "last_update_time": start + 5, "open_price": "1.10", "high_price": "1.2", "low_price": "1.0",
        "close_price": "1.10", "volume": "12345678901234567890.12345678", "quote_volume": "0.0000000000000001",
        "buy_volume": "0", "trades_count": 1, "skipped_count": 0, "is_buyer_maker_count": 1, "first_trade_id": number,
        "last_trade_id": number, "first_agg_trade_id": number, "last_agg_trade_id": number,
    }  # fmt: skip
    return {name: str(value) for name, value in (made | fields).items()}


def figures(told_ms: int, **fields: str) -> dict[str, str]:
    """The fields of the analytics of a symbol whose book is shown."""
    made = {
        "state": "shown", "event_time": told_ms - 5, "told_ms": told_ms, "window_ms": 60_000, "spread": "0.1",
        "spread_bps": "0.011826682661579444", "mid": "84554.35", "microprice": "84554.32", "depth_imbalance": "0.21",
        "order_flow_imbalance": "-3.2", "liquidity": "0.83", "volatility": "1e-07", "vwap": "84551.07", "quote_bid": "",
        "quote_ask": "", "reservation": "", "walls": '[["bid",84550.0,12.5,9.1]]', "icebergs": "[]",
    }  # fmt: skip
    return {name: str(value) for name, value in (made | fields).items()}


def wall(price: float, **fields: Any) -> dict[str, Any]:
    """An event of analytics."""
    made = {"kind": "wall_appeared", "side": "ask", "price": price, "time_us": 1_000 * MIDNIGHT + 7}
    return {**made, "figures": {"quantity": 12.5, "most": 13.0}, **fields}


async def append(client: Any, first: int, last: int, ms: int = MIDNIGHT) -> None:
    """Trades of some ids, a millisecond apart."""
    pipe = client.pipeline(transaction=False)
    for number in range(first, last + 1):
        stream_id, fields = trade(number, ms + number)
        pipe.xadd(RAW, fields, id=stream_id)
    await pipe.execute()


async def one_of_each(client: Any) -> None:
    """A published book, a gap and an audit."""
    top = {
        "s": SYMBOL, "b": [["84554.30", "0.306"], ["84554.20", "0.301"]], "a": [["84554.40", "1.265"]], "u": 139125961,
        "E": 1795221125359, "T": 1795221125350, "synced_at": 1795221097946, "received": 1795221125363875,
        "published": 1795221125371703,
    }  # fmt: skip
    await client.xadd(KEYS.book_top(SYMBOL), {"data": json.dumps(top)})
    gap = {
        "channel": "depth",
        "from": 1,
        "to": 18446744073709551616,
        "reason": "tab\t, \\N and\nline",
        "repaired": "no",
    }
    await client.xadd(KEYS.gaps(SYMBOL), gap, id="1795221125000-3")
    audit = {"time": 1795221102146, "source": "snapshot", "outcome": "match", "u": 5, "snapshot_id": 4, "differing": 0,
             "compared": 2001, "low": "81791.60", "high": "inf", "waited_s": "1.636"}  # fmt: skip
    await client.xadd(KEYS.audit(SYMBOL), audit)


class Sink:
    """A database, a Redis, and the workers between them, in this process."""

    def __init__(self, url: str, postgres: PostgresServer, symbol: str = SYMBOL, **settings: Any) -> None:
        self.url = url
        self.postgres = postgres
        options = {"poll_ms": 5, "flush_ms": 5, "hole_wait_s": 0, **settings}
        self.settings = Settings(
            fleet=FleetSettings(lease_ms=3000, heartbeat_ms=300),
            venues={"usdm": BinanceSettings(market="usdm", symbols=[symbol])},
            analytics=AnalyticsSettings(enabled=True),
            postgres=PostgresSettings(enabled=True, dsn=postgres.dsn, **options),
        )
        self.client: Any = Redis.from_url(url, protocol=2)
        self.process: Process | None = None
        self.worker: PostgresWorker | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._started = 0

    def start(self) -> PostgresWorker:
        """Start a worker."""
        self._started += 1
        self.process = Process("postgres", self.settings, 0, self.url)
        self.process.name = f"postgres-{self._started}"
        self.worker = PostgresWorker(self.process)
        self._tasks = [
            asyncio.create_task(self.process._beat(), name="beat"),
            asyncio.create_task(self.worker.run(), name="sink"),
        ]
        return self.worker

    async def cut_off(self) -> None:
        """End the worker as it stands: nothing is stored or given back any more."""
        assert self.worker is not None
        self.worker.writer.run = None  # type: ignore[assignment,method-assign]
        for task in self._tasks:
            task.cancel()
        with suppress(BaseException):
            await self.worker.writer.close()
        await self.stop()

    async def stop(self) -> None:
        """End the worker orderly."""
        if self.process is None:
            return
        self.process.stop.set()
        with suppress(asyncio.CancelledError):
            await self._tasks[1]
        await end(self._tasks)
        with suppress(Exception):
            await self.process.registry.leave("postgres", self.process.name)
        await self.process.client.aclose()
        self.process = None

    async def close(self) -> None:
        """End everything."""
        await self.stop()
        await self.client.aclose()

    async def until(self, statement: str, wanted: Any, seconds: float = 60) -> None:
        """Wait until a statement's only value is the one wanted."""
        found: Any = None
        try:
            async with asyncio.timeout(seconds):
                while found != wanted:
                    with suppress(Exception):  # the table or the server may not be there yet
                        found = (await asyncio.to_thread(self.postgres.query, statement))[0][0]
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{statement}: {found!r} is not {wanted!r}") from None

    def ids(self) -> list[int]:
        """The ids of all trades stored, in order, each as often as it is there."""
        return [row[0] for row in self.postgres.query("SELECT trade_id FROM trades ORDER BY 1")]
