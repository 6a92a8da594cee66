"""What `fleet status` tells of a book: its state, why it was last lost, its age, its range and its last audit."""

from __future__ import annotations

import io
import json
import time

import fakeredis
import pytest
from rich.console import Console

from workers.cli.status import refused_by, symbol_rows, symbols_table
from workers.ingest.subscriptions import Refusals
from workers.settings.schema import Settings
from workers.venues.binance.settings import BinanceSettings
from workers.venues.interface import Subscription
from workers.verification.stored import FleetReader

SETTINGS = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT", "ETHUSDT"])})


@pytest.fixture
def now_ms() -> int:
    return int(time.time() * 1000)


async def rows(now_ms: int, owner: str = "books-1") -> list[dict]:
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
    status = {
        "state": "synced",
        "reason": "gap",
        "last_update_id": 77,
        "sync_count": 2,
        "gap_count": 1,
        "known_low": "81791.60",
        "known_high": "inf",
        "levels": 2321,
        "event_time": now_ms - 2_000,
        "last_audit": "match 2026-11-21T00:31:42Z u=70",
        "last_audit_ms": now_ms - 30_000,
    }
    await client.hset("book:{BTCUSDT}:status", mapping=status)
    if owner:
        await client.hset("fleet:lease:books:{BTCUSDT}", "owner", owner)
    gap = {"channel": "depth", "from": 1, "to": 2, "reason": "gap", "repaired": "resync"}
    marked = {"channel": "aggTrade", "from": 5, "to": 5, "reason": "absurd", "repaired": "no hole"}
    for told in (gap, marked, {"rubbish": "of others"}):
        await client.xadd("gaps:{BTCUSDT}", told)
    reader = FleetReader(client, SETTINGS)
    return await symbol_rows(reader)


async def test_a_row_has_what_makes_a_book_trustworthy(now_ms: int) -> None:
    row, unknown = await rows(now_ms)
    assert (row["state"], row["reason"], row["update_id"], row["syncs"]) == ("synced", "gap", 77, 2)
    assert (row["known_low"], row["known_high"], row["levels"]) == ("81791.60", "inf", 2321)
    assert (row["gaps"], row["depth_gaps"]) == (1, 1)
    assert row["age_ms"] >= 2_000
    assert row["last_audit"] == "match 2026-11-21T00:31:42Z u=70"
    assert row["last_audit_age_ms"] >= 30_000
    assert (unknown["state"], unknown["age_ms"], unknown["last_audit_age_ms"]) == ("not owned", None, None)
    assert (unknown["known_low"], unknown["known_high"]) == ("inf", "0")


async def test_a_book_without_an_owner_is_in_no_state(now_ms: int) -> None:
    [row, _] = await rows(now_ms, owner="")
    assert (row["state"], row["owners"]["books"]) == ("not owned", "")


async def test_the_table_shows_it(now_ms: int) -> None:
    page = io.StringIO()
    Console(file=page, width=240).print(symbols_table(await rows(now_ms)))
    [btc] = [line for line in page.getvalue().splitlines() if "BTCUSDT" in line]
    for shown in ("synced", "gap", "81791.60 … all", "match 3", " s ago", "2321"):
        assert shown in btc
    [eth] = [line for line in page.getvalue().splitlines() if "ETHUSDT" in line]
    assert "not owned" in eth
    assert "nothing" in eth


async def test_a_stream_the_exchange_refuses_is_shown_with_its_symbol_and_why(now_ms: int) -> None:
    refusals = Refusals(1.0)
    refusals.note(Subscription("btcusdt@depth", "depth", "BTCUSDT"), 2, "Invalid \x9bsymbol", 0.0)
    [(name, why)] = refusals.reasons().items()
    lines = [
        {"role": "ingest-a", "refused_why": json.dumps({f"usdm:{name}": why})},
        {"role": "ingest-b", "refused_why": "rubbish"},
        {"role": "books"},
    ]
    refused = refused_by(lines)
    assert refused == {
        ("usdm", "BTCUSDT"): [r"line a: the exchange refuses depth: 2: Invalid \x9bsymbol"],
    }
    found = await rows(now_ms)
    found[0]["refused"] = refused["usdm", "BTCUSDT"]
    page = io.StringIO()
    Console(file=page, width=300).print(symbols_table(found))
    [btc] = [line for line in page.getvalue().splitlines() if "BTCUSDT" in line]
    assert "gap; line a: the exchange refuses depth: 2: Invalid" in btc
