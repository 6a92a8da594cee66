"""`fleet export` for Tardis and hftbacktest: from a real log, and around again."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from pyarrow import ipc

from workers.archive.files import parquet
from workers.archive.files.layout import START, FileRange, Source, StreamId
from workers.archive.files.past import block_row
from workers.archive.files.rows import row_of
from workers.archive.files.storage import LocalStorage
from workers.cli.application import main
from workers.errors import CommandError
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.rows import COLUMNS, header_of
from workers.research.tables import table_writer
from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.store.connection import connect
from workers.store.history.reading import FiledBlock, finished_blocks
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDING = DATA / "cryptofeed_binance_spot_20210404.zst"
SYMBOL = "BTCUSDT"
BASE = 1_585_699_200_000_000
needs_recording = pytest.mark.skipif(not RECORDING.is_file(), reason="needs the recordings in ../shared/data")
pytestmark = pytest.mark.xdist_group("research")  # others clear the server that these share

Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


def export(*options: str) -> int:
    return main(["export", "--symbol", SYMBOL, "--format", "tardis-csv", *options])


def apply(sides: Sides, levels: list[tuple[list, list]]) -> None:
    for side, changes in zip(sides, levels, strict=True):
        for price, amount in changes:
            side[Decimal(price)] = Decimal(amount)
            if not side[Decimal(price)]:
                del side[Decimal(price)]


def truth(url: str) -> list[tuple[int, Sides]]:
    """The book after each event of the log from its snapshot on, by the exchange's own rule and nothing of ours."""
    client = redis.Redis.from_url(url)
    [(_, fields)] = client.xrange(f"raw:{{{SYMBOL}}}:snapshot")
    snapshot = json.loads(fields[b"data"])
    sides: Sides = ({}, {})
    apply(sides, [snapshot["bids"], snapshot["asks"]])
    states = []
    for _, fields in client.xrange(f"raw:{{{SYMBOL}}}:depth"):
        event = json.loads(fields[b"data"])
        if event["u"] > snapshot["lastUpdateId"]:
            apply(sides, [event["b"], event["a"]])
            states.append((event["E"] * 1000, (dict(sides[0]), dict(sides[1]))))
    return states


def states_of(path: Path) -> list[tuple[int, Sides]]:
    """The book after each message of a file, one a local time."""
    sides: Sides = ({}, {})
    states: list[tuple[int, Sides]] = []
    before, local, time = False, "", 0
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            if local and row["local_timestamp"] != local:
                states.append((time, (dict(sides[0]), dict(sides[1]))))
            if (row["is_snapshot"] == "true") > before:
                sides = ({}, {})
            before, local, time = row["is_snapshot"] == "true", row["local_timestamp"], int(row["timestamp"])
            change = [(row["price"], row["amount"])]
            apply(sides, [change, []] if row["side"] == "bid" else [[], change])
    return [*states, (time, sides)]


@pytest.mark.recorded
@needs_recording
def test_log_to_tardis_to_archive_to_tardis_is_the_same_book_at_every_boundary(
    home: Path, world, capsys: pytest.CaptureFixture[str]
):
    first, second = home / "depth.csv.gz", home / "again.csv.gz"
    assert export("--kind", "depth", "-o", str(first)) == 0
    expected = truth(world[0])
    assert len(expected) > 800
    assert states_of(first) == expected
    assert main(["import", "--venue", "elsewhere", str(first), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["written"], said["crossed"], said["ignored"], said["holes"]) == (len(expected), 0, 0, 0)
    assert export("--kind", "depth", "--venue", "elsewhere", "-o", str(second)) == 0
    assert states_of(second) == expected
    with gzip.open(first, "rt") as one, gzip.open(second, "rt") as other:
        assert one.read() == other.read().replace("\nelsewhere,", "\nspot,")


@pytest.mark.recorded
@needs_recording
def test_a_log_without_its_snapshot_begins_with_the_book_of_the_history(home: Path, world):
    """As the log of a fleet that has been running for longer than the log is kept."""
    client, path = redis.Redis.from_url(world[0]), home / "depth.csv.gz"
    keys = [f"raw:{{{SYMBOL}}}:{name}" for name in ("depth", "snapshot")]
    kept, expected = [client.dump(key) for key in keys], truth(world[0])
    [(newest, _)] = client.xrevrange(keys[0], count=1)
    try:
        client.delete(keys[1])
        client.xtrim(keys[0], minid=int(newest.partition(b"-")[0]) - 60_000, approximate=False)
        assert export("--kind", "depth", "-o", str(path)) == 0
    finally:
        for key, dump in zip(keys, kept, strict=True):
            assert dump is not None
            client.restore(key, 0, dump, replace=True)
    found = states_of(path)
    assert 500 < len(found) < len(expected)
    assert [time for time, _ in found] == [time for time, _ in expected[-len(found) :]]
    # the history knows 1,000 levels a side and what changed since
    for (_, sides), (_, whole) in zip(found, expected[-len(found) :], strict=True):
        for side, other in zip(sides, whole, strict=True):
            assert side.items() <= other.items()
            best = sorted(other, reverse=other is whole[0])[:500]
            assert [side.get(price) for price in best] == [other[price] for price in best]


@pytest.mark.recorded
@needs_recording
def test_the_archive_s_own_depth_has_a_book_from_any_second_on(home: Path, world):
    """Neither files nor Redis have a snapshot: the blocks of the history begin the book, and the entries go on."""
    client, storage = redis.Redis.from_url(world[0]), LocalStorage(home / "archive")
    [context] = venue_contexts(settings_of_world())
    rows, expected, path = [], truth(world[0]), home / "depth.csv.gz"
    for raw_id, fields in client.xrange(f"raw:{{{SYMBOL}}}:depth"):
        rows.append(row_of(Source("spot", SYMBOL, "depth"), context.venue, StreamId.parse(raw_id), fields))
    file_rows(storage, Source("spot", SYMBOL, "depth"), rows[0].day, [row.values for row in rows])
    blocks = asyncio.run(blocks_of(world[0], context.keys))
    assert len(blocks) >= 2
    file_rows(storage, Source("spot", SYMBOL, "history"), rows[0].day, [block_row(block) for block in blocks])
    from_ms = expected[len(expected) // 2][0] // 1000
    assert export("--kind", "depth", "--source", "archive", "--from", str(from_ms), "-o", str(path)) == 0
    found = states_of(path)
    assert [time for time, _ in found] == [time for time, _ in expected if time // 1000 >= from_ms]
    for (_, sides), (_, whole) in zip(found, expected[-len(found) :], strict=True):
        for side, other in zip(sides, whole, strict=True):
            assert side.items() <= other.items()
            best = sorted(other, reverse=other is whole[0])[:500]
            assert [side.get(price) for price in best] == [other[price] for price in best]


def settings_of_world() -> Settings:
    """One spot venue."""
    return Settings(venues={"spot": BinanceSettings(market="spot", symbols=[SYMBOL])})


def file_rows(storage: LocalStorage, source: Source, day: int, rows: list[tuple[Any, ...]]) -> None:
    """One file of the archive."""
    held = FileRange(StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0]))
    file = storage.create(source.incomplete("1"))
    parquet.write(file, source, day, rows, START, 3)
    storage.sync(file)
    file.close()
    storage.publish(source.incomplete("1"), f"{source.day_folder(day)}/{held.name}")


async def blocks_of(url: str, keys: Keys) -> list[FiledBlock]:
    """All blocks of the history that Redis has."""
    client: Any = connect(url)
    try:
        return await finished_blocks(client, keys, SYMBOL, 0, 10**10, 1000)
    finally:
        await client.aclose()


@pytest.mark.recorded
@needs_recording
def test_log_to_tardis_to_archive_to_tardis_is_the_same_trades(home: Path, world):
    first, second = home / "trades.csv.gz", home / "again.csv.gz"
    assert export("--kind", "trades", "-o", str(first)) == 0
    with gzip.open(first, "rt") as file:
        rows = list(csv.DictReader(file))
    expected = []
    for _, fields in redis.Redis.from_url(world[0]).xrange(f"raw:{{{SYMBOL}}}:aggTrade"):
        sent = json.loads(fields[b"data"])
        side = "sell" if sent["m"] else "buy"
        expected.append(
            (sent["T"] * 1000, int(fields[b"received"]), str(sent["a"]), side, sent["p"], sent["q"])
        )
    names = ("id", "side", "price", "amount")
    found = [
        (int(row["timestamp"]), int(row["local_timestamp"]), *(row[name] for name in names)) for row in rows
    ]
    assert [(row[0], *row[2:]) for row in found] == [(row[0], *row[2:]) for row in expected]
    assert all(row[1] >= other[1] for row, other in zip(found, expected, strict=True))
    assert main(["import", "--venue", "elsewhere", str(first), "--json"]) == 0
    assert export("--kind", "trades", "--venue", "elsewhere", "--source", "archive", "-o", str(second)) == 0
    with gzip.open(second, "rt") as file:
        again = list(csv.DictReader(file))
    assert [{**row, "exchange": "spot"} for row in again] == rows


@pytest.mark.recorded
@needs_recording
def test_trades_that_the_log_has_no_more_have_the_exchange_s_time(home: Path, world):
    client, key = redis.Redis.from_url(world[0]), f"raw:{{{SYMBOL}}}:aggTrade"
    kept = client.dump(key)
    assert kept is not None
    path = home / "trades.csv"
    client.delete(key)
    try:
        assert export("--kind", "trades", "-o", str(path)) == 0
    finally:
        client.restore(key, 0, kept)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 1227
    assert rows[0]["timestamp"] == rows[0]["local_timestamp"]


@pytest.mark.recorded
@needs_recording
def test_nothing_is_left_where_nothing_is_held(home: Path, capsys: pytest.CaptureFixture[str]):
    path = home / "a.csv"
    assert export("--kind", "depth", "--from", "2030-01-01", "-o", str(path)) != 0
    assert (
        "Nothing is held of depth of spot BTCUSDT, or no whole book to begin with" in capsys.readouterr().err
    )
    assert list(home.glob("*.csv")) == []
    assert export("--kind", "book", "--depth", "7") != 0
    assert "Tardis has no dataset of book_snapshot_7" in capsys.readouterr().err
    assert export("--kind", "depth", "--every", "1s") != 0


@pytest.mark.parametrize("dataset", ["quotes", "liquidations", "derivative_ticker"])
def test_an_imported_dataset_comes_out_as_it_was(tmp_path: Path, monkeypatch, dataset: str):
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEET_ARCHIVE__URL", str(tmp_path / "archive"))
    cells = {"quotes": "1,9,8,2", "liquidations": "id,buy,1,2", "derivative_ticker": f"{BASE},0.1,,,9,,8"}[
        dataset
    ]
    text = "\n".join([header_of(dataset), f"x,{SYMBOL},{BASE},{BASE + 7},{cells}"]) + "\n"
    path, again = tmp_path / f"{dataset}.csv", tmp_path / "again.csv"
    path.write_text(text)
    assert main(["import", str(path)]) == 0
    options = ("--kind", "raw", "--channel", dataset, "--venue", "x", "--source", "archive")
    assert export(*options, "-o", str(again)) == 0
    assert again.read_text() == text


def message(at: int, bids: Any, asks: Any, *, whole: bool = False) -> BookMessage:
    return BookMessage(0, BASE + at, BASE + at + 5, whole, bids, asks)


def table_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, cells as numbers, times in µs."""
    if path.suffix == ".csv":
        with path.open() as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        table = pq.read_table(path) if path.suffix == ".parquet" else ipc.open_file(path).read_all()
        whole = [
            column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            for column in table.columns
        ]
        rows = pa.Table.from_arrays(whole, names=table.column_names).to_pylist()
    return [{name: cell(value) for name, value in row.items()} for row in rows]


def cell(value: Any) -> Any:
    try:
        return Decimal(value)
    except (ArithmeticError, TypeError, ValueError):
        return value or None


@pytest.mark.recorded
@needs_recording
def test_what_is_said_of_contracts_is_exported_from_the_fleet_s_own_streams(home: Path, world, capsys):
    client, time = redis.Redis.from_url(world[0]), 1_617_566_700_000
    keys = f"derivatives:{{{SYMBOL}}}", f"liquidations:{{{SYMBOL}}}"
    figures = {
        "mark_price": "84554.30",
        "mark_price_at": time,
        "funding_rate": "-0.0001",
        "funding_rate_at": time - 5,
    }
    row = {"side": "sell", "price": "9910", "quantity": "0.014", "time": time, "event_time": time + 1}
    client.xadd(keys[0], figures, id=f"{time}-0")
    client.xadd(keys[1], row, id=f"{time}-7")
    try:
        for kind, expected in (
            (
                "derivatives",
                {
                    "mark_price": Decimal("84554.30"),
                    "funding_rate": Decimal("-0.0001"),
                    "open_interest": None,
                },
            ),
            (
                "liquidations",
                {"side": "sell", "price": Decimal("9910"), "amount": Decimal("0.014"), "id": None},
            ),
        ):
            for name in (f"{kind}.parquet", f"{kind}.csv"):
                path = home / name
                assert main(["export", "--symbol", SYMBOL, "--kind", kind, "-o", str(path)]) == 0
                [found] = table_of(path)
                assert (found["timestamp"], found["local_timestamp"]) == (time * 1000, time * 1000)
                assert expected.items() <= found.items()
            assert export("--kind", kind, "-o", str(home / "tardis.csv")) == 0
            assert table_of(home / "tardis.csv") == table_of(home / f"{kind}.csv")
    finally:
        client.delete(*keys)
    assert main(["export", "--symbol", SYMBOL, "--kind", "derivatives", "-o", str(home / "no.csv")]) == 3
    assert "Nothing is held of derivatives of spot BTCUSDT." in capsys.readouterr().err


def test_a_number_that_no_column_can_hold_is_not_left_out(tmp_path: Path):
    with (tmp_path / "x").open("wb") as file:
        writer = table_writer(file, COLUMNS["derivative_ticker"], "parquet")
        writer.rows([("x", "X", BASE, BASE, None, "0.0000000000000000000001", *(None,) * 5)])
        with pytest.raises(CommandError, match=r"funding_rate 0\.0+1 does not fit"):
            writer.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--kind", "quotes", "--every", "²ms", "--format", "csv"), "'²ms' is no duration"),
        (("--kind", "trades", "--instrument", "..", "--format", "nautilus"), "'..' is no symbol, point and venue"),
        (("--kind", "trades", "--instrument", "BTCUSDT", "--format", "nautilus"), "is no symbol, point and venue"),
        (("--kind", "trades", "--instrument", "A.X/..", "--format", "nautilus"), "is no symbol, point and venue"),
    ],
)  # fmt: skip
def test_options_of_whoever_means_no_good_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options, problem: str
):
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    assert main(["export", "--symbol", "币安人生USDT", "-o", str(tmp_path / "out"), *options]) == 3
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
