"""The whole fleet as processes on its own server and the simulated exchange, for the benches that need one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from workers.conformance.fleet.processes import Processes
from workers.settings.loading import load, redis_url
from workers.settings.schema import Settings
from workers.store.connection import connect
from workers.verification.stored import FleetReader
from workers.verification.truth_source import TruthSource

ROLES = (("redis", 0), ("keeper", 0), ("books", 0), ("books", 1), ("trades", 0), ("trades", 1), ("ingest-a", 0),
         ("ingest-b", 0), ("api", 0))  # fmt: skip


class RunningFleet(NamedTuple):
    """A fleet under way: its processes, what it holds, what really happened."""

    processes: Processes
    reader: FleetReader
    source: TruthSource
    client: Any
    """Of redis-py, whose types allow text where bytes come."""
    settings: Settings
    symbols: Sequence[str]
    api: str
    """Base URL of its API."""
    logs: Path

    def snapshots(self) -> int:
        """Snapshots the owners of books asked for so far, whatever became of them."""
        return len(self.logged("snapshot")) + len(self.logged("snapshot_failed"))

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What the workers logged of one event."""
        marked = f'"event": "{event}"'
        logs = [file for file in self.logs.glob("*.log") if not file.name.startswith(("exchange", "redis"))]
        lines = (line for file in logs for line in file.read_text("utf-8", "replace").splitlines())
        return [json.loads(line) for line in lines if marked in line]


def symbols_named(count: int) -> list[str]:
    """Names for so many simulated symbols."""
    return [f"SIM{number:03d}USDT" for number in range(count)]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_file(home: Path, symbols: Sequence[str], exchange: int, api: int) -> Path:
    """The fleet's settings: defaults, but for where everything is, and no audits, which ask for snapshots too."""
    path = home / "bench.toml"
    path.write_text(
        f'[fleet]\nhome = "{home}"\nlog_level = "info"\n'
        f"[redis]\nport = 0\n[api]\nport = {api}\n[keeper]\naudit_s = 0\n"
        f'[venues.usdm]\nmarket = "usdm"\nsymbols = {json.dumps(list(symbols))}\nsnapshot_depth = 500\n'
        f'websocket_url = "ws://127.0.0.1:{exchange}/usdm"\nrest_url = "http://127.0.0.1:{exchange}/usdm"\n',
        encoding="utf-8",
    )
    return path


@contextlib.asynccontextmanager
async def running_fleet(symbols: Sequence[str], **sim: Any) -> AsyncIterator[RunningFleet]:
    """A fleet that has just been started; everything is ended and removed afterwards.

    Args:
        sim: settings of the simulated exchange.
    """
    home = Path(tempfile.mkdtemp(prefix="fleet-bench-"))
    exchange, api = free_port(), free_port()
    file = settings_file(home, symbols, exchange, api)
    (home / "log").mkdir()
    os.environ["FLEET_CONFIG"] = str(file)
    settings = load(file, dict(os.environ)).settings
    processes = Processes(home, dict(os.environ))
    simulator = {
        "port": exchange,
        "usdm_symbols": list(symbols),
        "spot_symbols": [],
        "usdm_weight_limit": 2400,
        **sim,
    }
    processes.add_exchange("exchange", json.dumps(simulator))
    for role, number in ROLES:
        processes.add_role(role, number)
    client = connect(redis_url(settings))
    try:
        async with processes.watched(), TruthSource(f"http://127.0.0.1:{exchange}") as source:
            for program in processes.named(""):
                program.start()
            while not await source.ready():
                await asyncio.sleep(0.1)
            reader = FleetReader(client, settings)
            yield RunningFleet(
                processes, reader, source, client, settings, symbols, f"http://127.0.0.1:{api}", home / "log"
            )
    finally:
        await client.aclose()
        shutil.rmtree(home, ignore_errors=True)
