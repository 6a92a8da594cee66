"""Rows a second through the archive role, the export and the comparison with an official file, on one core.

.venv/bin/python bench/archive.py [trades]
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from workers.archive.files.storage import storage_of
from workers.archive.worker import ArchiveWorker
from workers.cli.application import main
from workers.runtime.process import Process
from workers.settings.archive import ArchiveSettings
from workers.settings.schema import FleetSettings, Settings
from workers.store.server import find_server
from workers.venues.binance.settings import BinanceSettings

SYMBOL = "BTCUSDT"
START = 1_790_035_200_000
COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000


async def feed(client: Any, from_id: int, count: int) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(from_id, from_id + count):
        ms = START + number * 37
        row = {
            "e": "aggTrade", "E": ms + 5, "a": number, "s": SYMBOL, "p": f"{84000 + number % 977 / 10:.2f}",
            "q": f"{number % 613 / 1000:.3f}", "f": 3 * number, "l": 3 * number + 2, "T": ms, "m": number % 2 == 0,
        }  # fmt: skip
        fields = {"data": json.dumps(row), "received": ms * 1000 + 21_345, "line": "a"}
        pipe.xadd(f"raw:{{{SYMBOL}}}:aggTrade", fields, id=f"{ms}-{number}", maxlen=400_000, approximate=True)
    await pipe.execute()


async def archive(url: str, home: Path) -> None:
    settings = Settings(
        fleet=FleetSettings(home=str(home), lease_ms=600_000),
        venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])},
        archive=ArchiveSettings(kinds=["trades"]),
    )
    client: Any = Redis.from_url(url, protocol=2)
    process = Process("archive", settings, 0, url)
    worker = ArchiveWorker(process, storage_of(settings.archive.url, home))
    await worker.ownership.share()
    await worker.ownership.recover_taken()
    spent = cpu = 0.0
    for first in range(0, COUNT, 20_000):
        await feed(client, first, 20_000)
        began, began_cpu = time.perf_counter(), time.process_time()
        while await worker.step():
            pass
        spent += time.perf_counter() - began
        cpu += time.process_time() - began_cpu
        await worker.ownership.share()
        await worker.ownership.recover_taken()
    began, began_cpu = time.perf_counter(), time.process_time()
    process.stop.set()
    await worker.run()
    spent += time.perf_counter() - began
    cpu += time.process_time() - began_cpu
    files = list((home / "archive").rglob("*.parquet"))
    size = sum(path.stat().st_size for path in files)
    print(f"archive: {COUNT / spent:,.0f} rows/s ({COUNT / cpu:,.0f}/s of CPU), {len(files)} files, "
          f"{size / COUNT:.1f} bytes a row")  # fmt: skip
    await process.client.aclose()
    await client.aclose()


def timed(name: str, *arguments: str) -> None:
    began = time.process_time()
    code = main(list(arguments))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name}: {COUNT / (time.process_time() - began):,.0f} rows/s of CPU, code {code}, peak {peak} MB")


def run() -> None:
    with tempfile.TemporaryDirectory() as folder:
        socket, home = Path(folder) / "redis.sock", Path(folder) / "home"
        server = subprocess.Popen(
            [str(find_server(os.environ["PATH"])), "--port", "0", "--unixsocket", str(socket), "--save", ""],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket.exists():
                time.sleep(0.05)
            os.environ |= {"REDIS_URL": f"unix://{socket}", "FLEET_HOME": str(home)}
            asyncio.run(archive(f"unix://{socket}", home))
            csv = Path(folder) / "trades.csv"
            for form in ("csv", "parquet"):
                out = str(csv.with_suffix(f".{form}"))
                timed(
                    f"export {form}",
                    "export",
                    "--kind",
                    "trades",
                    "--symbol",
                    SYMBOL,
                    "--source",
                    "archive",
                    "-o",
                    out,
                )
            official = Path(folder) / f"{SYMBOL}-aggTrades-2026-09.csv"
            with csv.open() as rows, official.open("w") as file:
                next(rows)
                for line in rows:
                    _, _, trade_id, price, quantity, first, last, time_ms, _, maker, *_ = line.split(",")
                    file.write(f"{trade_id},{price},{quantity},{first},{last},{time_ms},{maker}\n")
            timed("verify", "verify-archive", str(official), "--source", "archive")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    run()
