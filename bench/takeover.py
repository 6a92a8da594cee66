"""Kill -9 of each role in turn while the fleet runs: how long until somebody else goes on, and what it cost.

    python bench/takeover.py [--symbols 50] [--seconds 60] [--json]

The whole fleet on its own server and the simulated exchange, with the product's default lease and heartbeat. Every
few seconds one worker is killed; it is started again after a pause, as supervisord would. Measured for each symbol
the dead worker owned: from the kill to the first book published (books) or the new owner's lease (trades). In the
end every book, trade and bar is compared with the exchange's truth, and the snapshots asked for are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from workers.cli.conformance.processes import Processes
from workers.cli.held import Held
from workers.cli.truth_source import TruthSource
from workers.cli.verification import Verification
from workers.configuration import load, redis_url
from workers.store.connection import connect

START_S = 90.0
VICTIMS = ("books-0", "trades-0", "ingest-a", "books-1", "trades-1", "ingest-b", "keeper")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_file(home: Path, symbols: list[str], exchange: int, api: int) -> Path:
    """The fleet's settings: defaults, but for where everything is."""
    path = home / "bench.toml"
    path.write_text(
        f'[fleet]\nhome = "{home}"\nlog_level = "info"\n'
        f"[redis]\nport = 0\n[api]\nport = {api}\n[keeper]\naudit_s = 0\n[streams]\nsnapshots = 100000\n"
        f'[venues.usdm]\nmarket = "usdm"\nsymbols = {json.dumps(symbols)}\nsnapshot_depth = 500\n'
        f'websocket_url = "ws://127.0.0.1:{exchange}/usdm"\nrest_url = "http://127.0.0.1:{exchange}/usdm"\n',
        encoding="utf-8",
    )
    return path


@contextlib.asynccontextmanager
async def running_fleet(
    symbols: list[str], **sim: Any
) -> AsyncIterator[tuple[Processes, Held, TruthSource, Redis]]:
    """The whole fleet as processes on the simulated exchange; everything is ended and removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="fleet-bench-"))
    exchange = free_port()
    file = settings_file(home, symbols, exchange, free_port())
    (home / "log").mkdir()
    os.environ["FLEET_CONFIG"] = str(file)
    settings = load(file, dict(os.environ)).settings
    processes = Processes(home, dict(os.environ))
    simulator = {
        "port": exchange,
        "usdm_symbols": symbols,
        "spot_symbols": [],
        "usdm_weight_limit": 2400,
        **sim,
    }
    processes.add_exchange("exchange", json.dumps(simulator))
    for role, number in (("redis", 0), ("keeper", 0), ("books", 0), ("books", 1), ("trades", 0), ("trades", 1),
                         ("ingest-a", 0), ("ingest-b", 0)):  # fmt: skip
        processes.add_role(role, number)
    client = connect(redis_url(settings))
    try:
        async with processes.watched(), TruthSource(f"http://127.0.0.1:{exchange}") as source:
            for program in processes.named(""):
                program.start()
            while not await source.ready():
                await asyncio.sleep(0.1)
            yield processes, Held(client, settings), source, client
    finally:
        await client.aclose()
        shutil.rmtree(home, ignore_errors=True)


async def takeover_times(held: Held, client: Redis, role: str, dead: str, killed_at: float) -> list[float]:
    """Seconds until each symbol of a dead worker was served again."""
    keys = held.contexts[0].keys
    waiting = {book.symbol for book in held.books if await held.owner(book, role) == dead}
    times = []
    while waiting and time.time() - killed_at < 30:
        for symbol in sorted(waiting):
            owner = await client.hget(keys.lease(role, symbol), "owner")  # type: ignore[misc]
            if owner is None or owner.decode() == dead:
                continue
            if role == "books":
                payload = await client.hget(keys.live_orderbook, symbol)  # type: ignore[misc]
                if payload is None or json.loads(payload)["published"] < killed_at * 1e6:
                    continue
            waiting.discard(symbol)
            times.append(time.time() - killed_at)
        await asyncio.sleep(0.02)
    return times + [float("inf")] * len(waiting)


async def bench(symbols: list[str], seconds: float) -> dict[str, Any]:
    """One run."""
    times: dict[str, list[float]] = {"books": [], "trades": []}
    async with running_fleet(symbols) as (processes, held, source, client):
        verification = Verification(held, source)
        stop = asyncio.Event()
        if not await verification.wait_until_synced(START_S, stop):
            return {"problems": [await verification._why(book) for book in verification.books]}
        running = asyncio.create_task(verification.run(seconds, stop))
        keys = held.contexts[0].keys

        async def snapshots() -> int:
            return sum([await client.xlen(keys.raw_snapshot(symbol)) for symbol in symbols])

        before = await snapshots()
        for name in VICTIMS:
            program = processes[name]
            role = name.partition("-")[0]
            dead = f"{name if role == 'ingest' else role}-{socket.gethostname()}-{program.pid}"
            program.signal(signal.SIGKILL)
            if role in times:
                times[role] += await takeover_times(held, client, role, dead, time.time())
            await asyncio.sleep(seconds / len(VICTIMS) * 0.6)
        await running
        await verification.finish()
        report = await verification.report()
        asked = await snapshots() - before
    measured = {
        role: {
            "symbols": len(found),
            "p50_s": round(statistics.median(found), 2),
            "p99_s": round(sorted(found)[int(len(found) * 0.99)], 2),
            "max_s": round(max(found), 2),
        }
        for role, found in times.items()
    }
    return {"takeover": measured, "snapshots_asked": asked, **report}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    symbols = [f"SIM{number:03d}USDT" for number in range(arguments.symbols)]
    result = asyncio.run(bench(symbols, arguments.seconds))
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["problems"] else 0)


if __name__ == "__main__":
    main()
