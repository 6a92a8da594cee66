"""Book history: memory against the naive way, what recording costs, and how long a question takes.

    python bench/history.py [RECORDING] [--queries 2000] [--json]

RECORDING is a capture of hftbacktest's collector (the real USD-M BTCUSDT of 8 August 2024 by default, about 20 depth
events and 1,300 changed levels a second). Its snapshot is taken as complete, so that 1,000 levels a side are
known all the time. The naive way is a JSON snapshot of 1,000 levels a side each second.

For the questions a server of its own is filled with 24 h: the recorded minutes over and over.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workers.model.books.in_band import BookRule
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import BookSync, SequenceRule
from workers.model.events import DepthEvent, Snapshot
from workers.model.history.block import BookAt, HistoryBlock, QuantityAt
from workers.model.history.builder import BlockBuilder
from workers.model.history.columns import ZSTD_LEVEL
from workers.model.history.recorder import HistoryRecorder
from workers.store.fleet.leases import Leases
from workers.store.history.reading import HistoryReader
from workers.store.history.writing import HistoryStore
from workers.store.keys import Keys
from workers.store.server import find_server

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "usdm__btcusdt_20240808.gz"
LEVELS = 1000
SYMBOL = "BTCUSDT"
MINUTES = 1440
DAY_S = 86_400


def recorded(path: Path) -> Iterator[DepthEvent | Snapshot]:
    """Depth events and the first snapshot of a capture, in order."""
    seen = False
    with gzip.open(path) as lines:
        for line in lines:
            payload = line.split(b" ", 1)[1]
            if b'"lastUpdateId"' in payload:
                if not seen:
                    body = json.loads(payload)
                    levels = (list(map(tuple, body["bids"])), list(map(tuple, body["asks"])))
                    yield Snapshot(SYMBOL, body["lastUpdateId"], *levels, limit=5000)
                seen = True
            elif b"@depth" in payload[:60]:
                data = json.loads(payload)["data"]
                levels = (list(map(tuple, data["b"])), list(map(tuple, data["a"])))
                ids = data["U"], data["u"], data.get("pu", -1)
                yield DepthEvent(SYMBOL, *ids, data["E"], data.get("T", 0), *levels)


class Recording:
    """The capture, recorded: blocks, and what that cost."""

    def __init__(self, path: Path, level: int) -> None:
        feed = list(recorded(path))
        futures = any(isinstance(one, DepthEvent) and one.previous_id >= 0 for one in feed)
        sync = BookSync(SYMBOL, SequenceRule.FUTURES if futures else SequenceRule.SPOT)
        recorder = HistoryRecorder(sync, BlockBuilder(SYMBOL, levels=LEVELS))
        self.events = self.changes = 0
        self.fold_s = self.record_s = 0.0
        self.closing_ms: list[float] = []
        self.naive_bytes: list[int] = []
        second = None
        clock = time.perf_counter
        for one in feed:
            if isinstance(one, Snapshot):
                sync.on_snapshot(one, 0)
                continue
            before = recorder.builder.next_second
            started = clock()
            recorder.before(one, one.event_time)
            closed = clock()
            outcome = sync.on_event(one, 0)
            folded = clock()
            recorder.after(one, outcome)
            self.record_s += closed - started + clock() - folded
            self.fold_s += folded - closed
            self.events += 1
            self.changes += len(one.bids) + len(one.asks)
            if recorder.builder.next_second != before:
                self.closing_ms.append((closed - started) * 1000)
            if sync.publishable and one.event_time // 1000 != second:
                second = one.event_time // 1000
                self.naive_bytes.append(naive(sync.book))
        self.blocks = [block for block in recorder.builder.blocks if block.known_seconds == 60]
        self.encode_ms: list[float] = []
        self.bytes: list[int] = []
        self.decode_ms: list[float] = []
        for block in self.blocks:
            started = clock()
            data = block.encode(level)
            self.encode_ms.append((clock() - started) * 1000)
            self.bytes.append(len(data))
            started = clock()
            HistoryBlock.decode(data)
            self.decode_ms.append((clock() - started) * 1000)


def naive(book: OrderBook) -> int:
    """Bytes of a full snapshot as JSON."""
    bids, asks = book.top(LEVELS)
    return len(msgspec.json.encode({"u": 1723161256501, "b": bids, "a": asks}))


def sizes(path: Path) -> dict[str, Any]:
    """Memory and recording cost; sizes by level of compression."""
    found: dict[str, Any] = {}
    for level in (1, ZSTD_LEVEL, 9, 19):
        one = Recording(path, level)
        minute = statistics.mean(one.bytes)
        naive_minute = statistics.mean(one.naive_bytes) * 60
        found[f"zstd {level}"] = {
            "bytes a minute": round(minute),
            "MB a day": round(minute * MINUTES / 1e6, 1),
            "times smaller": round(naive_minute / minute, 1),
            "encode ms": round(statistics.mean(one.encode_ms), 1),
            "decode ms": round(statistics.mean(one.decode_ms), 1),
        }
        if level == ZSTD_LEVEL:
            found |= {
                "seconds": len(one.naive_bytes),
                "events": one.events,
                "changed levels": one.changes,
                "naive MB a day": round(naive_minute * MINUTES / 1e6),
                "fold us an event": round(one.fold_s / one.events * 1e6, 1),
                "record us an event": round(one.record_s / one.events * 1e6, 1),
                "closing a second ms p50": round(statistics.median(one.closing_ms), 2),
                "closing a second ms max": round(max(one.closing_ms), 2),
            }
    return found


def percentiles(took: list[float]) -> dict[str, float]:
    """p50, p99 and the longest, ms."""
    ordered = sorted(took)
    return {
        "p50 ms": round(ordered[len(ordered) // 2], 2),
        "p99 ms": round(ordered[int(len(ordered) * 0.99)], 2),
        "max ms": round(ordered[-1], 2),
    }


async def questions(path: Path, count: int) -> dict[str, Any]:
    """24 h in a server of our own, then random questions, each of another minute."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
        binary = str(find_server(os.environ.get("PATH", "")))
        server = await asyncio.create_subprocess_exec(binary, *options, cwd=folder, stdout=subprocess.DEVNULL)
        client: Redis = Redis.from_url(f"unix://{socket}", protocol=2)
        try:
            while not os.path.exists(socket):  # noqa: ASYNC240 -- a stat of a local file
                await asyncio.sleep(0.05)
            return await _questions(client, Recording(path, ZSTD_LEVEL).blocks, count)
        finally:
            await client.aclose()
            server.terminate()
            await server.wait()


async def _questions(client: Redis, blocks: list[HistoryBlock], count: int) -> dict[str, Any]:
    leases = Leases(client, Keys(), "books", "bench", 600_000)
    await leases.take([SYMBOL])
    store = HistoryStore(client, Keys(), 24)
    first = blocks[0].start - MINUTES * 60
    before = int((await client.info("memory"))["used_memory"])
    for number, block in enumerate(islice(cycle(blocks), MINUTES)):
        moved = HistoryBlock(SYMBOL, first + number * 60, 60, block.parts)
        await store.write(SYMBOL, leases.held[SYMBOL], [moved])
    held = int((await client.info("memory"))["used_memory"]) - before
    draw = random.Random(1)

    decoder = msgspec.json.Decoder(DepthEvent)

    def reader() -> HistoryReader:
        return HistoryReader(
            client,
            Keys(),
            rule=BookRule(SequenceRule.FUTURES),
            decode=lambda _, entry: decoder.decode(entry.data),
        )

    cold, warm = reader(), reader()
    took: dict[str, list[float]] = {
        "quantity, any minute": [],
        "book, any minute": [],
        "quantity, same minute": [],
    }
    middle = blocks[0].book_at(blocks[0].start)
    assert isinstance(middle, BookAt)
    prices = [price for price, _ in middle.bids[:500] + middle.asks[:500]]
    for _ in range(count):
        second, price = first + draw.randrange(DAY_S), draw.choice(prices)
        started = time.perf_counter()
        answer = await cold.quantity_at(SYMBOL, price, second)
        took["quantity, any minute"].append((time.perf_counter() - started) * 1000)
        if isinstance(answer, QuantityAt) and answer.side:
            assert answer.quantity != "0"
        second = first + draw.randrange(DAY_S)
        started = time.perf_counter()
        assert isinstance(await cold.book_at(SYMBOL, second), BookAt)
        took["book, any minute"].append((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        await warm.quantity_at(SYMBOL, price, first + 60 + draw.randrange(60))
        took["quantity, same minute"].append((time.perf_counter() - started) * 1000)
    started = time.perf_counter()
    series = await reader().series(SYMBOL, prices[0], first, first + 3599)
    hour_ms = (time.perf_counter() - started) * 1000
    started = time.perf_counter()
    held_statistics = await cold.statistics(SYMBOL)
    return {
        "memory of 24 h, MB": round(held / 1e6, 1),
        "seconds held": held_statistics.seconds_held,
        "statistics ms": round((time.perf_counter() - started) * 1000, 1),
        f"series of {len(series)} seconds ms": round(hour_ms, 1),
        **{name: percentiles(one) for name, one in took.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recording", nargs="?", type=Path, default=RECORDED)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {"recording": options.recording.name, "load": os.getloadavg()[0], **sizes(options.recording)}
    found["questions"] = asyncio.run(questions(options.recording, options.queries))
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
