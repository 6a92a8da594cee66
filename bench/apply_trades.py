"""Trades a second of server CPU through `apply_trades.lua`, and the client's CPU per trade.

    python bench/apply_trades.py [--trades 60000] [--server PATH] [--member json]

Runs a server of its own (the one a fleet would run, unless `--server` names another binary), fills a raw stream,
reads it into the group's pending list, then applies and acknowledges it in batches: all seven windows, their bars
and the latest set. Server CPU is read from the scheduler's statistics of its threads, so Linux only.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from workers.model.events import Trade
from workers.model.trades.latest import Member
from workers.store.keys import TRADES, Keys
from workers.store.scripts import Scripts
from workers.store.server import find_server
from workers.store.trades.fold import TradeStore

KEYS = Keys()
BEGIN_MS = 1_723_161_541_000
DAY_MS = 86_400_000
FIRST_ID = 54_346_948_439


def tape(
    symbol: str,
    count: int,
    spacing_ms: int,
    seed: int = 7,
    first_id: int = FIRST_ID,
    begin_ms: int = BEGIN_MS,
) -> list[Trade]:
    """Trades as a busy perpetual has them: a random walk of prices, `spacing_ms` apart on average."""
    chance = random.Random(seed)
    price, moment, raw, trades = 6_180_030, float(begin_ms), 2 * first_id, []
    for index in range(count):
        price += chance.choice((-1, 0, 0, 1))
        moment += chance.uniform(0, 2 * spacing_ms)
        wide = chance.choice((1, 1, 2, 3))
        trades.append(
            Trade(
                symbol=symbol,
                trade_id=first_id + index,
                price=f"{price // 100}.{price % 100:02d}",
                quantity=f"{chance.randrange(1, 3000) / 1000:.3f}",
                first_trade_id=raw,
                last_trade_id=raw + wide - 1,
                trade_time=int(moment),
                event_time=int(moment) + 150,
                is_buyer_maker=chance.random() < 0.5,
            )
        )
        raw += wide
    return trades


def server_cpu_s(process: int) -> float:
    """CPU seconds of all threads of a process so far."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


async def fill(client: Redis, symbol: str, trades: list[Trade]) -> list[bytes]:
    """Write the raw entries and make them pending; their ids."""
    raw, ids = KEYS.raw(symbol, TRADES), []
    for at in range(0, len(trades), 1000):
        pipe = client.pipeline(transaction=False)
        for trade in trades[at : at + 1000]:
            pipe.xadd(raw, {"data": b"x" * 200}, id=f"{trade.trade_time}-{trade.trade_id}")
        ids += await pipe.execute()
    await client.xgroup_create(raw, "trades", id="0")
    await client.xreadgroup("trades", "owner", {raw: ">"}, count=len(trades) + 1)
    return ids


async def measure(
    url: str, process: int, batch: int, spacing_ms: int, count: int, symbols: int, member: Member = "json"
) -> str:
    client = Redis.from_url(url, protocol=2, socket_timeout=None)
    await client.flushall()  # the server is this program's own
    bars = {"100ms": 10_000, "1m": 1440, "5m": 1440, "15m": 1440, "1h": 1440, "4h": 1440, "1d": 1440}
    store = TradeStore(
        client,
        KEYS,
        Scripts(client),
        retention_ms=DAY_MS,
        bar_retention=bars,
        member=member,
        long_windows_s=1.0,
    )
    names = [f"S{number}USDT" for number in range(symbols)]
    tapes = {}
    for number, name in enumerate(names):
        trades = tape(name, count // symbols, spacing_ms, seed=number)
        tapes[name] = list(zip(await fill(client, name, trades), trades, strict=True))
    server_before, client_before, wall_before = (
        server_cpu_s(process),
        time.process_time(),
        time.perf_counter(),
    )
    applied = 0
    for at in range(0, count // symbols, batch):
        results = await store.apply_many({name: tapes[name][at : at + batch] for name in names})
        for result in results.values():
            if isinstance(result, Exception):
                raise result
            applied += result.applied
    server_s, client_s = server_cpu_s(process) - server_before, time.process_time() - client_before
    wall_s = time.perf_counter() - wall_before
    await client.aclose()
    server_us, client_us = server_s / applied * 1e6, client_s / applied * 1e6
    return (
        f"{batch:5d} {spacing_ms:5d} ms {symbols:4d}   {applied / server_s:10,.0f} /s  {server_us:7.2f} us"
        f"   {client_us:7.2f} us   {applied / wall_s:10,.0f} /s"
    )


async def empty_call_us(url: str, process: int) -> float:
    """Server time of a script that does nothing: how fast this machine is."""
    client = Redis.from_url(url, protocol=2)
    sha = await client.script_load("return 1")
    pipe = client.pipeline(transaction=False)
    for _ in range(5_000):
        pipe.execute_command("EVALSHA", sha, 0)
    before = server_cpu_s(process)
    await pipe.execute()
    await client.aclose()
    return (server_cpu_s(process) - before) / 5_000 * 1e6


async def run(url: str, process: int, count: int, member: Member) -> None:
    print(f"an empty script: {await empty_call_us(url, process):.2f} us of server CPU")
    print("batch spacing symbols   server core   server/trade  client/trade   wall clock")
    for symbols, batches in ((1, (1, 10, 100, 500)), (50, (1, 10))):
        for spacing_ms in (5, 37):
            for batch in batches:
                trades = min(count, 6_000 * batch) if symbols == 1 else count
                print(await measure(url, process, batch, spacing_ms, trades, symbols, member), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=60_000)
    parser.add_argument("--server", default="")
    parser.add_argument("--member", choices=("json", "packed"), default="json")
    arguments = parser.parse_args()
    binary = arguments.server or str(find_server(os.environ.get("PATH", "")))
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        socket = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([binary, *options], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                time.sleep(0.02)
            uvloop.run(run(f"unix://{socket}", server.pid, arguments.trades, arguments.member))
        finally:
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    main()
