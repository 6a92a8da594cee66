"""The role on the simulated exchange, and under kill -9 as supervisord would see it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from archive_world import trade_entry
from redis.asyncio import Redis

from workers.archive.files.layout import Source, sources_of
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import COLUMNS, POSITIONS, REPAIRED
from workers.archive.files.storage import LocalStorage, storage_of
from workers.archive.worker import ArchiveWorker
from workers.cli.application import main
from workers.ingest.worker import IngestWorker
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.tasks import end
from workers.settings.archive import ArchiveSettings
from workers.settings.schema import FleetSettings, Settings
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import Keys
from workers.trades.worker import TradeWorker
from workers.venues.binance.settings import BinanceSettings

SYMBOLS = ["BTCUSDT", "币安人生USDT", "BTCUSDT_261225"]
KEYS = Keys()
ALWAYS = (0, 10**14)


class Fleet:
    def __init__(self, exchange: SimulatedExchange, url: str, root: Path, archive: ArchiveSettings) -> None:
        self.exchange, self.url, self.root = exchange, url, root
        self.settings = Settings(
            fleet=FleetSettings(lease_ms=3000, heartbeat_ms=200),
            venues={
                "usdm": BinanceSettings(
                    market="usdm",
                    symbols=SYMBOLS,
                    websocket_url=f"{exchange.websocket_url}/usdm",
                    rest_url=f"{exchange.url}/usdm",
                    request_spacing_ms=20,
                )
            },
            archive=archive,
        )
        self.client: Any = Redis.from_url(url, protocol=2)
        self.processes: list[Process] = []
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, role: str) -> tuple[Process, asyncio.Task[None]]:
        process = Process(role, self.settings, 0, self.url)
        process.name = f"{role}-{len(self.processes)}"
        self.processes.append(process)
        task = asyncio.create_task(self._run(process))
        self.tasks.append(task)
        return process, task

    async def _run(self, process: Process) -> None:
        beat = asyncio.create_task(process._beat())
        try:
            if process.role.startswith("ingest"):
                await IngestWorker(process, process.role[-1]).run()
            elif process.role == "trades":
                async with Sessions() as session:
                    await TradeWorker(process, session).run()
            else:
                await ArchiveWorker(process, LocalStorage(self.root)).run()
        finally:
            await end([beat])  # a single cancellation may be lost, and it would look alive for ever

    async def control(self, method: str, path: str, **body: Any) -> Any:
        url = f"{self.exchange.url}/control/{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, **body) as response:
            return await response.json()

    async def truth(self, symbol: str) -> list[dict[str, Any]]:
        query = {"market": "usdm", "symbol": symbol}
        return (await self.control("GET", "truth/trades", params=query))["trades"]

    async def folded(self) -> None:
        """Wait until the fold has every trade there is."""
        for symbol in SYMBOLS:
            if await self.client.exists(KEYS.raw(symbol, "aggTrade")):
                await self.folded_to(symbol, await self.newest(symbol))

    async def newest(self, symbol: str) -> int:
        """The id of the newest trade there is."""
        return max((row["a"] for row in await self.truth(symbol)), default=-1)

    async def folded_to(self, symbol: str, trade_id: int) -> None:
        """Wait until the fold has come to a trade."""
        async with asyncio.timeout(90):
            while int(await self.client.hget(KEYS.trades_state(symbol), "last_id") or -1) < trade_id:
                await asyncio.sleep(0.05)

    async def struck(self, times: int) -> None:
        """Wait until the faults have struck so often."""
        async with asyncio.timeout(90):
            while sum(row["hits"] for row in (await self.control("GET", "faults"))["faults"]) < times:
                await asyncio.sleep(0.05)

    async def archived(self) -> None:
        """Wait until the archive has read everything there is."""
        async with asyncio.timeout(90):
            for symbol in SYMBOLS:
                for source in sources_of("usdm", symbol, ["trades", "depth", "bars"], list(INTERVALS_MS)):
                    while not await self._read(source):
                        await asyncio.sleep(0.05)

    async def _read(self, source: Source) -> bool:
        groups = await self.client.xinfo_groups(source.key(KEYS))
        newest = (await self.client.xinfo_stream(source.key(KEYS)))["last-generated-id"]
        return any(group["last-delivered-id"] == newest for group in groups if group["name"] == b"archive")


@asynccontextmanager
async def fleet_of(url: str, root: Path, archive: ArchiveSettings) -> AsyncIterator[Fleet]:
    settings = SimSettings(port=0, usdm_symbols=tuple(SYMBOLS), spot_symbols=(), rate_scale=4.0)
    async with SimulatedExchange(settings) as exchange:
        fleet = Fleet(exchange, url, root, archive)
        await fleet.client.flushall()  # the server is this test process's own
        try:
            yield fleet
        finally:
            for process in fleet.processes:
                process.stop.set()
            await asyncio.gather(*fleet.tasks, return_exceptions=True)
            for process in fleet.processes:
                await process.client.aclose()
            await fleet.client.aclose()


async def test_the_archive_holds_the_simulator_s_truth(
    real_server: str, archive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line loses a tenth of the trade messages: the trades role repairs them, the archive has them too."""
    archive = ArchiveSettings(rotate_rows=40, rotate_s=0.7, poll_ms=20, hole_wait_s=15)
    async with fleet_of(real_server, archive_folder, archive) as fleet:
        fleet.start("ingest-a")
        trades, trades_task = fleet.start("trades")
        first, first_task = fleet.start("archive")
        await asyncio.sleep(1.2)
        for symbol in SYMBOLS[:2]:
            fault = f"lose stream=*@aggTrade share=0.1 symbol={symbol}"
            await fleet.control("POST", "faults", json={"fault": fault})
        first.stop.set()
        await first_task
        await first.registry.leave("archive", first.name)
        second, second_task = fleet.start("archive")
        await fleet.struck(3)
        await fleet.control("DELETE", "faults")
        for symbol in SYMBOLS[:2]:  # what is lost at the very end shows only when something comes after it
            await fleet.folded_to(symbol, (await fleet.newest(symbol)) + 1)
        await fleet.control("POST", "pause")
        await asyncio.sleep(0.3)
        await fleet.folded()
        trades.stop.set()
        await trades_task
        await fleet.archived()
        second.stop.set()
        await second_task
        repaired = 0
        for symbol in SYMBOLS:
            repaired += await check_symbol(fleet, symbol)
        assert repaired > 0
        monkeypatch.setenv("REDIS_URL", real_server)
        monkeypatch.setenv("FLEET_ARCHIVE__URL", str(archive_folder))
        truth = await fleet.truth(SYMBOLS[0])
        for source in ("auto", "archive"):
            for changed, differs in ((truth, 0), (truth[:-9] + truth[-8:], 1), (_one_changed(truth), 1)):
                path = _official(archive_folder, changed)
                options = ["--symbol", SYMBOLS[0], "--source", source]
                assert await asyncio.to_thread(main, ["verify-archive", str(path), *options]) == differs


def _one_changed(truth: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*truth[:-9], {**truth[-9], "q": "123456"}, *truth[-8:]]


def _official(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "truth.csv"
    lines = [",".join(str(row[name]) for name in "apqflTm") for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


async def check_symbol(fleet: Fleet, symbol: str) -> int:
    """Compare every row with the truth; how many trades were repaired ones."""
    reader = ArchiveReader(LocalStorage(fleet.root))
    truth = {row["a"]: row for row in await fleet.truth(symbol)}
    rows = list(reader.rows(Source("usdm", symbol, "trades"), *ALWAYS))
    ids = [row[1] for row in rows]
    traded = await fleet.client.xlen(KEYS.raw(symbol, "aggTrade")) > 0
    assert ids == (list(range(ids[0], max(truth) + 1)) if traded else []), symbol
    for _, trade_id, price, quantity, first, last, time, _, maker, market, *_ in rows:
        row = truth[trade_id]
        assert (price, quantity, first, last, time, maker, market) == (
            row["p"], row["q"], row["f"], row["l"], row["T"], row["m"], True,
        )  # fmt: skip
    for kind, interval in (("depth", ""), ("bars", "100ms"), ("bars", "1m")):
        source = Source("usdm", symbol, kind, interval)
        entries = await fleet.client.xrange(source.key(KEYS))
        found = list(reader.rows(source, *ALWAYS))
        assert [row[0] for row in found] == [stream_id.decode() for stream_id, _ in entries], source
        for row, (_, fields) in zip(found, entries, strict=True):
            if kind == "depth":
                assert row[POSITIONS["depth"]["data"]] == fields[b"data"]
            else:
                assert [_text(value) for value in row[1:]] == [value.decode() for value in fields.values()]
                assert [column.name.encode() for column in COLUMNS["bars"][1:]] == list(fields)
    assert await fleet.client.exists(KEYS.gaps(symbol)) in (0, 1)
    gaps = [fields for _, fields in await fleet.client.xrange(KEYS.gaps(symbol))]
    assert [gap for gap in gaps if gap[b"channel"] == b"archive"] == []
    return sum(row[POSITIONS["trades"]["line"]] == REPAIRED for row in rows)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


async def test_kill_9_of_the_role_loses_and_doubles_nothing(real_server: str, archive_folder: Path) -> None:
    client: Any = Redis.from_url(real_server, protocol=2)
    await client.flushall()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLEET_")},
        "REDIS_URL": real_server,
        "FLEET_HOME": str(archive_folder / "home"),
        "FLEET_VENUES__USDM__SYMBOLS": "BTCUSDT",
        "FLEET_ARCHIVE__ENABLED": "true",
        "FLEET_ARCHIVE__KINDS": "trades",
        "FLEET_ARCHIVE__ROTATE_ROWS": "37",
        "FLEET_ARCHIVE__ROTATE_S": "0.2",
        "FLEET_ARCHIVE__POLL_MS": "5",
        "FLEET_FLEET__LEASE_MS": "400",
        "FLEET_FLEET__HEARTBEAT_MS": "100",
    }
    command = [sys.executable, "-P", "-m", "workers.cli", "run", "archive"]
    key = KEYS.raw("BTCUSDT", "aggTrade")

    async def feed() -> None:
        for number in range(1, 10**6):
            stream_id, fields = trade_entry(number, 1_790_035_190_000 + 7 * number, 0)
            await client.xadd(key, fields, id=str(stream_id))
            await asyncio.sleep(0.001)

    source = Source("usdm", "BTCUSDT", "trades")
    storage = storage_of("archive", archive_folder / "home")
    feeding = asyncio.create_task(feed())
    try:
        for round_ in range(3):
            worker = await asyncio.to_thread(
                subprocess.Popen, command, env=environment, stderr=subprocess.DEVNULL
            )
            try:
                before = len(list(_files(archive_folder)))
                async with asyncio.timeout(90):
                    while len(list(_files(archive_folder))) < before + 2:
                        await asyncio.sleep(0.011)
                if round_ == 2:
                    await end([feeding])
                    await _until_all_is_read(client, key)
                    worker.terminate()
                    assert await asyncio.to_thread(worker.wait, 60) == 0
            finally:
                worker.kill()
                worker.wait()
    finally:
        await end([feeding])
    rows = list(ArchiveReader(storage).rows(source, *ALWAYS))
    assert [row[0] for row in rows] == [stream_id.decode() for stream_id, _ in await client.xrange(key)]
    assert (await client.xpending(key, "archive"))["pending"] == 0
    await client.aclose()


async def _until_all_is_read(client: Any, key: str) -> None:
    async with asyncio.timeout(90):
        newest = (await client.xinfo_stream(key))["last-generated-id"]
        while (await client.xinfo_groups(key))[0]["last-delivered-id"] != newest:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)


def _files(root: Path) -> list[Path]:
    return list(root.rglob("*.parquet"))


@pytest.mark.parametrize("extra", ["false", "true"])
def test_the_program_ends_at_once_where_it_cannot_or_must_not_work(extra: str, tmp_path: Path) -> None:
    """Not wanted: code 0. Wanted without pyarrow: code 2 and a sentence that names the extra."""
    script = (
        "import workers.archive.files.parquet as parquet; parquet.find_spec = lambda _: None;"
        "from workers.operations.role import main; raise SystemExit(main(['archive']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "FLEET_HOME": str(tmp_path), "FLEET_ARCHIVE__ENABLED": extra},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (2 if extra == "true" else 0), done.stderr
    assert ("-m pip install" in done.stderr) == (extra == "true")


async def test_rubbish_in_the_keys_of_one_symbol_leaves_the_others_archived(
    real_server: str, archive_folder: Path
) -> None:
    victim, other = SYMBOLS[:2]
    archive = ArchiveSettings(rotate_rows=40, rotate_s=0.7, poll_ms=20, hole_wait_s=15)
    async with fleet_of(real_server, archive_folder, archive) as fleet:
        fleet.start("ingest-a")
        fleet.start("trades")
        _, task = fleet.start("archive")
        source = Source("usdm", other, "trades")
        spoils = (
            (
                KEYS.archive(victim),
                lambda key: fleet.client.hset(key, mapping={"aggTrade": b"\xff", "depth": "x"}),
            ),
            (KEYS.archive(victim), lambda key: fleet.client.rpush(key, "x")),
            (KEYS.raw(victim, "depth"), lambda key: fleet.client.set(key, "x")),
            (
                KEYS.raw(victim, "aggTrade"),
                lambda key: fleet.client.xadd(key, {"data": "{}", "received": "abc"}),
            ),
            (
                KEYS.bars(victim, "100ms"),
                lambda key: fleet.client.xadd(key, {"start": "x", b"\xff": b"\xff"}),
            ),
            (KEYS.bars(victim, "1m"), lambda key: fleet.client.zadd(key, {"x": 1})),
        )
        for key, spoil in spoils:
            if "archive" in key or "1m" in key or "depth" in key:
                await fleet.client.delete(key)
            await spoil(key)
            await asyncio.sleep(0.3)
            newest = await fleet.newest(other)
            async with asyncio.timeout(90):  # what was traded since the rubbish came gets into files
                while True:
                    rows = await asyncio.to_thread(
                        lambda: list(ArchiveReader(LocalStorage(fleet.root)).rows(source, *ALWAYS))
                    )
                    assert not task.done(), task
                    if rows and rows[-1][1] >= newest:
                        break
                    await asyncio.sleep(0.1)
