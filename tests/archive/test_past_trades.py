"""Trades and bars that Redis has no more: API and client read on from the archive, each once, page by page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
from held_tape import COUNT, FIRST, MIDNIGHT, SYMBOL, TRIMMED, environment, lay, tape
from redis.asyncio import Redis

from workers.api.http.markets import Markets
from workers.api.http.queries import BarsQuery, TradesQuery
from workers.api.http.routes.trades import TradeRoutes
from workers.archive.files.storage import LocalStorage
from workers.cli.application import main
from workers.client import FleetClient
from workers.errors import TryLater
from workers.settings.schema import Settings
from workers.venues.binance.settings import BinanceSettings

BEGIN = MIDNIGHT - 300_000


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


class Held:
    """The routes over a laid tape, with and without its archive."""

    def __init__(self, url: str, home: Path) -> None:
        self.url, self.archive = url, home / "archive"
        self.client: Any = Redis.from_url(url, protocol=2)
        self.markets = Markets(Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])}))
        self.routes = TradeRoutes(self.markets, self.client, 5_000, LocalStorage(self.archive))
        self.bare = TradeRoutes(self.markets, self.client, 5_000)


@pytest.fixture
async def held(real_server: str, archive_folder: Path) -> AsyncIterator[Held]:
    await lay(real_server, archive_folder)
    made = Held(real_server, archive_folder)
    yield made
    await made.client.aclose()


async def test_trades_are_read_on_from_the_archive_page_by_page(held: Held) -> None:
    wanted = [(trade.trade_id, trade.price, trade.trade_time) for trade in tape()]
    bare = await held.bare.trades(TradesQuery(symbol=SYMBOL, from_=BEGIN, limit=5_000))
    assert bare.trades[0].id == FIRST + TRIMMED
    for size in (1_000, 70, 33):
        found, after = [], None
        for _ in range(COUNT):
            query = TradesQuery(symbol=SYMBOL, from_=BEGIN, limit=size)
            if after is not None:
                query.after_id = after
            page = await held.routes.trades(query)
            found += [(trade.id, trade.price, trade.time_ms) for trade in page.trades]
            after = page.next_after_id
            if after is None:
                break
        assert found == wanted, size
    part = await held.routes.trades(TradesQuery(symbol=SYMBOL, from_=BEGIN + 8_000, to=BEGIN + 16_000))
    assert [trade.id for trade in part.trades] == list(range(FIRST + 8, FIRST + 16))


async def test_bars_are_read_on_from_the_archive(held: Held) -> None:
    bare = await held.bare.bars(BarsQuery(interval="1m", symbol=SYMBOL, from_=BEGIN, limit=5_000))
    whole = await held.routes.bars(BarsQuery(interval="1m", symbol=SYMBOL, from_=BEGIN, limit=5_000))
    assert not isinstance(bare, list)
    assert not isinstance(whole, list)
    starts = [bar.start_ms for bar in whole.bars]
    assert starts == list(range(BEGIN, BEGIN + 10 * 60_000, 60_000))
    assert len(bare.bars) < len(whole.bars)
    assert whole.bars[-len(bare.bars) :] == bare.bars
    for bar in whole.bars[:-1]:
        inside = [trade for trade in tape() if bar.start_ms <= trade.trade_time <= bar.end_ms]
        assert (bar.first_agg_trade_id, bar.trades_count) == (inside[0].trade_id, len(inside))
    few = await held.routes.bars(BarsQuery(interval="1m", symbol=SYMBOL, from_=BEGIN, limit=3))
    assert not isinstance(few, list)
    assert few.bars == whole.bars[:3]


async def test_the_client_reads_on_too(held: Held) -> None:
    await held.client.set("fleet:venues", '["usdm"]')
    async with FleetClient(held.url, archive=str(held.archive)) as fleet:
        trades = await fleet.get_trades(SYMBOL, from_ms=BEGIN, limit=5_000)
        assert [trade.trade_id for trade in trades] == list(range(FIRST, FIRST + COUNT))
        assert [trade.trade_id for trade in await fleet.get_trades(SYMBOL, from_ms=BEGIN, limit=7)] == [
            *range(FIRST, FIRST + 7)
        ]
        bars = await fleet.get_bars(SYMBOL, "1m", from_ms=BEGIN)
        assert [bar.start_ms for bar in bars] == list(range(BEGIN, BEGIN + 10 * 60_000, 60_000))


def test_the_command_reads_on_too(
    held: Held, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published = redis.Redis.from_url(held.url)
    published.set("fleet:venues", '["usdm"]')
    published.close()
    variables = environment(held.url, held.archive.parent) | {"FLEET_ARCHIVE__ENABLED": "true"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    arguments = ["trades", SYMBOL, "--from", "2026-09-21T23:55:00", "--limit", "3", "--json"]
    assert main(arguments) == 0
    assert [row["trade_id"] for row in json.loads(capsys.readouterr().out)["trades"]] == [
        *range(FIRST, FIRST + 3)
    ]


async def test_a_damaged_archive_is_said_and_later_times_are_answered(held: Held) -> None:
    for path in files_of(held.archive):
        path.write_bytes(b"PAR1")
    with pytest.raises(TryLater, match="archive"):
        await held.routes.trades(TradesQuery(symbol=SYMBOL, from_=BEGIN))
    later = await held.routes.trades(TradesQuery(symbol=SYMBOL, from_=BEGIN + TRIMMED // 4 * 4_000))
    assert later.trades[0].id == FIRST + TRIMMED
