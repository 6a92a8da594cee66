"""A fleet that holds a tape: some of it only in the archive, some in both, some only in Redis."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from workers.archive.files.storage import storage_of
from workers.archive.worker import ArchiveWorker
from workers.model.events import Trade
from workers.runtime.process import Process
from workers.settings.archive import ArchiveSettings
from workers.settings.schema import FleetSettings, Settings
from workers.store.keys import Keys
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore
from workers.venues.binance.settings import BinanceSettings

SYMBOL = "币安人生USDT"
MIDNIGHT = 1_790_035_200_000
DAY = "2026-09-22"
COUNT = 600
FIRST = 5000
TRIMMED = 100
ARCHIVED = 450
"""The archive has the first 450, the latest set all but the first 100."""
KEYS = Keys()


def tape() -> list[Trade]:
    """Trades around a midnight, four to a millisecond, so that their order in the set is not that of the ids."""
    trades = []
    for number in range(COUNT):
        trade_id, ms = FIRST + number, MIDNIGHT - 300_000 + number // 4 * 4_000
        price, quantity = f"0.{1000 + number % 17}0", f"{1 + number % 5}.50"
        trades.append(
            Trade(
                SYMBOL, trade_id, price, quantity, 2 * trade_id, 2 * trade_id + 1, ms, ms + 4, number % 3 == 0
            )
        )
    return trades


def wire(trade: Trade) -> bytes:
    row = {
        "e": "aggTrade", "E": trade.event_time, "s": SYMBOL, "a": trade.trade_id, "p": trade.price,
        "q": trade.quantity, "f": trade.first_trade_id, "l": trade.last_trade_id, "T": trade.trade_time,
        "m": trade.is_buyer_maker,
    }  # fmt: skip
    return json.dumps(row).encode()


def depth(number: int, ms: int) -> bytes:
    row = {"e": "depthUpdate", "E": ms, "T": ms - 1, "s": SYMBOL, "U": number, "u": number, "pu": number - 1}
    return json.dumps({**row, "b": [["0.10", "5"]], "a": [["0.11", '7"']]}).encode()


def environment(url: str, home: Path) -> dict[str, str]:
    return {
        "REDIS_URL": url,
        "FLEET_HOME": str(home),
        "FLEET_CONFIG": "default.toml",
        "FLEET_VENUES__USDM__SYMBOLS": SYMBOL,
    }


async def lay(url: str, home: Path) -> None:
    """Fill Redis and the archive."""
    client: Any = Redis.from_url(url, protocol=2)
    await client.flushall()  # the server is this test process's own
    await client.set("fleet:fence:archive:{x}", 0)
    store = TradeStore(client, KEYS, Scripts(client), retention_ms=0, bar_retention={})
    settings = Settings(
        fleet=FleetSettings(home=str(home), lease_ms=600_000),
        venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])},
        archive=ArchiveSettings(rotate_rows=70, rotate_s=1e-6, rotate_bars_s=1e-6, hole_wait_s=0),
    )
    process = Process("archive", settings, 0, url)
    worker = ArchiveWorker(process, storage_of(settings.archive.url, home))
    await worker.ownership.share()
    await worker.ownership.recover_taken()
    trades = tape()
    for start in range(0, COUNT, 50):
        batch = [(f"{trade.trade_time}-{trade.trade_id}", trade) for trade in trades[start : start + 50]]
        for stream_id, trade in batch:
            fields = {"data": wire(trade), "received": trade.event_time * 1000, "line": "a"}
            await client.xadd(KEYS.raw(SYMBOL, "aggTrade"), fields, id=stream_id)
            if trade.trade_id % 4 == 0:
                data = depth(trade.trade_id, trade.trade_time)
                fields = {"data": data, "received": 7, "line": "b"}
                await client.xadd(KEYS.raw(SYMBOL, "depth"), fields, id=stream_id)
        await store.apply(SYMBOL, batch)
        if start + 50 <= ARCHIVED:
            await archive_all(worker)
    await client.zremrangebyrank(KEYS.trades_latest(SYMBOL), 0, TRIMMED - 1)
    await client.xtrim(KEYS.raw(SYMBOL, "aggTrade"), maxlen=50, approximate=False)
    await client.xtrim(KEYS.raw(SYMBOL, "depth"), maxlen=80, approximate=False)
    await client.xtrim(KEYS.bars(SYMBOL, "1m"), maxlen=6, approximate=False)
    await process.client.aclose()
    await worker._reader_client.aclose()
    await client.aclose()


async def archive_all(worker: ArchiveWorker) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        more = await worker.step()
        if not more and not any(
            stream.buffer.rows or not stream.reads_new for stream in worker.streams.values()
        ):
            return
    raise AssertionError("the archive does not come to rest")


def official_zip(
    folder: Path,
    trades: list[Trade],
    *,
    market: str = "um",
    header: bool = True,
    micros: bool = False,
    name: str = f"{SYMBOL}-aggTrades-{DAY}.zip",
    checksum: bool = True,
) -> Path:
    """A file as data.binance.vision has it."""
    lines = ["agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"] * header
    for trade in trades:
        time = trade.trade_time * 1000 + 123 if micros else trade.trade_time
        row = [
            trade.trade_id,
            trade.price.rstrip("0"),
            trade.quantity,
            trade.first_trade_id,
            trade.last_trade_id,
        ]
        maker = str(trade.is_buyer_maker)
        lines.append(",".join(map(str, [*row, time, maker if market == "spot" else maker.lower()])))
        if market == "spot":
            lines[-1] += ",True"
    target = folder / market
    target.mkdir(parents=True, exist_ok=True)
    path = target / name
    text = "\n".join(lines) + "\n"
    if path.suffix == ".csv":
        path.write_text(text)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(path.with_suffix(".csv").name, text)
    if checksum:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path
