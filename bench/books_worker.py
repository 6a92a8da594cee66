"""A real books worker at steady rates: its CPU and the server's for 1,000 events, its commands and rounds.

    python bench/books_worker.py [--rates 172,3500,10000] [--symbols 20] [--seconds 8] [--server PATH] [--profile FILE]
                                 [--backlog EVENTS | --rounds 1,5,50,1000]

A rate is messages a second as `fleet bench` sends them, of which three in five are depth events; only those are
appended, to all symbols in turn, by a process of its own with prepared commands: one by one up to 1,000 a second,
beyond that in slices of 2 ms. The books begin in sync, by checkpoints made beforehand, with 1,200 levels a side, and
an event changes five levels a side. This process is the worker, history and checkpoints included. After a run-in are
reported, for the seconds measured: CPU of this process and of the server (the appends included), Redis commands
without those that scripts run, rounds, and from arrival, or the end of the pause of `books.publish_ms` where that is
later, to publication: the median and the 99th percentile. `--backlog`: instead, so many events lie there already;
what folding one costs.

`--rounds`: instead, so many events come at once, in one transaction, every 10 ms, or as far apart as keeps them below
10,000 a second; then the pure model folds as many of the same frames with the same pauses, in this process, and gives
its top 10 as often as the role published: decode, sync, order book. What the role costs by CPU time is told in
multiples of that; and of the pure model without pauses, whose caches are warm.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import multiprocessing
import os
import socket
import subprocess
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import redis as redis_sync
import uvloop
from apply_trades import server_cpu_s
from prometheus_client import Counter
from trades_worker import command

from workers.bench.tape import Tape, names, tapes, update_id
from workers.books.publishing import PUBLISHED
from workers.books.worker import BookWorker
from workers.model.books.checkpoint import encode_checkpoint
from workers.model.books.sync import BookSync
from workers.model.books.top_of_book import TOP_LEVELS, TopOfBook, decode_top, encode_top
from workers.model.events import Snapshot
from workers.runtime.logs import configure_logging
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.rounds import ROUNDS
from workers.settings.schema import BookSettings, FleetSettings, Settings
from workers.store.keys import BOOKS_GROUP, DEPTH, Keys
from workers.store.server import find_server
from workers.venues.binance.settings import BinanceSettings
from workers.venues.registry import venue_of

KEYS = Keys()
ONE_BY_ONE = 1_000
PUBLISH_MS = 100
DEPTH_SHARE = 0.6
"""Of the messages of `fleet bench`, the depth events."""
SLICE_S = 0.002
PAUSE_S, MOST_A_SECOND = 0.01, 10_000
RUN_IN_S = 3.0
SPOT = BinanceSettings(market="spot", symbols=["SIM000USDT"])


def event(tape: Tape, number: int, ms: int) -> bytes:
    """An event as ingest finds it in its frame."""
    frame = tape.depth_frame(number, ms)
    return frame[frame.index(b'"data":') + 7 : -1]


def append(tape: Tape, number: int) -> bytes:
    """The command that appends an event now."""
    now_us = time.time_ns() // 1000
    return command(
        b"XADD", KEYS.raw(tape.symbol, DEPTH).encode(), b"%d-%d" % (now_us // 1000, update_id(number + 1)),
        b"data", event(tape, number, now_us // 1000), b"received", b"%d" % now_us, b"line", b"a",
    )  # fmt: skip


def synced(tape: Tape, now_ms: int) -> BookSync:
    """The book in sync at its first event."""
    sync = venue_of("spot", SPOT).book_rule.sync(tape.symbol, two_snapshots=False)
    bids, asks = tape.book(0)
    sync.on_snapshot(Snapshot(tape.symbol, update_id(0), bids, asks, limit=5_000), now_ms)
    sync.on_event(venue_of("spot", SPOT).depth(event(tape, 0, now_ms), tape.symbol, "update"), now_ms)
    return sync


def seed(client: redis_sync.Redis, tape: Tape) -> None:
    """The book in sync, and its log with a group."""
    now_ms = int(time.time() * 1000)
    sync = synced(tape, now_ms)
    key = KEYS.raw(tape.symbol, DEPTH)
    place = f"{now_ms}-{update_id(1)}"
    client.xadd(key, {"data": event(tape, 0, now_ms), "received": now_ms * 1000, "line": "a"}, id=place)
    client.xgroup_create(key, BOOKS_GROUP, id=place)
    client.set(KEYS.book_checkpoint(tape.symbol), encode_checkpoint(sync.checkpoint(place)))


def exchange(connection: socket.socket, written: bytes, lines: int) -> None:
    """Send commands and read their replies, two lines each."""
    connection.sendall(written)
    while lines > 0:
        answer = connection.recv(1 << 20)
        if not answer or b"-ERR" in answer:
            raise SystemExit(f"The server refused: {answer[:200]!r}")
        lines -= answer.count(b"\n")


def feed(path: str, symbols: int, rate: float, start: Barrier) -> None:
    """The feeder's process: events until it is ended."""
    made = tapes(names(symbols))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    slice_s = max(SLICE_S, 1 / rate) if rate > ONE_BY_ONE else 1 / rate
    start.wait()
    begin, sent, number = time.monotonic(), 0, 0
    while True:
        number += 1
        if (ahead := begin + number * slice_s - time.monotonic()) > 0:
            time.sleep(ahead)
        due = int(number * slice_s * rate)
        turns = [divmod(turn, symbols) for turn in range(sent, due)]
        if turns:
            exchange(connection, b"".join(append(made[at], 1 + cycle) for cycle, at in turns), 2 * len(turns))
        sent = due
        if number % max(1, int(1 / slice_s)) == 0:
            keys = [KEYS.raw(tape.symbol, DEPTH).encode() for tape in made]
            trims = [command(b"XTRIM", key, b"MAXLEN", b"~", b"20000") for key in keys]
            exchange(connection, b"".join(trims), len(trims))


def pause_of(events: int) -> float:
    """Seconds between two transactions of so many events."""
    return max(PAUSE_S, events / MOST_A_SECOND)


def feed_at_once(path: str, symbols: int, events: int, start: Barrier) -> None:
    """The feeder's process: so many events in one transaction after each pause, until it is ended."""
    made = tapes(names(symbols))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    start.wait()
    begin, pause_s, number = time.monotonic(), pause_of(events), 0
    while True:
        turns = [divmod(turn, symbols) for turn in range(number * events, (number + 1) * events)]
        number += 1
        if (ahead := begin + number * pause_s - time.monotonic()) > 0:
            time.sleep(ahead)
        written = b"".join(append(made[at], 1 + cycle) for cycle, at in turns)
        # OK, a QUEUED each, the count of replies, two lines each
        exchange(connection, command(b"MULTI") + written + command(b"EXEC"), 3 * events + 2)
        if number % max(1, 20_000 // events) == 0:
            keys = [KEYS.raw(tape.symbol, DEPTH).encode() for tape in made]
            exchange(
                connection,
                b"".join(command(b"XTRIM", key, b"MAXLEN", b"~", b"20000") for key in keys),
                symbols,
            )


def model_us(symbols: int, events: int, per_top: float, pause_s: float, total: int) -> float:
    """CPU of the pure model an event, where so many events come at once.

    Args:
        per_top: events a publication.
    """
    made = tapes(names(symbols))
    now_ms = int(time.time() * 1000)
    syncs = [synced(tape, now_ms) for tape in made]
    venue, used, tops, turn = venue_of("spot", SPOT), 0.0, 0, 0
    while turn < total:
        turns = [divmod(number, symbols) for number in range(turn, turn + events)]
        turn += events
        batch = [(syncs[at], made[at].symbol, event(made[at], 1 + cycle, now_ms)) for cycle, at in turns]
        time.sleep(pause_s)
        began = time.process_time()
        for sync, symbol, data in batch:
            sync.on_event(venue.depth(data, symbol, "update"), now_ms)
        while tops < turn / per_top:
            bids, asks = syncs[tops % symbols].book.top(TOP_LEVELS)
            encode_top(TopOfBook("", bids, asks, 0, 0, 0, 0, 0, 0))
            tops += 1
        used += time.process_time() - began
    return used / turn * 1e6


def counted(counter: Counter) -> float:
    """What a counter stands at, all its labels together."""
    samples = [sample for metric in counter.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


def commands(client: redis_sync.Redis) -> dict[str, int]:
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}


def delays_ms(client: redis_sync.Redis, symbols: list[str], since_ms: int) -> list[float]:
    """From arrival, or the end of the pause of `publish_ms` where that is later, to publication."""
    found = []
    for symbol in symbols:
        may_at = 0
        entries: Any = client.xrange(KEYS.book_top(symbol), min=since_ms)
        for _, fields in entries:
            top = decode_top(fields[b"data"])
            found.append((top.published - max(top.received, may_at)) / 1000)
            may_at = top.published + PUBLISH_MS * 1000
    return sorted(found)


def settings_of(symbols: list[str]) -> Settings:
    return Settings(
        fleet=FleetSettings(log_level="error"),
        venues={"spot": BinanceSettings(market="spot", symbols=symbols)},
        books=BookSettings(two_snapshots=False, refresh_below=0, publish_ms=PUBLISH_MS),
    )


async def measure(
    url: str, server: int, arguments: argparse.Namespace, load: float, start: Barrier | None
) -> None:
    symbols = names(arguments.symbols)
    process = Process("books", settings_of(symbols), 0, url)
    client = redis_sync.Redis.from_url(url, protocol=2)
    worker: list[BookWorker] = []

    async def run(it: Process) -> None:
        async with Sessions() as session:
            worker.append(BookWorker(it, session))
            await worker[0].run()

    def folded() -> int:
        return sum(book.applied for book in worker[0].books.values())

    profile = cProfile.Profile(time.process_time) if arguments.profile else None
    used_before = time.process_time()
    running = asyncio.create_task(process.serve(run))
    while not worker or len(worker[0].books) < len(symbols):
        await asyncio.sleep(0.02)
    if start is None:
        while folded() < arguments.backlog:
            await asyncio.sleep(0.02)
        spent = time.process_time() - used_before
        print(f"backlog of {arguments.backlog:,}: {spent / arguments.backlog * 1e6:.1f} us of CPU an event")
    else:
        await asyncio.to_thread(start.wait)
        await asyncio.sleep(RUN_IN_S)
        if profile:
            profile.enable()
        since_ms = int(time.time() * 1000)
        client.config_resetstat()

        def numbers() -> tuple[float, ...]:
            return (
                folded(),
                time.process_time(),
                server_cpu_s(server),
                time.monotonic(),
                counted(ROUNDS),
                counted(PUBLISHED),
            )

        before = numbers()
        await asyncio.sleep(arguments.seconds)
        events, used, served, wall, went_round, published = (
            now - then for now, then in zip(numbers(), before, strict=True)
        )
        if profile:
            profile.disable()
            profile.dump_stats(arguments.profile)
        calls = commands(client)
        ours = {name: calls.get(name, 0) for name in ("xread", "xreadgroup", "evalsha")}
        delays = delays_ms(client, symbols, since_ms)
        middle, last = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
        what = f"{load:5.0f} at once" if arguments.rounds else f"{load / DEPTH_SHARE:7,.0f} msg/s"
        print(
            f"{what}: {events / wall:7,.0f} events/s   worker {used / wall:6.1%}, "
            f"{used / events * 1e6:6.0f} us an event   server {served / wall:6.1%}, {served / events * 1e6:5.0f} us"
            f"   {went_round / wall:5.0f} rounds/s   "
            + "  ".join(f"{name} {count / wall:.0f}/s" for name, count in ours.items())
            + f"   published after {middle:.1f} / {last:.1f} ms"
        )
        if arguments.rounds:
            symbols, role_us, tops = arguments.symbols, used / events * 1e6, events / published
            paused = model_us(symbols, int(load), tops, pause_of(int(load)), int(events))
            warm = model_us(symbols, int(load), tops, 0.0, 20_000)
            print(
                f"{what}: role {role_us:.1f} us an event, of {tops:.1f} events a publication; pure model "
                f"{paused:.1f}, {role_us / paused:.2f} times; without pauses {warm:.1f}, {role_us / warm:.2f} times"
            )
    process.stop.set()
    await running
    await process.client.aclose()


def one_load(binary: str, arguments: argparse.Namespace, load: float) -> None:
    """Measure one rate of events, or number of them at once, on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        path = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([binary, *options], cwd=folder, stdout=subprocess.DEVNULL)
        spawn = multiprocessing.get_context("spawn")
        start = spawn.Barrier(2)
        feeding: Any = feed_at_once if arguments.rounds else feed
        given = (path, arguments.symbols, int(load) if arguments.rounds else load, start)
        feeder = spawn.Process(target=feeding, args=given, daemon=True)
        try:
            while not Path(path).exists():
                time.sleep(0.02)
            client = redis_sync.Redis.from_url(f"unix://{path}", protocol=2)
            made = tapes(names(arguments.symbols))
            for tape in made:
                seed(client, tape)
            if arguments.backlog:
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(path)
                for turn in range(arguments.backlog):
                    cycle, at = divmod(turn, arguments.symbols)
                    exchange(connection, append(made[at], 1 + cycle), 2)
            else:
                feeder.start()
            waiting = None if arguments.backlog else start
            uvloop.run(measure(f"unix://{path}", server.pid, arguments, load, waiting))
        finally:
            if feeder.pid is not None:
                feeder.kill()
            server.terminate()
            server.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="172,3500,10000")
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--backlog", type=int, default=0)
    parser.add_argument("--rounds", default="")
    parser.add_argument("--server", default="")
    parser.add_argument("--profile", default="")
    arguments = parser.parse_args()
    configure_logging("error", "json")
    binary = arguments.server or str(find_server(os.environ.get("PATH", "")))
    if arguments.rounds:
        loads = [float(events) for events in arguments.rounds.split(",")]
    else:
        loads = [float(rate) * DEPTH_SHARE for rate in arguments.rates.split(",")]
    for load in loads[: 1 if arguments.backlog else None]:
        one_load(binary, arguments, load)


if __name__ == "__main__":
    main()
