"""The PostgreSQL sink under kill -9 of its worker, of PostgreSQL and of Redis, at 5,000 rows a second.

    .venv/bin/python bench/postgres_kill.py [seconds] [rows a second]

A source with consecutive trades, bars, published books and events of analytics feeds a Redis, and writes figures of
analytics into it; what the server lost in a kill it tells again, as the lines and the repair do in a fleet. Every
second kill of Redis cuts off the end of its append-only file too, up to a second's worth. At the end each table must
have what the source told, each row once; of the figures, which are sampled, nothing that was never written, and
nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import redis as redis_sync
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.bench.postgres_server import PostgresServer
from workers.store.keys import Keys
from workers.store.server import find_server

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 5_000
SYMBOLS = [f"S{number}USDT" for number in range(20)]
KEYS = Keys()
TICK_S = 0.05
CUT_BYTES = 2_000_000
"""At most so much of the append-only file is lost: about the second that a failing machine loses."""


class RedisProcess:
    """A server with an append-only file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "yes",
                   "--appendfsync", "everysec", "--dir", str(self.folder)]  # fmt: skip
        binary = str(find_server(os.environ.get("PATH", "")))
        self.process = subprocess.Popen(
            [binary, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        client: Any = redis_sync.Redis(unix_socket_path=str(self.socket))
        for _ in range(6000):
            with suppress(redis_sync.RedisError):
                client.ping()
                return
            time.sleep(0.01)
        raise SystemExit("Redis does not answer")

    def kill(self, *, cut: bool) -> int:
        """kill -9; how many bytes of its file were cut off."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        file = max((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
        length = file.stat().st_size
        lost = min(random.randint(1, CUT_BYTES), length // 2) if cut else 0
        os.truncate(file, length - lost)
        return lost


class Source:
    """What is told, stream by stream, and how far each stream has it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.entries: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.told: dict[str, int] = {}
        self.figures: set[tuple[Any, ...]] = set()
        self.made = 0
        self.repeats = 0

    def add(self, key: str, stream_id: str, fields: dict[str, Any]) -> None:
        self.entries.setdefault(key, []).append((stream_id, fields))
        self.told.setdefault(key, 0)

    def make(self, count: int, now_us: int) -> None:
        """About so many rows: eight in eleven are trades, the rest bars, books and events."""
        now_ms = now_us // 1000
        for place in range(self.made, self.made + count):
            symbol = SYMBOLS[place % len(SYMBOLS)]
            kind = (place // len(SYMBOLS)) % 11
            if kind < 8:
                key = KEYS.raw(symbol, "aggTrade")
                number = 1_000 + len(self.entries.get(key, ()))
                data = {"e": "aggTrade", "E": now_ms, "a": number, "s": symbol, "m": number % 2 == 0,
                        "p": f"{number % 977}.{number % 89:02}0", "q": f"0.{number:09}", "f": number, "l": number,
                        "T": now_ms}  # fmt: skip
                self.add(key, f"{now_ms}-{number}", {"data": json.dumps(data), "line": "a"})
            elif kind == 8:
                key = KEYS.bars(symbol, "100ms")
                number = len(self.entries.get(key, ()))
                start = (now_ms // 100 - 10_000_000 + number) * 100
                fields = {
                    "start": start,
                    "revision": 0,
                    "complete": 1,
                    "volume": f"{number}.50",
                    "reason": "",
                }
                self.add(key, f"{now_ms}-{number}", fields)
            elif kind == 9:
                key = KEYS.book_top(symbol)
                number = len(self.entries.get(key, ()))
                top = {"s": symbol, "b": [[f"{number}.10", "1"]] * 10, "a": [[f"{number}.20", "2"]] * 10, "u": number,
                       "E": now_ms,
                       "T": now_ms, "synced_at": 0, "received": 0, "published": now_us + place}  # fmt: skip
                self.add(key, "*", {"data": json.dumps(top)})
            else:
                key = KEYS.analytics_events(symbol)
                event = {"kind": "wall_appeared", "side": "bid", "price": len(self.entries.get(key, ())) + 0.1,
                         "time_us": now_us + place, "figures": {"ratio": 7.5}}  # fmt: skip
                self.add(key, "*", {"data": json.dumps([event])})
        self.made += count

    async def tell(self) -> None:
        pipe = self.client.pipeline(transaction=False)
        sent: list[str] = []
        for key, entries in self.entries.items():
            for stream_id, fields in entries[self.told[key] : self.told[key] + 2_000]:
                stamped = fields if "start" in fields else {**fields, "received": time.time_ns() // 1000}
                pipe.xadd(key, stamped, id=stream_id)
                sent.append(key)
        for key, reply in zip(sent, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(reply, Exception):
                raise reply
            self.told[key] += 1

    async def figure(self) -> None:
        """Write figures of every symbol, which take the place of those before."""
        pipe, now_ms = self.client.pipeline(transaction=False), time.time_ns() // 1_000_000
        for symbol in SYMBOLS:
            fields = {
                "state": "shown",
                "told_ms": now_ms,
                "event_time": now_ms,
                "window_ms": 60_000,
                "mid": random.random(),
            }
            self.figures.add((symbol, now_ms, fields["mid"]))
            pipe.hset(KEYS.analytics(symbol), mapping=fields)
        await pipe.execute()

    async def look(self) -> None:
        """Find out what the server has after a kill: the rest is told again."""
        for key, entries in self.entries.items():
            newest = await self.client.xrevrange(key, count=1)
            told = self.told[key]
            if not newest:
                self.told[key] = 0
            elif key.endswith((":top", ":events")):
                payload = newest[0][1][b"data"].decode()
                self.told[key] = next(
                    place for place in range(len(entries), 0, -1) if entries[place - 1][1]["data"] == payload
                )
            else:
                number = int(newest[0][0].partition(b"-")[2])
                self.told[key] = number + 1 - (1_000 if ":raw:" in f":{key}" else 0)
            self.repeats += max(0, told - self.told[key])

    async def run(self, stop: asyncio.Event) -> None:
        began, made, lost = time.monotonic(), 0, False
        while True:
            wanted = int((time.monotonic() - began) * RATE) if not stop.is_set() else made
            self.make(wanted - made, time.time_ns() // 1000)
            made = wanted
            try:
                if lost:
                    await self.look()
                    lost = False
                await self.tell()
                await self.figure()
            except (RedisError, OSError):
                lost = True
            if (
                stop.is_set()
                and not lost
                and all(self.told[key] == len(self.entries[key]) for key in self.entries)
            ):
                return
            await asyncio.sleep(TICK_S)


def start_worker(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.cli", "run", "postgres"],
        env=environment, stdout=log.open("ab"), stderr=subprocess.STDOUT,
    )  # fmt: skip


async def killing(
    stop: asyncio.Event, kills: Counter[str], act: Any, name: str, pause: tuple[float, float]
) -> None:
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), random.uniform(*pause))
            return
        await asyncio.to_thread(act)
        kills[name] += 1


def truth_of(source: Source) -> dict[str, set[tuple[Any, ...]]]:
    """By table, every row that must be there."""
    rows: dict[str, set[tuple[Any, ...]]] = {
        table: set() for table in ("trades", "bars", "top_of_book", "analytics_events")
    }
    for key, entries in source.entries.items():
        symbol = key.partition("{")[2].partition("}")[0]
        for _, fields in entries:
            if "start" in fields:
                rows["bars"].add((symbol, fields["start"], fields["volume"]))
                continue
            data = json.loads(fields["data"])
            if isinstance(data, list):
                rows["analytics_events"].add((symbol, data[0]["time_us"], data[0]["price"]))
            elif "published" in data:
                rows["top_of_book"].add((symbol, data["u"], data["b"][0][0]))
            else:
                rows["trades"].add((symbol, data["a"], data["p"], data["q"], data["T"]))
    return rows


QUERIES = {
    "trades": "SELECT symbol, trade_id, price::text, quantity::text, round(extract(epoch FROM time) * 1000)::bigint",
    "bars": "SELECT symbol, round(extract(epoch FROM start) * 1000)::bigint, volume::text",
    "top_of_book": "SELECT symbol, update_id, bid_prices[1]::text",
    "analytics_events": "SELECT symbol, round(extract(epoch FROM time) * 1000000)::bigint, price",
    "analytics": "SELECT symbol, round(extract(epoch FROM told) * 1000)::bigint, mid",
}


def stored_in(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(dsn, options="-c search_path=marketfleet") as connection:
        return {
            table: connection.execute(
                f"{query} FROM {table} JOIN instruments i ON i.id = instrument_id".encode()
            ).fetchall()
            for table, query in QUERIES.items()
        }


async def main() -> int:
    random.seed(7)
    with tempfile.TemporaryDirectory(prefix="fleet-kill-", dir="/dev/shm") as folder_name:
        folder = Path(folder_name)
        server, postgres = RedisProcess(folder), PostgresServer()
        server.start()
        postgres.start()
        config, log = folder / "kill.toml", folder / "worker.log"
        config.write_text(
            f'[venues.usdm]\nmarket = "usdm"\nsymbols = {json.dumps(SYMBOLS)}\n', encoding="utf-8"
        )
        environment = {**os.environ, "FLEET_CONFIG": str(config), "FLEET_HOME": str(folder), "REDIS_URL": server.url,
                       "FLEET_POSTGRES__ENABLED": "true", "FLEET_POSTGRES__DSN": postgres.dsn,
                       "FLEET_POSTGRES__FIGURES_MS": "100", "FLEET_ANALYTICS__ENABLED": "true"}  # fmt: skip
        worker = [start_worker(environment, log)]
        client: Any = Redis.from_url(server.url, protocol=2)
        source, stop, kills, cut = Source(client), asyncio.Event(), Counter[str](), 0

        def kill_worker() -> None:
            worker[0].send_signal(signal.SIGKILL)
            worker[0].wait()
            worker[0] = start_worker(environment, log)

        def kill_postgres() -> None:
            postgres.kill()
            time.sleep(random.uniform(0, 1))
            postgres.start()

        def kill_redis() -> None:
            nonlocal cut
            cut += server.kill(cut=kills["redis"] % 2 == 0)
            time.sleep(random.uniform(0, 0.5))
            server.start()

        try:
            tasks = [
                asyncio.create_task(killing(stop, kills, kill_worker, "worker", (9, 16)), name="worker"),
                asyncio.create_task(
                    killing(stop, kills, kill_postgres, "postgres", (6, 12)), name="postgres"
                ),
                asyncio.create_task(killing(stop, kills, kill_redis, "redis", (6, 12)), name="redis"),
            ]
            feeding = asyncio.create_task(source.run(stop), name="feeding")
            await asyncio.sleep(SECONDS)
            stop.set()
            await asyncio.gather(*tasks, feeding)
            truth = truth_of(source)
            wanted = sum(map(len, truth.values()))
            stored: dict[str, list[tuple[Any, ...]]] = {}
            for _ in range(240):
                stored = await asyncio.to_thread(stored_in, postgres.dsn)
                if sum(len(stored[table]) for table in truth) >= wanted:
                    break
                await asyncio.sleep(0.5)
            print(f"{SECONDS:.0f} s, {wanted:,} rows ({wanted / SECONDS:,.0f}/s); killed: {dict(kills)}; "
                  f"{cut:,} bytes of Redis' file lost, {source.repeats:,} entries told again")  # fmt: skip
            failed = 0
            for table, rows in truth.items():
                there = Counter(stored[table])
                doubled, missing = sum(there.values()) - len(there), len(rows - set(there))
                foreign = len(set(there) - rows)
                failed += doubled + missing + foreign
                print(
                    f"{table}: {len(rows):,} told, {doubled} doubled, {missing} missing, {foreign} that nobody told"
                )
            samples = Counter(stored["analytics"])
            wrong = (
                sum(samples.values())
                - len({sample[:2] for sample in samples})
                + len(set(samples) - source.figures)
            )
            failed += wrong or not samples
            print(
                f"analytics: {len(samples):,} of {len(source.figures):,} figures sampled, {wrong} twice or of nobody"
            )
            events = Counter(
                json.loads(line).get("event") for line in log.read_text().splitlines() if line[:1] == "{"
            )
            print(
                "log:",
                {name: count for name, count in sorted(events.items()) if str(name).startswith("postgres")},
            )
            return 1 if failed else 0
        finally:
            worker[0].kill()
            worker[0].wait()
            await client.aclose()
            if server.process:
                server.process.kill()
                server.process.wait()
            postgres.remove()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
