"""The API under load, with a fleet of 20 symbols running on the same machine.

    python bench/api.py [--symbols 20] [--seconds 10] [--connections 16] [--rate 3000] [--clients 200]
        [--market-rate 1]

Four loads, one after the other, all from this process over keep-alive connections on raw sockets, so that the load
generator takes little of the machine:

- `GET /orderbook?symbol=…&depth=20`, as fast as the connections allow, then at a fixed rate, where latency counts from
  the moment a request was due, sent or not;
- `POST /quantity` of random past seconds, and of now;
- WebSocket clients, each subscribed to one of the three busiest books with depth 20, which has something new nearly ten
  times a second, as often as a book is sent.

Reported: requests a second, p50 and p99 in ms, what was not answered with 200, CPU time of the API process for each
request, and of the fan-out messages a second, those conflated or dropped, and ms from the exchange's event to the
client.
Exit code 1 when an aim is missed: 3,000 reads a second with p99 below 20 ms, and no drop.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import uvloop
from running_fleet import RunningFleet, running_fleet, symbols_named

AIM_READS, AIM_P99_MS = 3_000, 20.0
TICKS = os.sysconf("SC_CLK_TCK")
DEPTH = 20
BUSY = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
"""Symbols whose simulated books change 25 to 39 times a second: nearly each tenth of a second has something new."""

Make = Callable[[], bytes]


class Connection(asyncio.Protocol):
    """One keep-alive HTTP connection: one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._buffer = b""
        self._wanted = -1
        self._answered: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request; its status."""
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._wanted < 0:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            at = self._buffer.lower().find(b"content-length: ", 0, head)
            self._wanted = head + 4 + int(self._buffer[at + 16 : self._buffer.index(b"\r\n", at)])
        if len(self._buffer) >= self._wanted:
            status = int(self._buffer[9:12])
            self._buffer, self._wanted = self._buffer[self._wanted :], -1
            if self._answered is not None and not self._answered.done():
                self._answered.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(0)


class Clients:
    """WebSocket clients that count what they get."""

    def __init__(self) -> None:
        self.messages = 0
        self.delays_ms: list[float] = []

    def protocol(self) -> Listener:
        """One more client."""
        return Listener(self)


class Listener(asyncio.Protocol):
    """One WebSocket client; it decodes nothing but frame lengths and, of some, the event's time."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._buffer = b""
        self._open = False
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def begin(self, host: str, symbol: str) -> None:
        """Upgrade and subscribe; the subscription may follow at once, the server reads it after its answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._wish = json.dumps({"op": "subscribe", "channel": "book", "symbols": [symbol], "depth": DEPTH})
        self.transport.write(head.encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                raise SystemExit(self._buffer[:200].decode())
            self._buffer, self._open = self._buffer[head + 4 :], True
            wish = self._wish.encode()
            # masked with a key of zeros, which leaves the text as it is
            self.transport.write(bytes([0x81, 0x80 | len(wish)]) + b"\0\0\0\0" + wish)  # type: ignore[attr-defined]
        while (size := frame_size(self._buffer)) and len(self._buffer) >= size:
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            if frame[0] == 0x89:
                self.transport.write(b"\x8a\x80\0\0\0\0")  # type: ignore[attr-defined]
            elif b'"snapshot"' in frame:
                self._clients.messages += 1
                self.count += 1
                if self.count % 16 == 0:
                    at = frame.index(b'"E":') + 4
                    self._clients.delays_ms.append(time.time() * 1000 - int(frame[at : at + 13]))


def frame_size(buffer: bytes) -> int:
    """Bytes of the first frame; 0 while that is not known."""
    if len(buffer) < 4:
        return 0
    length = buffer[1] & 0x7F
    if length == 126:
        return 4 + int.from_bytes(buffer[2:4], "big")
    return 2 + length if length < 126 else 10 + int.from_bytes(buffer[2:10], "big")


def quantile(values: list[float], share: float) -> float:
    """Of unsorted values."""
    return (
        round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 2) if values else float("nan")
    )


class Load:
    """Requests to one API process."""

    def __init__(self, fleet: RunningFleet, connections: int) -> None:
        parts = urlsplit(fleet.api)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)
        self.netloc = parts.netloc
        self.connections = connections
        (program,) = fleet.processes.named("api")
        self.pid = program.pid

    def cpu_s(self) -> float:
        """CPU time of the API process."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def get(self, path: str) -> bytes:
        """A GET as bytes."""
        return f"GET {path} HTTP/1.1\r\nHost: {self.netloc}\r\n\r\n".encode()

    def post(self, path: str, body: object) -> bytes:
        """A POST as bytes."""
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {self.netloc}\r\nContent-Length: {len(data)}\r\n\r\n"
        return head.encode() + data

    async def run(self, make: Make, seconds: float, rate: float = 0) -> dict[str, Any]:
        """Ask on all connections; with a rate at fixed times, else again as soon as answered."""
        loop = asyncio.get_running_loop()
        took: list[float] = []
        statuses: dict[int, int] = {}
        pause = self.connections / rate if rate else 0.0

        async def one(number: int) -> None:
            _, connection = await loop.create_connection(Connection, self.host, self.port)
            due = began + (number / self.connections) * pause
            while due < began + seconds:
                if rate and (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                started = due if rate else time.perf_counter()
                status = await connection.ask(make())
                took.append((time.perf_counter() - started) * 1000)
                statuses[status] = statuses.get(status, 0) + 1
                due = due + pause if rate else time.perf_counter()
            connection.transport.close()

        began, cpu = time.perf_counter(), self.cpu_s()
        await asyncio.gather(*(one(number) for number in range(self.connections)))
        elapsed, cpu = time.perf_counter() - began, self.cpu_s() - cpu
        return {
            "per_second": round(len(took) / elapsed),
            "p50_ms": quantile(took, 0.5),
            "p99_ms": quantile(took, 0.99),
            "not_200": {status: count for status, count in statuses.items() if status != 200},
            "api_cpu_us": round(cpu / len(took) * 1e6),
            "api_cpu_share": round(cpu / elapsed, 2),
        }

    async def metrics(self) -> dict[str, float]:
        """Sums of the API's own counters of conflated and dropped messages."""
        text = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://{self.netloc}/metrics").read().decode()
        )
        sums = {"conflated": 0.0, "dropped": 0.0}
        for line in text.splitlines():
            for name in sums:
                if line.startswith(f"fleet_api_{name}_total"):
                    sums[name] += float(line.rpartition(" ")[2])
        return sums

    async def fan_out(self, symbols: list[str], clients: int, seconds: float) -> dict[str, Any]:
        """Clients that listen, each to one book."""
        loop = asyncio.get_running_loop()
        counting = Clients()
        listeners = []
        for number in range(clients):
            transport, listener = await loop.create_connection(counting.protocol, self.host, self.port)
            listener.begin(self.netloc, symbols[number % len(symbols)])
            listeners.append((transport, listener))
        await asyncio.sleep(2)
        before, counting.messages, cpu = await self.metrics(), 0, self.cpu_s()
        counting.delays_ms.clear()
        for _, listener in listeners:
            listener.count = 0
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        elapsed, cpu, after = time.perf_counter() - began, self.cpu_s() - cpu, await self.metrics()
        counts = [listener.count for _, listener in listeners]
        for transport, _ in listeners:
            transport.close()
        return {
            "clients": clients,
            "messages_per_second": round(counting.messages / elapsed),
            "hz_of_the_slowest": round(min(counts) / elapsed, 1),
            "conflated": after["conflated"] - before["conflated"],
            "dropped": after["dropped"] - before["dropped"],
            "event_to_client_p50_ms": quantile(counting.delays_ms, 0.5),
            "event_to_client_p99_ms": quantile(counting.delays_ms, 0.99),
            "api_cpu_share": round(cpu / elapsed, 2),
        }


def past_quantities(load: Load, fleet: RunningFleet, books: dict[str, dict[str, Any]]) -> Make:
    """Questions for the quantity at one of the best 20 prices in one of the last ten seconds."""
    chance = random.Random(1)

    def make() -> bytes:
        symbol = chance.choice(fleet.symbols)
        price = chance.choice(books[symbol]["bids"])[0]
        second = books[symbol]["event_time_ms"] // 1000 - chance.randrange(2, 10)
        return load.post("/quantity", {"symbol": symbol, "price": price, "timestamp": second})

    return make


async def read_books(fleet: RunningFleet, patience_s: float) -> dict[str, dict[str, Any]]:
    """The best levels of every symbol, once all are served."""

    def read(symbol: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{fleet.api}/orderbook?symbol={symbol}&depth={DEPTH}") as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]

    books: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + patience_s
    while missing := set(fleet.symbols) - set(books):
        for symbol in missing:
            try:
                books[symbol] = await asyncio.to_thread(read, symbol)
            except OSError:
                await asyncio.sleep(0.2)
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(books)} of {len(fleet.symbols)} books were served within {patience_s} s")
    return books


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    symbols = [*BUSY, *symbols_named(max(arguments.symbols - len(BUSY), 0))]
    chance = random.Random(2)
    async with running_fleet(symbols, rate_scale=arguments.market_rate) as fleet:
        await read_books(fleet, 90)
        await asyncio.sleep(15)  # seconds of history
        books = await read_books(fleet, 5)
        load = Load(fleet, arguments.connections)
        reads = [load.get(f"/orderbook?symbol={symbol}&depth={DEPTH}") for symbol in symbols]
        lives = [
            load.post("/quantity", {"symbol": symbol, "price": books[symbol]["bids"][0][0]})
            for symbol in symbols
        ]
        seconds = arguments.seconds
        result = {"orderbook": await load.run(lambda: chance.choice(reads), seconds)}
        result[f"orderbook_at_{arguments.rate:g}"] = await load.run(
            lambda: chance.choice(reads), seconds, arguments.rate
        )
        result["quantity_past"] = await load.run(past_quantities(load, fleet, books), seconds)
        result["quantity_now"] = await load.run(lambda: chance.choice(lives), seconds)
        result["fan_out"] = await load.fan_out(BUSY, arguments.clients, seconds)
    return {"load_average": os.getloadavg()[0], **result}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rate", type=float, default=AIM_READS)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument(
        "--market-rate", type=float, default=1, help="factor on the simulated markets' activity"
    )
    result = uvloop.run(bench(parser.parse_args()))
    print(json.dumps(result, indent=1))
    paced = next(found for name, found in result.items() if name.startswith("orderbook_at_"))
    fine = result["orderbook"]["per_second"] >= AIM_READS and paced["p99_ms"] < AIM_P99_MS
    fine = fine and not result["fan_out"]["conflated"] and not result["fan_out"]["dropped"]
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
