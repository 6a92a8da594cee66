"""A real trades worker at a steady rate: its CPU, the server's CPU, and whether it keeps up.

    python bench/trades_worker.py [--rate 30000] [--symbols 200] [--seconds 15] [--member json] [--server PATH]
                                  [--profile FILE]

A feeder, a process of its own with prepared commands, appends aggregate trades to the raw streams of all symbols as
ingest does, `--rate` a second in slices of 10 ms. This process is the worker: it takes leases, reads, decodes, folds
and acknowledges. After a run-in of three seconds are reported, for the seconds measured: trades applied a second, the
worker's and the server's CPU as a share of one core each, trades a call, and what was unread or unacknowledged at the
beginning and at the end: when it has not grown, the worker sustains the rate. Symbols are not alike: the busiest
gets twenty times the median, as on an exchange. The first line says how fast this machine is just now, the last ones
which commands took the server's time (`evalsha` has those of the script in it).
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import multiprocessing
import os
import random
import socket
import subprocess
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import redis as redis_sync
import uvloop
from apply_trades import empty_call_us, server_cpu_s

from workers.runtime.logs import configure_logging
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import FleetSettings, Settings, TradeSettings
from workers.store.keys import TRADES, Keys
from workers.store.server import find_server
from workers.trades.worker import TradeWorker
from workers.venues.binance.settings import BinanceSettings

KEYS = Keys()
SLICE_MS = 10
RUN_IN_S = 3.0
PREPARING_US = 40
"""Time allowed to prepare one command."""
FIRST_ID = 54_346_948_439


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def slices(symbols: list[str], rate: int, seconds: float, begin_ms: int) -> list[tuple[bytes, int]]:
    """The commands of each slice from a time on, and how many they are."""
    chance = random.Random(1)
    weights = [20 / (1 + position) ** 0.6 for position in range(len(symbols))]
    ids = dict.fromkeys(symbols, FIRST_ID)
    prices = {symbol: 10_000 + 5_000 * number for number, symbol in enumerate(symbols)}
    made = []
    for number in range(int(seconds * 1000 / SLICE_MS)):
        written = []
        for symbol in chance.choices(symbols, weights, k=rate * SLICE_MS // 1000):
            ids[symbol] += 1
            prices[symbol] += chance.choice((-1, 0, 0, 1))
            trade_id, price = ids[symbol], prices[symbol]
            ms = begin_ms + number * SLICE_MS
            data = (
                f'{{"e":"aggTrade","E":{ms + 40},"a":{trade_id},"s":"{symbol}","p":"{price // 100}.{price % 100:02d}",'
                f'"q":"{chance.randrange(1, 3000) / 1000:.3f}","nq":"0.030","f":{trade_id},"l":{trade_id},'
                f'"T":{ms},"m":{"true" if chance.random() < 0.5 else "false"},"st":1}}'
            )
            written.append(
                command(
                    b"XADD",
                    KEYS.raw(symbol, TRADES).encode(),
                    b"%d-%d" % (ms, trade_id),
                    b"data",
                    data.encode(),
                    b"received",
                    b"%d" % (ms * 1000 + 60_000),
                    b"line",
                    b"a",
                )
            )
        made.append((b"".join(written), len(written)))
    return made


def feed(path: str, symbols: list[str], rate: int, seconds: float, start: Barrier, trim: int) -> None:
    """The feeder's process."""
    # Trades must come when they are new: older ones find their windows closed by the clock.
    begin_ms = int(time.time() * 1000 + rate * seconds * PREPARING_US / 1000)
    made = slices(symbols, rate, seconds, begin_ms)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    if (early := begin_ms / 1000 - time.time()) < 0:
        raise SystemExit("This machine is too slow to prepare the trades in time.")
    time.sleep(early)
    start.wait()
    begin = time.monotonic()
    for number, (data, count) in enumerate(made):
        if (ahead := begin + number * SLICE_MS / 1000 - time.monotonic()) > 0:
            time.sleep(ahead)
        lines, written = 2 * count, data
        if number % 100 == 0:
            written += b"".join(
                command(b"XTRIM", KEYS.raw(symbol, TRADES).encode(), b"MAXLEN", b"~", b"%d" % trim)
                for symbol in symbols
            )
            lines += len(symbols)
        connection.sendall(written)
        while lines > 0:
            answer = connection.recv(1 << 20)
            if not answer or b"-ERR" in answer:
                raise SystemExit(f"The server refused: {answer[:200]!r}")
            lines -= answer.count(b"\n")
    connection.close()


def backlog(client: redis_sync.Redis, symbols: list[str]) -> int:
    """Entries not yet delivered and not yet acknowledged, over all symbols."""
    pipe = client.pipeline(transaction=False)
    for symbol in symbols:
        pipe.xinfo_groups(KEYS.raw(symbol, TRADES))
    return sum(
        int(group["pending"]) + int(group["lag"] or 0) for groups in pipe.execute() for group in groups
    )


async def measure(
    url: str, server: int, arguments: argparse.Namespace, symbols: list[str], start: Barrier
) -> None:
    settings = Settings(
        fleet=FleetSettings(log_level="error"),
        venues={"usdm": BinanceSettings(market="usdm", symbols=symbols)},
        trades=TradeSettings(member=arguments.member),
    )
    process = Process("trades", settings, 0, url)
    client = redis_sync.Redis.from_url(url, protocol=2)
    profile = cProfile.Profile() if arguments.profile else None
    worker: list[TradeWorker] = []

    async def run(it: Process) -> None:

        async with Sessions() as session:
            worker.append(TradeWorker(it, session))
            await worker[0].run()

    running = asyncio.create_task(process.serve(run))
    while not worker or len(worker[0].tapes) < len(symbols):
        await asyncio.sleep(0.1)
    await asyncio.to_thread(start.wait)  # the feeder has its commands ready
    await asyncio.sleep(RUN_IN_S)
    if profile:
        profile.enable()
    before = (
        worker[0]._applied,
        worker[0].batches,
        time.process_time(),
        server_cpu_s(server),
        time.monotonic(),
    )
    waiting_before = backlog(client, symbols)
    await asyncio.sleep(arguments.seconds)
    waiting = backlog(client, symbols)
    applied, calls, used, server_used, wall = (
        now - then
        for now, then in zip(
            (
                worker[0]._applied,
                worker[0].batches,
                time.process_time(),
                server_cpu_s(server),
                time.monotonic(),
            ),
            before,
            strict=True,
        )
    )
    if profile:
        profile.disable()
        profile.dump_stats(arguments.profile)
    print(
        f"{applied / wall:,.0f} trades/s applied of {arguments.rate:,}   worker {used / wall:.0%} of a core,"
        f" {used / applied * 1e6:.1f} us a trade   server {server_used / wall:.0%}, "
        f"{server_used / applied * 1e6:.1f} us a trade   {applied / calls:.1f} trades a call   unread or pending"
        f" {waiting_before:,} -> {waiting:,}"
    )
    spent = sorted(client.info("commandstats").items(), key=lambda item: -item[1]["usec"])[:6]
    for name, command_stats in spent:
        calls, usec = command_stats["calls"], command_stats["usec"]
        command_name = name.removeprefix("cmdstat_")
        print(f"  {command_name:12} {calls:10,} calls  {usec / 1e6:6.2f} s  {usec / calls:6.2f} us each")
    process.stop.set()
    await running
    await process.client.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=30_000)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--member", choices=("json", "packed"), default="json")
    parser.add_argument("--server", default="")
    parser.add_argument("--profile", default="")
    arguments = parser.parse_args()
    configure_logging("error", "json")
    symbols = [f"SIM{number:03d}USDT" for number in range(arguments.symbols)]
    binary = arguments.server or str(find_server(os.environ.get("PATH", "")))
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        path = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([binary, *options], cwd=folder, stdout=subprocess.DEVNULL)
        spawn = multiprocessing.get_context("spawn")
        start = spawn.Barrier(2)
        feeder = spawn.Process(
            target=feed,
            args=(path, symbols, arguments.rate, arguments.seconds + RUN_IN_S + 3, start, 20_000),
            daemon=True,
        )
        try:
            while not Path(path).exists():
                time.sleep(0.02)
            print(
                f"an empty script: {uvloop.run(empty_call_us(f'unix://{path}', server.pid)):.2f} us of server CPU"
            )
            feeder.start()
            uvloop.run(measure(f"unix://{path}", server.pid, arguments, symbols, start))
        finally:
            feeder.kill()
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    main()
