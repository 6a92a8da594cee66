"""The least that a log, books and trades as processes of their own can cost: what `fleet bench` measures, without what
makes it right.

    python bench/floor.py [--rates 172,3500,10000] [--symbols 20] [--seconds 10] [--server PATH] [--port 18555]

Three programs that do nothing but block on a socket, work, and send: no event loop, no lease, no group, no second line,
no check, checkpoint, history, bar or metric. The line cuts frames out of its socket and appends them as they are. Books
decode and fold them by the fleet's own model and publish their top 10 when something comes, ten times a second each at
most; where much comes they read as the fleet does, the books that may be published, every 10 ms. Trades are added to
a sorted set each tenth of a second. The load generator is that of `fleet bench`; percent of a core by process. What it
prints is no goal: a fleet that could be trusted costs more. It says which share of a goal is left for that.
"""

from __future__ import annotations

import argparse
import base64
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from typing import Any

import msgspec
from books_worker import SPOT, synced
from hiredis import Reader, pack_command

from workers.bench.tape import names, tapes
from workers.bench.usage import usage_by_role
from workers.model.books.several import fold_several
from workers.model.books.top_of_book import TOP_LEVELS, TopOfBook, encode_top
from workers.store.keys import DEPTH, TRADES, Keys
from workers.store.server import find_server
from workers.venues.registry import venue_of

KEYS = Keys()
RUN_IN_S = 4.0
PACE_S, PAUSE_S = 0.1, 0.01
MANY = 4
"""Entries of one read after which the next does not wait for a first one."""


def command(*parts: Any) -> bytes:
    return bytes(pack_command(parts))


class Server:
    """A blocking connection."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._reader = Reader(notEnoughData=self)

    def ask(self, packed: Iterable[bytes]) -> list[Any]:
        """Send commands at once; their replies."""
        commands = list(packed)
        self._socket.sendall(b"".join(commands))
        replies: list[Any] = []
        while len(replies) < len(commands):
            self._reader.feed(self._socket.recv(1 << 20))
            while (reply := self._reader.gets()) is not self:
                replies.append(reply)
        return replies


def frames(connection: socket.socket) -> Iterable[list[bytes]]:
    """The texts of whole websocket frames, as they come."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    data = data.split(b"\r\n\r\n", 1)[1]
    while True:
        texts, begin = [], 0
        while len(data) - begin >= 4:
            length, header = data[begin + 1], 2
            if length == 126:
                length, header = int.from_bytes(data[begin + 2 : begin + 4], "big"), 4
            if len(data) - begin < header + length:
                break
            if data[begin] & 15 == 1:
                texts.append(data[begin + header : begin + header + length])
            begin += header + length
        data = data[begin:]
        if texts:
            yield texts
        data += connection.recv(1 << 20)


def line(path: str, port: int, symbols: int) -> None:
    """The line's process: each event of a read is appended, in one write."""
    keys = {}
    for name in names(symbols):
        keys[f"{name.lower()}@depth@100ms".encode()] = KEYS.raw(name, DEPTH)
        keys[f"{name.lower()}@aggTrade".encode()] = KEYS.raw(name, TRADES)
    connection = socket.create_connection(("127.0.0.1", port))
    address = "/stream?streams=" + "/".join(name.decode() for name in keys)
    asked = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    asked["Sec-WebSocket-Key"] = base64.b64encode(bytes(16)).decode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
    connection.sendall(f"GET {address} HTTP/1.1\r\n{headers}\r\n".encode())
    server = Server(path)
    for texts in frames(connection):
        packed, received = [], b"%d" % (time.time_ns() // 1000)
        for text in texts:
            begin = text.index(b'"stream":"') + 10
            end = text.index(b'"', begin)
            event = text[text.index(b'"data":', end) + 7 : -1]
            packed.append(command("XADD", keys[text[begin:end]], "*", "data", event, "received", received))
        server.ask(packed)


def books(path: str, _: int, symbols: int) -> None:
    """The books' process."""
    venue, now_ms, server = venue_of("spot", SPOT), int(time.time() * 1000), Server(path)
    syncs = {KEYS.raw(tape.symbol, DEPTH).encode(): synced(tape, now_ms) for tape in tapes(names(symbols))}
    places = dict.fromkeys(syncs, b"0-0")
    free_at = dict.fromkeys(syncs, 0.0)
    waiting: set[bytes] = set()
    publications: list[bytes] = []
    much = False
    while True:
        now = time.monotonic()
        keys = [key for key in places if not much or free_at[key] <= now]
        options = ("COUNT", 1000) if much else ("COUNT", 1000, "BLOCK", 100)
        reading = command("XREAD", *options, "STREAMS", *keys, *(places[key] for key in keys))
        reply = server.ask((*publications, reading))[-1] if keys else None
        count = 0
        for key, entries in reply or ():
            sync = syncs[key]
            events = [venue.depth(fields[1], sync.symbol, "update") for _, fields in entries]
            if fold_several(sync, events, now_ms) < len(events):  # the first: it began elsewhere
                sync.book.apply(events[-1].bids, events[-1].asks)
                sync.last_update_id = events[-1].last_id
            places[key] = entries[-1][0]
            waiting.add(key)
            count += len(entries)
        publications, now, now_us = [], time.monotonic(), time.time_ns() // 1000
        for key in [key for key in waiting if free_at[key] <= now]:
            sync = syncs[key]
            top = TopOfBook(sync.symbol, *sync.book.top(TOP_LEVELS), sync.last_update_id, 0, 0, 0, 0, now_us)
            payload = encode_top(top)
            publications += (
                command("HSET", KEYS.live_orderbook, sync.symbol, payload),
                command("XADD", KEYS.book_top(sync.symbol), "MAXLEN", "~", 600, "*", "data", payload),
            )
            waiting.discard(key)
            free_at[key] = now + PACE_S
        much = count >= MANY
        if much:
            server.ask(publications)
            publications = []
            time.sleep(PAUSE_S)


def trades(path: str, _: int, symbols: int) -> None:
    """The trades' process."""
    server, decode = Server(path), msgspec.json.Decoder().decode
    places = {KEYS.raw(name, TRADES).encode(): b"0-0" for name in names(symbols)}
    while True:
        time.sleep(PACE_S)
        read = command("XREAD", "COUNT", 1000, "STREAMS", *places, *places.values())
        packed = []
        for key, entries in server.ask([read])[0] or ():
            places[key] = entries[-1][0]
            scored = [part for _, fields in entries for part in (decode(fields[1])["T"], fields[1])]
            packed.append(command("ZADD", b"latest:" + key, *scored))
        server.ask(packed)


def measure(binary: str, rate: float, arguments: argparse.Namespace) -> None:
    """One rate, on a server of its own."""
    spawn, port, symbols = multiprocessing.get_context("spawn"), arguments.port, arguments.symbols
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        path = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([binary, *options], cwd=folder, stdout=subprocess.DEVNULL)
        generator = subprocess.Popen(
            [sys.executable, "-m", "workers.bench.generator", str(port), str(symbols)]
        )
        programs = {
            program.__name__: spawn.Process(target=program, args=(path, port, symbols), daemon=True)
            for program in (line, books, trades)
        }
        try:
            time.sleep(2)
            for program in programs.values():
                program.start()
            time.sleep(2)  # imported
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/bench/rate?value={rate}") as answer:
                answer.read()
            time.sleep(RUN_IN_S)
            pids = {"redis": server.pid} | {name: program.pid or 0 for name, program in programs.items()}
            began, before = time.monotonic(), usage_by_role(pids)
            time.sleep(arguments.seconds)
            wall_s, after = time.monotonic() - began, usage_by_role(pids)
            percent = {name: 100 * (after[name].cpu_s - before[name].cpu_s) / wall_s for name in pids}
            shown = Server(path).ask([command("HLEN", KEYS.live_orderbook)])[0]
            if shown != symbols:
                raise SystemExit(f"Only {shown} of {symbols} books are shown.")
            parts = "  ".join(f"{name} {value:.1f}" for name, value in percent.items())
            print(f"{rate:7,.0f} messages/s: {parts}  together {sum(percent.values()):.1f} % of a core")
        finally:
            for program in programs.values():
                program.terminate()
            for started in (generator, server):
                started.terminate()
            server.wait()
            generator.wait()


def main() -> None:
    """Measure each rate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", default="172,3500,10000", help="messages a second, comma between")
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--server", help="a redis-server or valkey-server; default: the fleet's own")
    parser.add_argument("--port", type=int, default=18555, help="of loopback, for the load generator")
    arguments = parser.parse_args()
    binary = arguments.server or str(find_server(os.environ.get("PATH", "")))
    for rate in arguments.rates.split(","):
        measure(binary, float(rate), arguments)


if __name__ == "__main__":
    main()
