"""`fleet verify-archive` against files as the exchange publishes them: what is held is never called missing."""

from __future__ import annotations

import asyncio
import csv
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.cli.application import main
from workers.model.events import Trade
from workers.model.trades.latest import json_member
from workers.recordings.sorting import TradeSorter
from workers.store.keys import Keys

OFFICIAL = Path(__file__).resolve().parents[1] / "data" / "official"
SYMBOL = "BTCUSDT"
Verify = Callable[..., tuple[int, dict[str, Any]]]


def rows_of(path: Path) -> list[list[str]]:
    rows = list(csv.reader(path.read_text().splitlines()))
    return [row for row in rows if row[0].isdigit()]


@pytest.fixture
def verify(
    real_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Verify:
    """Holds the rows given in Redis, and compares."""
    monkeypatch.setenv("REDIS_URL", real_server)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEET_CONFIG", "default.toml")
    monkeypatch.setenv("FLEET_VENUES__USDM__SYMBOLS", SYMBOL)

    async def lay(rows: Sequence[Sequence[str]]) -> None:
        client: Any = Redis.from_url(real_server)
        await client.flushall()  # the server is this test process's own
        for row in rows:
            time = int(row[5]) // (1000 if len(row[5]) == 16 else 1)
            maker = row[6].lower() == "true"
            trade = Trade(SYMBOL, int(row[0]), row[1], row[2], int(row[3]), int(row[4]), time, time, maker)
            await client.zadd(Keys().trades_latest(SYMBOL), {json_member(trade, "aggTrade"): time})
        await client.aclose()

    def run(path: Path, rows: Sequence[Sequence[str]], *options: str) -> tuple[int, dict[str, Any]]:
        asyncio.run(lay(rows))
        code = main(["verify-archive", str(path), "--json", "--symbol", SYMBOL, *options])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else {"error": said.err}

    return run


@pytest.mark.parametrize(
    "name", ["um_header", "um_noheader", "um_interleaved", "um_past_midnight", "um_each_row_twice"]
)
@pytest.mark.parametrize("as_day", [False, True])
def test_what_is_held_is_the_same(verify: Verify, tmp_path: Path, name: str, as_day: bool):
    path = OFFICIAL / f"{name}.csv"
    if as_day:  # rows of the day after, and one of the very first ms, are in the file of 2026-06-30
        path = tmp_path / f"{SYMBOL}-aggTrades-2026-06-30.csv"
        path.write_bytes((OFFICIAL / f"{name}.csv").read_bytes())
    rows = {row[0]: row for row in rows_of(path)}
    code, found = verify(path, list(rows.values()))
    assert code == 0, found
    assert (found["equal"], found["missing"], found["extra"], found["different"]) == (len(rows), 0, 0, 0)


@pytest.mark.parametrize("name", ["spot_us_header", "spot_us_noheader"])
def test_spot_files_with_microseconds_are_the_same(verify: Verify, name: str):
    rows = rows_of(OFFICIAL / f"{name}.csv")
    code, found = verify(OFFICIAL / f"{name}.csv", rows, "--venue", "usdm")
    assert (code, found["equal"]) == (0, 20)


def test_trades_at_the_edges_of_a_day_may_be_in_either_file(verify: Verify, tmp_path: Path):
    rows = rows_of(OFFICIAL / "um_header.csv")
    midnight = 1782777600000
    before = [["4999", "60000", "0.5", "8998", "8999", str(midnight), "false"]]
    after = [["5020", "60000", "0.5", "9040", "9041", str(midnight + 86_400_000), "false"]]
    path = tmp_path / f"{SYMBOL}-aggTrades-2026-06-30.csv"
    path.write_bytes((OFFICIAL / "um_header.csv").read_bytes())
    code, found = verify(path, [*before, *rows, *after])
    assert (code, found["equal"], found["extra"], found["missing"]) == (0, 20, 0, 0)
    inside = [["5021", "60000", "0.5", "9042", "9043", str(midnight + 86_000_000), "false"]]
    code, found = verify(path, [*rows, *inside])
    assert (code, found["extra"]) == (1, 1)


def test_one_of_two_rows_of_one_id_is_equal_and_the_other_told(verify: Verify):
    rows = rows_of(OFFICIAL / "um_same_id_other_content.csv")
    for held in (rows[:-1], [*rows[:-2], rows[-1]]):
        code, found = verify(OFFICIAL / "um_same_id_other_content.csv", held)
        assert (code, found["equal"], found["different"], found["contradictory"]) == (1, 20, 0, 1)
        assert (found["missing"], found["extra"]) == (0, 0)
        assert [row.split(" stands")[0] for row in found["rows"]] == [
            f"line {1 + len(rows)}: its id {rows[-1][0]}"
        ]


def test_rows_that_are_no_trade_are_not_missing(verify: Verify):
    rows = rows_of(OFFICIAL / "um_zero_quantity.csv")
    real = [row for row in rows if float(row[2])]
    assert len(real) < len(rows)
    code, found = verify(OFFICIAL / "um_zero_quantity.csv", real)
    assert (code, found["equal"], found["not_market"], found["missing"]) == (
        0,
        len(real),
        len(rows) - len(real),
        0,
    )


def test_two_files_joined_with_both_headers_are_one(verify: Verify, tmp_path: Path):
    lines = (OFFICIAL / "um_header.csv").read_text().splitlines()
    path = tmp_path / "joined.csv"
    path.write_text("\n".join([*lines[:9], lines[0], *lines[9:]]) + "\n")
    code, found = verify(path, rows_of(path))
    assert (code, found["equal"]) == (0, 20)


def test_a_package_of_two_files_is_refused(verify: Verify):
    code, found = verify(OFFICIAL / "um_nested.zip", [])
    assert code == 2
    assert "2 .csv files, not one" in found["error"]


def test_a_monthly_file_far_out_of_order_is_the_same(
    verify: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(TradeSorter.__init__, "__defaults__", (50, 4))
    midnight = 1780272000000
    rows = [[str(n), "9.5", "1", str(n), str(n), str(midnight + n), "true"] for n in range(1, 2001)]
    path = tmp_path / f"{SYMBOL}-aggTrades-2026-06.zip"
    disordered = [*rows[1000:], *rows[1:1000:2], *rows[0:1000:2]]
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.csv", "".join(",".join(row) + "\n" for row in disordered))
    code, found = verify(path, rows)
    assert (code, found["equal"], found["missing"], found["extra"]) == (0, 2000, 0, 0)


def test_ids_of_single_trades_are_never_compared_with_aggregate_ones(
    verify: Verify, monkeypatch: pytest.MonkeyPatch
):
    rows = [
        [row[0], row[1], row[2], row[0], row[0], row[4], row[5]]
        for row in rows_of(OFFICIAL / "um_trades_file.csv")
    ]
    code, found = verify(OFFICIAL / "um_trades_file.csv", rows)
    assert code == 2
    assert "…-aggTrades-…" in found["error"]
    monkeypatch.setenv("FLEET_VENUES__USDM__TRADES", "trade")
    code, found = verify(OFFICIAL / "um_trades_file.csv", rows)
    assert (code, found["kind"], found["equal"]) == (0, "trades", 5)
    code, found = verify(OFFICIAL / "um_header.csv", rows)
    assert code == 2
    assert "…-trades-…" in found["error"]


def test_klines_are_compared_with_bars(verify: Verify, real_server: str, capsys: pytest.CaptureFixture[str]):
    verify(OFFICIAL / "spot_klines_us.csv", [])  # empties the server
    bar = {
        "revision": 0, "complete": 1, "last_update_time": 1, "open_price": "1", "high_price": "2.00",
        "low_price": "0.5", "close_price": "1.5", "volume": "100", "quote_volume": "150", "buy_volume": "50",
        "trades_count": 5, "skipped_count": 0, "is_buyer_maker_count": 1, "first_trade_id": 1, "last_trade_id": 10,
        "first_agg_trade_id": 1, "last_agg_trade_id": 5,
    }  # fmt: skip

    async def lay(changes: dict[int, dict[str, Any]]) -> None:
        client: Any = Redis.from_url(real_server)
        await client.flushall()
        for number in range(5):
            start = 1782777600000 + number * 60_000
            await client.xadd(Keys().bars(SYMBOL, "1m"), {"start": start, **bar}, id=f"{start}-0")
            if number in changes:
                revised = {"start": start, **bar, "revision": 1, **changes[number]}
                await client.xadd(Keys().bars(SYMBOL, "1m"), revised, id=f"{start}-1")
        await client.aclose()

    def run() -> tuple[int, dict[str, Any]]:
        path = OFFICIAL / "spot_klines_us.csv"
        code = main(["verify-archive", str(path), "--json", "--symbol", SYMBOL, "--venue", "usdm"])
        return code, json.loads(capsys.readouterr().out)

    asyncio.run(lay({}))
    code, found = run()
    assert (code, found["kind"], found["official"], found["equal"]) == (0, "klines", 5, 5)
    asyncio.run(lay({1: {"volume": "101"}, 2: {"complete": 0}}))
    code, found = run()
    assert (code, found["equal"], found["different"], found["incomplete"]) == (1, 3, 1, 1)
    assert found["fields"] == {"volume": 1}
