"""`fleet export`: both stores as one list, each row once, in both formats."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import redis as redis_sync
import zstandard
from held_tape import ARCHIVED, COUNT, FIRST, MIDNIGHT, SYMBOL, TRIMMED, environment, lay, tape
from pyarrow import ipc

from workers.cli.application import main


@pytest.fixture(scope="module")
def held(real_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    home = tmp_path_factory.mktemp("held")
    asyncio.run(lay(real_server, home))
    yield real_server, home
    shutil.rmtree(home)


Export = Callable[..., int]


@pytest.fixture
def export(held: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Export:
    for name, value in environment(*held).items():
        monkeypatch.setenv(name, value)

    def run(*options: str) -> int:
        return main(["export", "--symbol", SYMBOL, *options])

    return run


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.mark.parametrize(
    ("source", "ids"),
    [
        ("redis", range(FIRST + TRIMMED, FIRST + COUNT)),
        ("archive", range(FIRST, FIRST + ARCHIVED)),
        ("auto", range(FIRST, FIRST + COUNT)),
    ],
)
def test_trades_of_each_source_in_order_of_their_ids(export: Export, tmp_path: Path, source: str, ids: range):
    out = tmp_path / "trades.csv"
    assert export("--kind", "trades", "--source", source, "-o", str(out)) == 0
    rows = read_csv(out)
    assert [int(row["agg_trade_id"]) for row in rows] == list(ids)
    for row, trade in zip(rows, tape()[ids.start - FIRST :], strict=False):
        assert (row["symbol"], row["price"], row["quantity"]) == (SYMBOL, trade.price, trade.quantity)
        assert (row["first_trade_id"], row["last_trade_id"]) == (
            str(trade.first_trade_id),
            str(trade.last_trade_id),
        )
        assert (row["trade_time"], row["event_time"]) == (str(trade.trade_time), str(trade.event_time))
        assert (row["is_buyer_maker"], row["is_market"]) == (str(trade.is_buyer_maker).lower(), "true")
        filed = source != "redis" and trade.trade_id < FIRST + ARCHIVED
        assert (row["received"], row["line"]) == ((str(trade.event_time * 1000), "a") if filed else ("", ""))


def test_a_stretch_of_time_excludes_its_end(export: Export, tmp_path: Path):
    out = tmp_path / "trades.csv"
    start, end = MIDNIGHT - 8_000, MIDNIGHT + 4_000
    options = ("--from", "2026-09-21T23:59:52", "--to", str(end), "-o", str(out))
    assert export("--kind", "trades", *options) == 0
    times = [int(row["trade_time"]) for row in read_csv(out)]
    assert times == [time for ms in range(start, end, 4_000) for time in [ms] * 4]


def test_bars_of_redis_and_archive_are_all_bars_once(export: Export, tmp_path: Path):
    both, filed, fresh = (tmp_path / f"{name}.csv" for name in ("auto", "archive", "redis"))
    for path in (both, filed, fresh):
        assert export("--kind", "bars", "--interval", "1m", "--source", path.stem, "-o", str(path)) == 0
    starts = [int(row["start"]) for row in read_csv(both)]
    assert starts == list(range(MIDNIGHT - 300_000, MIDNIGHT + 240_000, 60_000))
    assert len(read_csv(fresh)) == 6
    assert 0 < len(read_csv(filed)) < len(starts) < len(read_csv(filed)) + len(read_csv(fresh))
    first = read_csv(both)[0]
    expected = [trade for trade in tape() if trade.trade_time < MIDNIGHT - 240_000]
    assert (first["interval"], first["trades_count"]) == ("1m", str(len(expected)))
    assert first["complete"] == "false"


def test_a_window_revised_after_midnight_is_one_row(held: tuple[str, Path], export: Export, tmp_path: Path):
    client = redis_sync.Redis.from_url(held[0])
    key = f"bars:{{{SYMBOL}}}:1m"
    window, late = MIDNIGHT - 60_000, MIDNIGHT + 600_000
    entry = client.xrange(key, count=1)[0][1]
    revised = {**entry, b"start": window, b"revision": 1, b"volume": b"77"}
    client.xadd(key, revised, id=f"{late}-0")
    try:
        newest, every = tmp_path / "newest.csv", tmp_path / "all.csv"
        assert export("--kind", "bars", "-o", str(newest)) == 0
        assert export("--kind", "bars", "--versions", "all", "-o", str(every)) == 0
    finally:
        client.xdel(key, f"{late}-0")
        client.close()
    starts = [int(row["start"]) for row in read_csv(newest)]
    assert starts == list(range(MIDNIGHT - 300_000, MIDNIGHT + 240_000, 60_000))
    assert [row["volume"] for row in read_csv(newest) if int(row["start"]) == window] == ["77"]
    assert [row["revision"] for row in read_csv(every) if int(row["start"]) == window] == ["0", "1"]


def test_a_window_that_was_proven_later_is_one_row_in_its_place(
    held: tuple[str, Path], export: Export, tmp_path: Path
):
    client = redis_sync.Redis.from_url(held[0])
    key = f"bars:{{{SYMBOL}}}:1m"
    entry_id, entry = client.xrevrange(key, count=1)[0]
    ms = entry_id.split(b"-")[0].decode()
    client.execute_command("XSETID", key, entry_id)  # another test may have appended and removed
    client.xadd(
        key, {**entry, b"revision": 1, b"complete": 1, b"reason": b"", b"volume": b"78"}, id=f"{ms}-1"
    )
    try:
        out = tmp_path / "bars.csv"
        assert export("--kind", "bars", "-o", str(out)) == 0
    finally:
        client.xdel(key, f"{ms}-1")
        client.close()
    rows = read_csv(out)
    assert [int(row["start"]) for row in rows] == list(range(MIDNIGHT - 300_000, MIDNIGHT + 240_000, 60_000))
    assert (rows[-1]["revision"], rows[-1]["volume"]) == ("1", "78")


def test_depth_comes_back_byte_for_byte(export: Export, tmp_path: Path):
    out = tmp_path / "depth.csv"
    assert export("--kind", "depth", "-o", str(out)) == 0
    rows = read_csv(out)
    wanted = [trade for trade in tape() if trade.trade_id % 4 == 0]
    assert [int(row["last_update_id"]) for row in rows] == [trade.trade_id for trade in wanted]
    assert json.loads(rows[0]["data"])["a"] == [["0.11", '7"']]
    assert {row["line"] for row in rows} == {"b"}


def test_parquet_says_the_same_as_csv(export: Export, tmp_path: Path):
    for kind in ("trades", "bars", "depth"):
        plain, packed = tmp_path / f"{kind}.csv", tmp_path / f"{kind}.parquet"
        assert export("--kind", kind, "-o", str(plain)) == 0
        assert export("--kind", kind, "-o", str(packed)) == 0
        rows, table = read_csv(plain), pq.read_table(packed)
        assert table.num_rows == len(rows)
        assert table.column("symbol").to_pylist() == [SYMBOL] * len(rows)
        names = [name for name in table.column_names if not name.endswith("_decimal")]
        assert names == list(rows[0])
        for name in ("stream_id", "price", "open_price", "agg_trade_id"):
            if name in names:
                told = ["" if value is None else str(value) for value in table.column(name).to_pylist()]
                assert told == [row[name] for row in rows]
    trades = pq.read_table(tmp_path / "trades.parquet")
    for text, number in zip(
        *(trades.column(name).to_pylist() for name in ("price", "price_decimal")), strict=True
    ):
        assert float(text) == float(number)


def test_the_end_of_the_name_tells_the_compression_of_csv(export: Export, tmp_path: Path):
    plain, packed, dense = (tmp_path / name for name in ("t.csv", "t.csv.gz", "t.csv.zst"))
    for path in (plain, packed, dense):
        assert export("--kind", "trades", "-o", str(path)) == 0
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    with zstandard.open(dense, "rb") as file:
        assert file.read() == plain.read_bytes()


@pytest.mark.parametrize("written", [SYMBOL.lower(), f"usdm:{SYMBOL}", f"USDM:{SYMBOL.lower()}"])
@pytest.mark.parametrize("kind", ["trades", "quotes"])
def test_a_symbol_is_written_as_for_every_command(
    export: Export, capsys: pytest.CaptureFixture[str], tmp_path: Path, written: str, kind: str
):
    """Of quotes there are none here: no whole book to begin with."""
    out = tmp_path / "rows.csv"
    assert export("--kind", kind, "--symbol", written, "-o", str(out)) == (0 if kind == "trades" else 3)
    assert f"of usdm {SYMBOL}" in capsys.readouterr().err


def test_standard_output_gets_rows_only(export: Export, capfdbinary: pytest.CaptureFixture[bytes]):
    assert export("--kind", "trades", "--to", str(MIDNIGHT - 296_000)) == 0
    said = capfdbinary.readouterr()
    assert said.out.count(b"\n") == 5
    assert b"4 rows" in said.err
    assert export("--kind", "trades", "--format", "parquet") == 0
    assert pq.read_table(io.BytesIO(capfdbinary.readouterr().out)).num_rows == COUNT


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--kind", "trades", "--from", "yesterday"), 2, "2026-11-20T12:00"),
        (("--kind", "trades", "--from", "2026-09-22", "--to", "2026-09-21"), 2, "later"),
        (("--kind", "trades", "--venue", "spot"), 2, "usdm"),
        (("--kind", "trades", "--from", "2030-01-01"), 3, "Nothing is held"),
        (("--kind", "trades", "-o", "/nowhere/x.csv"), 3, "/nowhere/x.csv"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    export: Export,
    options: tuple[str, ...],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    if "-o" not in options:
        options = (*options, "-o", str(tmp_path / "x.csv"))
    assert export(*options) == code
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_without_redis_the_archive_can_still_be_read(
    export: Export, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path}/none.sock")
    out = tmp_path / "trades.csv"
    assert export("--kind", "trades", "-o", str(out)) == 3
    assert "--source archive" in capsys.readouterr().err
    assert export("--kind", "trades", "--source", "archive", "-o", str(out)) == 0
    assert len(read_csv(out)) == ARCHIVED


def test_without_pyarrow_redis_can_still_be_read(
    export: Export, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.setattr("workers.archive.files.parquet.find_spec", lambda _: None)
    out = tmp_path / "trades.csv"
    assert export("--kind", "trades", "--source", "redis", "-o", str(out)) == 0
    assert export("--kind", "trades", "-o", str(out)) == 3
    assert "-m pip install 'fsspec" in capsys.readouterr().err


def test_the_latest_set_is_read_page_by_page(export: Export, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for size in (1, 3, COUNT - TRIMMED):
        monkeypatch.setattr("workers.store.log.ranges.PAGE", size)
        out = tmp_path / "trades.csv"
        assert export("--kind", "trades", "--source", "redis", "-o", str(out)) == 0
        assert [int(row["agg_trade_id"]) for row in read_csv(out)] == list(
            range(FIRST + TRIMMED, FIRST + COUNT)
        )


def test_arrow_is_parquet_in_another_file(export: Export, tmp_path: Path):
    for name in ("t.arrow", "t.parquet"):
        assert export("--kind", "trades", "-o", str(tmp_path / name)) == 0
    assert ipc.open_file(tmp_path / "t.arrow").read_all().equals(pq.read_table(tmp_path / "t.parquet"))


def test_a_venue_of_the_archive_alone_is_exported_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """As that of an import, which the settings need not have."""
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    source = tmp_path / "bitmex_trades_XBTUSD.csv"
    source.write_text(
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "bitmex,XBTUSD,1583020803145000,1583020803307160,a,sell,8531.5,2152\n"
    )
    assert main(["import", str(source)]) == 0
    out = tmp_path / "trades.csv"
    export = ("export", "--kind", "trades", "--symbol", "XBTUSD", "-o", str(out))
    assert main([*export, "--venue", "bitmex"]) == 0
    assert [row["price"] for row in read_csv(out)] == ["8531.5"]
    assert main([*export, "--symbol", "bitmex:XBTUSD"]) == 0
    assert main([*export, "--source", "archive"]) == 0
    assert "of bitmex XBTUSD" in capsys.readouterr().err.splitlines()[-1]
    capsys.readouterr()
    assert main([*export, "--venue", "bitmax"]) == 2
    assert "bitmex" in capsys.readouterr().err
