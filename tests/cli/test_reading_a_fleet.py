"""The reading commands, the doctor and the Python client at a running demo, found by its run directory."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from demo_runs import start, wait_for_books

from workers.client import FleetClient, Trade

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.e2e
SYMBOLS = ["BTCUSDT", "ETHUSDT", "spot:BTCUSDT"]


@pytest.fixture
def demo(folder: Path, fleet: Run) -> Iterator[str]:
    """The URL of a demo's server, once its books are shown; stopped as somebody else stops it."""
    home = folder / "home"
    process = start(home)
    wait_for_books(home, 6).close()
    yield f"unix://{home / 'run' / 'redis.sock'}"
    assert fleet("stop").returncode == 0
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Stopped by somebody else." in errors


async def read(url: str, batches: int) -> dict[str, list[int]]:
    """The ids of trades from the beginning, stopped and resumed between batches."""
    ids: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
    token = None
    async with FleetClient(url) as fleet, asyncio.timeout(200):
        while batches > 0 or not all(
            ids.values()
        ):  # a starved market may trade in one symbol only for a while
            batches -= 1
            async with fleet.trades(SYMBOLS, resume=token, from_ms=0) as feed:
                for _ in range(40):
                    record = await anext(feed)
                    assert isinstance(record, Trade), record
                    ids[record.symbol].append(record.trade_id)
                token = feed.token
    return ids


def test_a_running_fleet_is_read_as_it_is(fleet: Run, demo: str):
    book = json.loads(fleet("book", "BTCUSDT", "--json").stdout)
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    ids = asyncio.run(read(demo, 5))
    for symbol, found in ids.items():
        assert found == list(range(found[0], found[0] + len(found))), symbol
    held = json.loads(fleet("trades", "BTCUSDT", "--limit", "5000", "--json").stdout)["trades"]
    assert [trade["trade_id"] for trade in held][: len(ids["BTCUSDT"])] == ids["BTCUSDT"]
    for while_ in ("2s", "10s", "60s"):  # on a busy machine it takes its time to begin
        followed = fleet("trades", "BTCUSDT", "--follow", "--for", while_, "--json").stdout.splitlines()
        if followed:
            break
    later = [json.loads(line)["trade_id"] for line in followed]
    assert later == list(range(later[0], later[0] + len(later)))
    assert any(
        " at " in fleet("watch", "BTCUSDT", "--for", while_).stdout for while_ in ("1.5s", "10s", "60s")
    )
    told = fleet("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(told.stdout)["findings"]}
    assert told.returncode == 0, told.stdout
    assert "running fleet" in findings["ports"]["found"]
    assert {
        findings[f"{venue} {what}"]["level"] for venue in ("usdm", "spot") for what in ("REST", "clock")
    } == {"ok"}
