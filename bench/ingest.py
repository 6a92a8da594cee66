"""Messages a second one ingest line takes from a loopback websocket into Redis.

    python bench/ingest.py [--seconds 5] [--symbols 50] [--bytes 700] [--burst 7 [--pause-ms 2]]

The sender is a process of its own that writes prepared depth frames as fast as the socket takes them; the server is
a private one on a unix socket. Reported: messages appended per second of wall time, per second of the line's CPU and
per second of the server's CPU. With two cores the three processes share them: the CPU figures are the ones to compare.

With `--burst` so many frames are sent together and a pause is made, again and again: what a waking, an append and its
reply cost beside the frames. Reported: the line's CPU for a burst, the least and the middle of parts of half a second,
and how often the line was woken for it. A pause of 10 ms tells what it costs with cold caches.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import redis as redis_sync
import uvloop
from aiohttp import web

from workers.ingest.worker import IngestWorker
from workers.runtime.logs import configure_logging
from workers.runtime.process import Process
from workers.settings.schema import IngestSettings, Settings, StreamSettings
from workers.store.server import find_server
from workers.venues.binance.settings import BinanceSettings

FIRST_ID = 10**12 + 7 * 10**11
"""Ids of one width, so that every frame of a symbol has the same length."""


def frame_template(symbol: str, size: int) -> bytes:
    """One unmasked text frame with a spot depth event of about `size` bytes; `%d` thrice: time, `U`, `u`."""
    head = (
        f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate","E":%d,'
        f'"s":"{symbol}","U":%d,"u":%d,"b":['
    )
    levels = max(1, (size - len(head) - 45) // 27)
    body = (head + ",".join(['["61800.20000000","2.9090"]'] * levels) + '],"a":[]}}').encode()
    length = len(body % (FIRST_ID, FIRST_ID, FIRST_ID))
    return b"\x81\x7e" + struct.pack(">H", length).replace(b"%", b"%%") + body


PART_S = 0.5


async def send(port: int, symbols: list[str], size: int, burst: int, pause_s: float) -> None:
    """Serve one endpoint that floods whoever subscribes, or sends bursts with pauses between them."""

    async def flood(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        transport = request.transport
        assert transport is not None
        update_id = FIRST_ID
        templates = [frame_template(symbol, size) for symbol in symbols]
        sent = 0
        while burst and not transport.is_closing():
            now, frames = int(time.time() * 1000), []
            for _ in range(burst):
                turn, symbol = divmod(sent, len(templates))
                frames.append(templates[symbol] % (now, update_id + turn, update_id + turn))
                sent += 1
            transport.write(b"".join(frames))
            await asyncio.sleep(pause_s)
        while not transport.is_closing():
            now = int(time.time() * 1000)
            frames = []
            for _ in range(max(1, 1000 // len(templates))):
                update_id += 1
                frames += [template % (now, update_id, update_id) for template in templates]
            transport.write(b"".join(frames))
            while transport.get_write_buffer_size() > 4_000_000 and not transport.is_closing():
                await asyncio.sleep(0.0005)
            await asyncio.sleep(0)
        return ws

    app = web.Application()
    app.router.add_get("/stream", flood)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.sleep(3600)


def sender(port: int, symbols: list[str], size: int, burst: int, pause_s: float) -> None:
    """The sender's process."""
    uvloop.run(send(port, symbols, size, burst, pause_s))


def cpu_of(pid: int) -> float:
    """CPU seconds a process has used, all threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


async def measure_bursts(worker: IngestWorker, burst: int, seconds: float) -> None:
    """Print what a burst costs the line."""
    costs, wakings, bursts = [], 0, 0.0
    for _ in range(max(1, round(seconds / PART_S))):
        appended, cpu = worker._appender.appended, time.process_time()
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        await asyncio.sleep(PART_S)
        done = (worker._appender.appended - appended) / burst
        costs.append((time.process_time() - cpu) / done * 1e6)
        wakings += resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - switches
        bursts += done
    print(
        f"{min(costs):.0f} us of CPU a burst of {burst}, {median(costs):.0f} in the middle   "
        f"woken {wakings / bursts:.2f} times"
    )


async def measure(
    url: str, server_pid: int, port: int, symbols: list[str], seconds: float, burst: int
) -> None:
    """Run one line for a while and print what it did."""
    settings = Settings(
        venues={
            "spot": BinanceSettings(
                market="spot", symbols=symbols, trades="none", websocket_url=f"ws://127.0.0.1:{port}"
            )
        },
        ingest=IngestSettings(first_message_s=1000),
        streams=StreamSettings(depth_ms=500),
    )
    process = Process("ingest-a", settings, 0, url)
    worker = IngestWorker(process, "a")
    running = asyncio.create_task(worker.run())
    while worker._appender.appended < 1000:
        await asyncio.sleep(0.05)
    if burst:
        await measure_bursts(worker, burst, seconds)
        process.stop.set()
        await running
        return
    appended, cpu, server_cpu = worker._appender.appended, time.process_time(), cpu_of(server_pid)
    started = time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - started
    done = worker._appender.appended - appended
    used, server_used = time.process_time() - cpu, cpu_of(server_pid) - server_cpu
    print(
        f"{done / took:,.0f} messages/s   {done / used:,.0f} per line CPU s   "
        f"{done / server_used:,.0f} per server CPU s   breaks {sum(line.breaks for line in worker._lines.values())}"
    )
    process.stop.set()
    await running


def main() -> None:
    """Start sender and server, measure, stop them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--bytes", type=int, default=700)
    parser.add_argument("--burst", type=int, default=0, help="frames sent together; 0: as many as it takes")
    parser.add_argument("--pause-ms", type=float, default=2, help="between two bursts")
    arguments = parser.parse_args()
    configure_logging("error", "json")
    symbols = [f"SIM{number:03d}USDT" for number in range(arguments.symbols)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="fleet-bench-"))
    path = folder / "redis.sock"
    command = [str(find_server(os.environ["PATH"])), "--port", "0", "--unixsocket", str(path), "--save", ""]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    flooding = multiprocessing.get_context("spawn").Process(
        target=sender,
        args=(port, symbols, arguments.bytes, arguments.burst, arguments.pause_ms / 1000),
        daemon=True,
    )
    flooding.start()
    try:
        client = redis_sync.Redis(unix_socket_path=str(path))
        for _ in range(100):
            try:
                client.ping()
                break
            except redis_sync.ConnectionError:
                time.sleep(0.05)
        time.sleep(1)
        uvloop.run(measure(f"unix://{path}", server.pid, port, symbols, arguments.seconds, arguments.burst))
    finally:
        flooding.kill()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
