"""Records a second of CPU through the Python client: tops of books, trades, bars.

    python bench/client.py [--records 20000]

Runs a server of its own, fills the streams of one symbol, and reads each from its beginning. CPU is this process's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.client import FleetClient
from workers.store.keys import TRADES, Keys
from workers.store.server import find_server

KEYS, SYMBOL = Keys(), "BTCUSDT"
T0 = 1_790_035_200_000
FIRST_ID = 54_346_948_439
BATCH = 1_000


def payload(number: int) -> bytes:
    """A published top of 10 levels a side."""
    sides = [[f"{84_560 + level}.{number % 100:02d}", f"{level}.{number % 1000:03d}"] for level in range(10)]
    row = {"s": SYMBOL, "b": sides, "a": sides, "u": number, "E": T0, "T": T0, "synced_at": T0}
    return msgspec.json.encode({**row, "received": T0 * 1000, "published": T0 * 1000 + number})


def message(number: int) -> bytes:
    """An aggTrade as a futures socket sends it."""
    row = {
        "e": "aggTrade",
        "E": T0 + number,
        "a": FIRST_ID + number,
        "s": SYMBOL,
        "p": "84551.10",
        "q": "0.030",
    }
    ids = {
        "nq": "0.030",
        "f": 2 * number,
        "l": 2 * number + 1,
        "T": T0 + number,
        "m": number % 2 == 0,
        "st": 1,
    }
    return msgspec.json.encode({**row, **ids})


def bar(number: int) -> dict[str, str | int]:
    """A closed window."""
    prices = {f"{name}_price": "84551.10" for name in ("open", "high", "low", "close")}
    sums = {"volume": "307.793", "quote_volume": "26024307.1242", "buy_volume": "144.842"}
    counts = dict.fromkeys(("trades_count", "skipped_count", "is_buyer_maker_count"), 916)
    ids = dict.fromkeys(
        ("first_trade_id", "last_trade_id", "first_agg_trade_id", "last_agg_trade_id"), FIRST_ID
    )
    head = {"start": T0 + number * 100, "revision": 0, "complete": 1, "last_update_time": T0}
    return {**head, **prices, **sums, **counts, **ids}


async def fill(client: Redis, records: int) -> None:
    """Write the streams."""
    for first in range(0, records, BATCH):
        pipe: Any = client.pipeline(transaction=False)
        for number in range(first + 1, first + BATCH + 1):
            pipe.xadd(KEYS.book_top(SYMBOL), {"data": payload(number)}, id=f"{T0 + number}-0")
            trade = {"data": message(number), "received": T0 * 1000, "line": "a"}
            pipe.xadd(KEYS.raw(SYMBOL, TRADES), trade, id=f"{T0 + number}-{FIRST_ID + number}")
            pipe.xadd(KEYS.bars(SYMBOL, "100ms"), bar(number), id=f"{T0 + number * 100}-0")
        await pipe.execute()


async def measure(url: str, records: int) -> None:
    """Read each stream once."""
    async with FleetClient(url) as fleet:
        feeds: dict[str, Any] = {
            "tops": fleet.books([SYMBOL], from_ms=T0),
            "trades": fleet.trades([SYMBOL], from_ms=T0 + 1),
            "bars": fleet.bars([SYMBOL], "100ms", from_ms=T0),
        }
        for name, feed in feeds.items():
            began = time.process_time()
            async with feed:
                for _ in range(records):
                    await anext(feed)
            print(f"{name:7} {records / (time.process_time() - began):>9,.0f} a second of CPU")


async def run(url: str, records: int) -> None:
    """Wait for the server, fill it, measure."""
    client = Redis.from_url(url, protocol=2)
    for _ in range(500):
        try:
            await client.ping()
            break
        except (RedisConnectionError, OSError):
            await asyncio.sleep(0.02)
    await fill(client, records)
    await client.aclose()
    await measure(url, records)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=20_000)
    records = -(-parser.parse_args().records // BATCH) * BATCH
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
        server = subprocess.Popen(
            [str(find_server(os.environ.get("PATH", ""))), *options], cwd=folder, stdout=subprocess.DEVNULL
        )
        try:
            uvloop.run(run(f"unix://{socket}", records))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
