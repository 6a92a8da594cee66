"""Rows a second through the PostgreSQL sink on one core, and the bytes that a row of each table takes.

.venv/bin/python bench/postgres.py [rows of each kind]
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from workers.bench.postgres_server import PostgresServer
from workers.postgres.worker import PostgresWorker
from workers.runtime.process import Process
from workers.settings.analytics import AnalyticsSettings
from workers.settings.postgres import PostgresSettings
from workers.settings.schema import FleetSettings, Settings
from workers.store.keys import Keys
from workers.store.server import find_server
from workers.venues.binance.settings import BinanceSettings

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
SYMBOLS = [f"S{number}USDT" for number in range(10)]
KEYS = Keys()
START = 1_790_035_200_000


def trade(symbol: str, number: int) -> tuple[str, str, dict[str, Any]]:
    ms = START + number * 37
    data = {
        "e": "aggTrade", "E": ms + 5, "a": number, "s": symbol, "p": f"{84000 + number % 977 / 10:.2f}",
        "q": f"{number % 613 / 1000:.3f}", "f": 3 * number, "l": 3 * number + 2, "T": ms, "m": number % 2 == 0,
    }  # fmt: skip
    fields = {"data": json.dumps(data), "received": ms * 1000 + 21_345, "line": "a"}
    return KEYS.raw(symbol, "aggTrade"), f"{ms}-{number}", fields


def bar(symbol: str, number: int) -> tuple[str, str, dict[str, Any]]:
    start = START + number * 100
    price = f"{84000 + number % 977 / 10:.2f}"
    fields = {
        "start": start, "revision": 0, "complete": 1, "reason": "", "last_update_time": start + 37, "open_price": price,
        "high_price": price, "low_price": price, "close_price": price, "volume": f"{number % 613 / 1000:.3f}",
        "quote_volume": f"{number % 9_999_999 / 100:.5f}", "buy_volume": "0.012", "trades_count": 4, "skipped_count": 0,
        "is_buyer_maker_count": 2, "first_trade_id": number, "last_trade_id": number, "first_agg_trade_id": number,
        "last_agg_trade_id": number,
    }  # fmt: skip
    return KEYS.bars(symbol, "100ms"), f"{start}-0", fields


def top(symbol: str, number: int) -> tuple[str, str, dict[str, Any]]:
    ms = START + number * 100
    places = range(number, number + 10)
    levels = [[f"{84000 + place % 977 / 10:.2f}", f"{place % 613 / 1000:.3f}"] for place in places]
    data = {"s": symbol, "b": levels, "a": levels, "u": 13_912_596_115_376 + number, "E": ms, "T": ms,
            "synced_at": START, "received": ms * 1000, "published": ms * 1000 + 8_000}  # fmt: skip
    return KEYS.book_top(symbol), f"{ms}-0", {"data": json.dumps(data)}


def event(symbol: str, number: int) -> tuple[str, str, dict[str, Any]]:
    ms = START + number * 100
    figures = {
        "quantity": number % 613 / 1000,
        "most": 0.7,
        "ratio": number % 977 / 97,
        "age_ms": 2000.0,
        "traded": 0.0,
    }
    told = {"kind": "wall_appeared", "side": "bid", "price": 84000 + number % 977 / 10, "time_us": ms * 1000}
    return KEYS.analytics_events(symbol), f"{ms}-0", {"data": json.dumps([{**told, "figures": figures}])}


async def feed(client: Any, make: Any) -> None:
    for first in range(0, COUNT // len(SYMBOLS), 2_000):
        pipe = client.pipeline(transaction=False)
        for number in range(first, min(first + 2_000, COUNT // len(SYMBOLS))):
            for symbol in SYMBOLS:
                key, stream_id, fields = make(symbol, 1_000_000 + number)
                pipe.xadd(key, fields, id=stream_id)
        await pipe.execute()


@contextmanager
def running_redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        socket = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", ""]
        binary = str(find_server(os.environ.get("PATH", "")))
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        while not socket.exists():
            time.sleep(0.01)
        try:
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait()


async def main() -> None:
    postgres = PostgresServer()
    postgres.start()
    try:
        with running_redis() as url:
            client: Any = Redis.from_url(url, protocol=2)
            settings = Settings(
                fleet=FleetSettings(lease_ms=600_000),
                venues={"usdm": BinanceSettings(market="usdm", symbols=SYMBOLS)},
                analytics=AnalyticsSettings(enabled=True),
                postgres=PostgresSettings(enabled=True, dsn=postgres.dsn),
            )
            process = Process("postgres", settings, 0, url)
            worker = PostgresWorker(process)
            await worker.ownership.share()
            await worker.ownership.recover_taken()
            await worker.writer.round()
            for table, make in (
                ("trades", trade),
                ("bars", bar),
                ("top_of_book", top),
                ("analytics_events", event),
            ):
                await feed(client, make)
                began, cpu = time.monotonic(), time.process_time()
                more = True
                while more or any(stream.chunks for stream in worker.streams.values()):
                    more = await worker.read()
                    await worker.writer.round()
                cpu, wall = time.process_time() - cpu, time.monotonic() - began
                [(rows, size, index)] = postgres.query(
                    f"SELECT (SELECT count(*) FROM {table}), sum(pg_relation_size(c.oid)), sum(pg_indexes_size(c.oid)) "
                    f"FROM pg_class c WHERE relname LIKE '{table}_20%' AND relkind = 'r'"
                )
                print(f"{table}: {rows:,} rows in {wall:.1f} s ({rows / wall:,.0f}/s), {rows / cpu:,.0f} a second of "
                      f"the worker's CPU; {size / rows:.0f} bytes a row, and {index / rows:.0f} of index")  # fmt: skip
            await process.client.aclose()
            await client.aclose()
            await worker.writer.close()
    finally:
        postgres.remove()


if __name__ == "__main__":
    asyncio.run(main())
