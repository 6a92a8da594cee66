"""`fleet export` for Tardis and hftbacktest: from a real log, and around again."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
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
from workers.model.books.order_book import OrderBook
from workers.model.events import DepthEvent
from workers.model.symbols.info import SymbolInfo
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.rows import COLUMNS, header_of
from workers.research.book_log import ToldBook
from workers.research.hftbacktest import EventArray
from workers.research.nautilus import CatalogFile, contract_of, write_instrument
from workers.research.tables import table_writer
from workers.research.tardis_rows import Names, TopCells
from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.store.connection import connect
from workers.store.history.reading import FiledBlock, finished_blocks
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings
from workers.venues.kraken.settings import KrakenSettings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDING = DATA / "cryptofeed_binance_spot_20210404.zst"
SYMBOL = "BTCUSDT"
BASE = 1_585_699_200_000_000
needs_recording = pytest.mark.skipif(not RECORDING.is_file(), reason="needs the recordings in ../shared/data")
pytestmark = pytest.mark.xdist_group("research")  # others clear the server that these share
NOT_INSTALLED = "hftbacktest is not installed, as it brings 900 MB: pip install hftbacktest"

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
def test_a_stretch_begins_with_the_whole_book(home: Path, world):
    expected = truth(world[0])
    path, middle = home / "part.csv.gz", expected[400][0] // 1000
    assert export("--kind", "depth", "--from", str(middle), "--to", str(middle + 5000), "-o", str(path)) == 0
    assert states_of(path) == [state for state in expected if middle <= state[0] // 1000 < middle + 5000]


@pytest.mark.recorded
@needs_recording
def test_the_real_hftbacktest_shows_the_same_best_prices(home: Path, world):
    hft = pytest.importorskip("hftbacktest", reason=NOT_INSTALLED)
    path = home / "a.npz"
    assert (
        main(["export", "--symbol", SYMBOL, "--format", "hftbacktest", "--kind", "depth", "-o", str(path)])
        == 0
    )
    data = np.load(path)["data"]
    assert data.dtype == hft.types.event_dtype
    import_module("hftbacktest.data").validate_event_order(data)
    shown = shown_by(hft, path, 0.01)
    book, compared, local = OrderBook(), 0, 0
    depth_path = home / "depth.csv.gz"
    assert export("--kind", "depth", "-o", str(depth_path)) == 0
    with gzip.open(depth_path, "rt") as file:
        for row in csv.DictReader(file):
            if local and int(row["local_timestamp"]) != local and (found := shown.get(local * 1000)):
                assert book.best_bid is not None
                assert book.best_ask is not None
                assert found == pytest.approx((float(book.best_bid[0]), float(book.best_ask[0])), abs=1e-6)
                compared += 1
            local, change = int(row["local_timestamp"]), [(row["price"], row["amount"])]
            book.apply(change if row["side"] == "bid" else [], change if row["side"] == "ask" else [])
    assert compared > 800


def shown_by(hft: Any, path: Path, tick: float) -> dict[int, tuple[float, float]]:
    """The best prices of the real package after each feed, by local time, ns."""
    asset = hft.BacktestAsset().data([str(path)]).linear_asset(1.0).constant_order_latency(0, 0)
    asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0, 0)
    backtest = hft.HashMapMarketDepthBacktest([asset.tick_size(tick).lot_size(0.000001)])
    shown = {}
    while backtest.wait_next_feed(False, 10**12) != 1:
        depth = backtest.depth(0)
        shown[backtest.current_timestamp] = (depth.best_bid, depth.best_ask)
    return shown


def test_a_second_whole_book_replaces_the_first_in_the_real_hftbacktest(tmp_path: Path):
    hft = pytest.importorskip("hftbacktest", reason=NOT_INSTALLED)
    events, path = EventArray(), tmp_path / "a.npz"
    for one in [*MESSAGES, message(900_000, [], []), message(950_000, [("1", "2")], [])]:
        events.book(one)
    with path.open("wb") as file:
        events.write(file)
    shown = shown_by(hft, path, 1.0)
    assert shown[(BASE + 15) * 1000] == (8, 9)
    assert shown[(BASE + 500_005) * 1000] == (1, 11)


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


MESSAGES = [
    message(10, [("8", "1"), ("7", "1")], [("9", "1")], whole=True),
    message(20, [("7", "3")], []),
    message(150_000, [("8", "2")], []),
    message(160_000, [("8", "3")], []),
    message(450_000, [], [("9", "0")]),
    message(500_000, [("1", "1")], [("11", "4")], whole=True),
]


def test_quotes_are_told_when_the_best_levels_change():
    top = TopCells(Names("x", "X"), 1, quotes=True)
    rows = [row[2:] for one in MESSAGES for row in top.rows(one)] + list(top.finish())
    assert rows == [
        (BASE + 10, BASE + 15, "1", "9", "8", "1"),
        (BASE + 150_000, BASE + 150_005, "1", "9", "8", "2"),
        (BASE + 160_000, BASE + 160_005, "1", "9", "8", "3"),
        (BASE + 450_000, BASE + 450_005, None, None, "8", "3"),
        (BASE + 500_000, BASE + 500_005, "4", "11", "1", "1"),
    ]


def test_a_cadence_is_of_the_exchange_s_clock_and_silent_where_nothing_changed():
    top = TopCells(Names("x", "X"), 5, every_ms=100)
    rows = [row[2:8] for one in MESSAGES for row in top.rows(one)] + [row[2:8] for row in top.finish()]
    assert rows == [
        (BASE + 100_000, BASE + 25, "9", "1", "8", "1"),
        (BASE + 200_000, BASE + 160_005, "9", "1", "8", "3"),
        (BASE + 500_000, BASE + 450_005, None, None, "8", "3"),
        (BASE + 600_000, BASE + 500_005, "11", "4", "1", "1"),
    ]


def test_an_event_array_is_what_numpy_reads(tmp_path: Path):
    events = EventArray()
    events.book(MESSAGES[0])
    events.trades([("x", "X", BASE + 90, BASE + 40, "1", "sell", "8", "0.5")])
    events.book(MESSAGES[2])
    with (tmp_path / "a.npz").open("wb") as file:
        events.write(file)
    data = np.load(tmp_path / "a.npz")["data"]
    both, buy, sell = 3 << 30, 1 << 29, 1 << 28
    expected = [3 | buy, 3 | sell, 4 | buy, 4 | buy, 4 | sell, 2 | sell, 1 | buy]
    assert [int(event) for event in data["ev"]] == [event | both for event in expected]
    assert math.isnan(data["px"][0])
    assert list(data["px"][2:]) == [8, 7, 9, 8, 8]
    times = [(BASE + 10, BASE + 15)] * 5 + [(BASE + 40, BASE + 40), (BASE + 150_000, BASE + 150_005)]
    assert list(zip(data["exch_ts"], data["local_ts"], strict=True)) == [
        (a * 1000, b * 1000) for a, b in times
    ]


def test_levels_that_leave_the_book_without_a_word_are_deleted():
    """Kraken tells of its best levels alone, and the reader is to drop what is pushed out."""
    [context] = venue_contexts(Settings(venues={"kraken": KrakenSettings(symbols=["X"], depth=10)}))
    rule, told = context.venue.book_rule, OrderBook()
    sync, messages = rule.sync("X"), ToldBook(rule)
    whole = DepthEvent(
        "X", 1, 1, -1, 1, 0, [(str(n), "1") for n in range(20, 10, -1)], [("30", "1")], "snapshot"
    )
    change = DepthEvent("X", 2, 2, -1, 2, 0, [("21", "1")], [])
    for event in (whole, change):
        sync.on_event(event, 1)
        found = messages.message(event, sync.book, event.last_id, whole=event is whole)
        told.apply(found.bids, found.asks)
    assert list(told.levels("bid")) == list(sync.book.levels("bid"))
    assert told.counts == (10, 1)


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
def test_books_of_any_depth_and_cadence_are_the_same_in_every_format(home: Path, world):
    found = {}
    for form in ("csv", "parquet", "arrow"):
        path = home / f"book.{form}"
        assert (
            main(
                [
                    "export",
                    "--symbol",
                    SYMBOL,
                    "--kind",
                    "book",
                    "--depth",
                    "7",
                    "--every",
                    "500ms",
                    "-o",
                    str(path),
                ]
            )
            == 0
        )
        found[form] = table_of(path)
    assert len(found["csv"]) > 100
    assert len(found["csv"][0]) == 4 + 4 * 7
    assert found["parquet"] == found["csv"] == found["arrow"]
    assert (
        export("--kind", "book", "--depth", "5", "--every", "500ms", "-o", str(home / "of_tardis.csv")) == 0
    )
    by_time = {row["timestamp"]: row for row in found["csv"]}
    for row in table_of(home / "of_tardis.csv"):
        assert row.items() <= by_time[row["timestamp"]].items()
    assert main(["export", "--symbol", SYMBOL, "--kind", "quotes", "-o", str(home / "quotes.arrow")]) == 0
    assert export("--kind", "quotes", "-o", str(home / "quotes.csv")) == 0
    assert table_of(home / "quotes.arrow") == table_of(home / "quotes.csv")


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


def catalog(home: Path, *kinds: str) -> Path:
    """A catalog of NautilusTrader."""
    path = home / "catalog"
    for kind in kinds:
        of_nautilus = ["--format", "nautilus", "--instrument", "BTCUSDT.BINANCE", "-o", str(path)]
        assert main(["export", "--symbol", SYMBOL, "--kind", kind, *of_nautilus]) == 0
    return path


def units(raw: bytes) -> Decimal:
    return Decimal(int.from_bytes(raw, "little", signed=True)).scaleb(-16)


@pytest.mark.recorded
@needs_recording
def test_a_catalog_has_the_same_book_and_the_same_trades(home: Path, world):
    path = catalog(home, "depth", "trades")
    [deltas] = path.glob("data/order_book_delta/BTCUSDT.BINANCE/*.parquet")
    rows = pq.read_table(deltas).to_pylist()
    sides: Sides = ({}, {})
    states = []
    for row in rows:
        if row["action"] == 4:
            sides = ({}, {})
        else:
            assert (row["action"] == 3) == (not units(row["size"]))
            apply(
                sides,
                [[(units(row["price"]), units(row["size"]))] if row["side"] == n else [] for n in (1, 2)],
            )
        if row["flags"] & 128:
            states.append((row["ts_event"] // 1000, (dict(sides[0]), dict(sides[1]))))
    assert states == truth(world[0])
    [trades] = path.glob("data/trade_tick/BTCUSDT.BINANCE/*.parquet")
    assert pq.ParquetFile(trades).metadata.metadata[b"size_precision"] == b"6"
    assert export("--kind", "trades", "-o", str(home / "trades.csv")) == 0
    expected = table_of(home / "trades.csv")
    told = pq.read_table(trades).to_pylist()
    assert [(units(row["price"]), units(row["size"]), row["ts_init"] // 1000) for row in told] == [
        (row["price"], row["amount"], row["local_timestamp"]) for row in expected
    ]
    names = [re.sub(r"[^0-9_]", "", file.stem).split("_") for file in (trades, deltas)]
    assert all(int(first) < int(last) for first, last in names)


@pytest.mark.recorded
@needs_recording
def test_the_real_nautilus_trader_reads_the_catalog_and_has_the_same_best_prices(home: Path, world):
    why = "nautilus_trader is not installed, as it brings 400 MB: pip install nautilus_trader"
    persistence = pytest.importorskip("nautilus_trader.persistence.catalog", reason=why)
    book_module = import_module("nautilus_trader.model.book")
    enums, ids = (import_module(f"nautilus_trader.model.{name}") for name in ("enums", "identifiers"))
    found = persistence.ParquetDataCatalog(str(catalog(home, "depth", "trades", "quotes")))
    name = "BTCUSDT.BINANCE"
    assert len(found.trade_ticks(instrument_ids=[name])) == 1227
    book = book_module.OrderBook(ids.InstrumentId.from_str(name), enums.BookType.L2_MBP)
    best = {}
    for delta in found.order_book_deltas(instrument_ids=[name]):
        book.apply_delta(delta)
        if delta.flags & 128:
            best[delta.ts_init] = str(book.best_bid_price()), str(book.best_ask_price())
    quotes = found.quote_ticks(instrument_ids=[name])
    assert len(quotes) > 500
    assert [best[one.ts_init] for one in quotes] == [
        (str(one.bid_price), str(one.ask_price)) for one in quotes
    ]


LISTING = {"status": "TRADING", "base_asset": "BTC", "quote_asset": "USDT", "tick_size": "0.00100000",
           "step_size": "0.00000010"}  # fmt: skip
"""Finer than the recording's numbers, so that it is seen whose decimals are taken."""


@pytest.fixture
def listed(world) -> Iterator[None]:
    """The world with a listing of its symbol."""
    client = redis.Redis.from_url(world[0])
    client.hset(f"symbol:{{{SYMBOL}}}:info", mapping=LISTING)
    yield
    client.delete(f"symbol:{{{SYMBOL}}}:info")


@pytest.mark.recorded
@needs_recording
def test_a_catalog_has_the_instrument_of_the_listing_and_its_decimals(
    home: Path, listed: None, capsys: pytest.CaptureFixture[str]
):
    path = catalog(home, "depth", "trades", "quotes")
    [file] = path.glob("data/currency_pair/BTCUSDT.BINANCE/*.parquet")
    table = pq.ParquetFile(file)
    assert table.schema_arrow.metadata[b"class"] == b"CurrencyPair"
    [row] = table.read().to_pylist()
    said = {
        name: row[name] for name in ("id", "base_currency", "price_increment", "lot_size", "size_precision")
    }
    assert said == {"id": "BTCUSDT.BINANCE", "base_currency": "BTC", "price_increment": "0.001",
                    "lot_size": "0.0000001",
                    "size_precision": 7}  # fmt: skip
    for name in ("order_book_delta", "trade_tick", "quote_tick"):
        [file] = path.glob(f"data/{name}/BTCUSDT.BINANCE/*.parquet")
        metadata = pq.ParquetFile(file).metadata.metadata
        assert (metadata[b"price_precision"], metadata[b"size_precision"]) == (b"3", b"7"), name
    assert "instrument" not in capsys.readouterr().err


@pytest.mark.recorded
@needs_recording
def test_without_a_listing_it_is_said_that_there_is_no_instrument(
    home: Path, world, capsys: pytest.CaptureFixture[str]
):
    assert not list(catalog(home, "trades").glob("data/currency_pair/*/*"))
    assert "The instrument BTCUSDT.BINANCE is not written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("market", "symbol", "changes", "kind"),
    [
        ("spot", "BTC-USDT", {}, "CurrencyPair"),
        ("usdm", "BTCUSDT", {}, "CryptoPerpetual"),
        ("usdm", "BTCUSDT_261225", {}, None),
        ("coinm", "BTCUSD_PERP", {"quote_asset": "USD"}, None),
        ("swap", "BTC-USDT-SWAP", {}, None),
        ("spot", "BTCUSDT", {"tick_size": "0.00"}, None),
        ("spot", "BTCUSDT", {"step_size": "1e-8"}, None),
        ("spot", "币安人生USDT", {"base_asset": "币安人生", "tick_size": "0.00001"}, "CurrencyPair"),
        ("", "BTCUSDT", {}, None),
    ],
)
def test_which_listings_are_instruments(
    market: str, symbol: str, changes: dict[str, str], kind: str | None, tmp_path: Path
):
    contract = contract_of(market, SymbolInfo(symbol=symbol, **{**LISTING, **changes}))
    assert (contract.kind if contract else None) == kind
    if contract:
        path = write_instrument(tmp_path, f"{symbol}.X", contract)
        assert write_instrument(tmp_path, f"{symbol}.X", contract) == path
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
        assert pq.read_table(path).to_pylist()[0]["raw_symbol"] == symbol


@pytest.mark.recorded
@needs_recording
def test_the_real_nautilus_trader_runs_a_backtest_on_the_catalog_alone(home: Path, listed: None):
    """A market order is filled at the best price of the book, by an engine that refuses what an instrument has not."""
    why = "nautilus_trader is not installed, as it brings 400 MB: pip install nautilus_trader"
    pytest.importorskip("nautilus_trader", reason=why)
    backtest, model, trading = (import_module(f"nautilus_trader.{name}") for name in (
        "backtest.node", "model.enums", "trading.strategy"))  # fmt: skip
    config, path = import_module("nautilus_trader.config"), catalog(home, "depth", "trades")
    instrument = import_module("nautilus_trader.model.identifiers").InstrumentId.from_str("BTCUSDT.BINANCE")
    fills: list[tuple[str, str]] = []

    class Buyer(trading.Strategy):  # type: ignore[misc, name-defined]  # of a package that is not always there
        def on_start(self) -> None:
            self.of = self.cache.instrument(instrument)
            self.subscribe_order_book_deltas(instrument, book_type=model.BookType.L2_MBP)
            self.best = ""

        def on_order_book_deltas(self, deltas: Any) -> None:
            book = self.cache.order_book(instrument)
            if not self.best and book.best_ask_price():
                self.best = str(book.best_ask_price())
                size = self.of.make_qty(0.000001)
                self.submit_order(self.order_factory.market(instrument, model.OrderSide.BUY, size))

        def on_order_filled(self, event: Any) -> None:
            fills.append((self.best, str(event.last_px)))

    venue = config.BacktestVenueConfig(
        name="BINANCE", oms_type="NETTING", account_type="CASH", book_type="L2_MBP",
        starting_balances=["1_000_000 USDT"],
    )  # fmt: skip
    data = [
        config.BacktestDataConfig(catalog_path=str(path), data_cls=f"nautilus_trader.model.data:{name}",
                                  instrument_id=instrument)
        for name in ("OrderBookDelta", "TradeTick")
    ]  # fmt: skip
    logging = config.LoggingConfig(bypass_logging=True)
    run = config.BacktestRunConfig(
        venues=[venue], data=data, engine=config.BacktestEngineConfig(logging=logging), raise_exception=True
    )
    perpetual = contract_of(
        "usdm", SymbolInfo(symbol="币安人生USDT", **{**LISTING, "base_asset": "币安人生"})
    )
    assert perpetual is not None
    write_instrument(path, "币安人生USDT.BINANCE", perpetual)
    found = import_module("nautilus_trader.persistence.catalog").ParquetDataCatalog(str(path))
    known = {str(one.id): one for one in found.instruments()}
    assert str(known["币安人生USDT.BINANCE"].settlement_currency) == "USDT"
    assert str(known["BTCUSDT.BINANCE"].lot_size) == "0.0000001"
    node = backtest.BacktestNode([run])
    node.build()
    node.get_engine(run.id).add_strategy(Buyer())
    [result] = node.run()
    assert result.total_orders == 1
    assert fills[0][0] == fills[0][1] != ""


def test_a_catalog_never_has_rows_of_one_time_in_two_files(tmp_path: Path):
    def export_of(*times: int) -> Path | None:
        file = CatalogFile(tmp_path, "trades", "A.X")
        file.trades([("x", "A", BASE + at, BASE + at, "1", "buy", "2", "1") for at in times])
        return file.close()

    first = export_of(0, 10)
    assert export_of(0, 5, 10) == first, "the same stretch, exported again, takes its place"
    assert export_of(11, 20) not in (None, first)
    for times in ((0, 11), (5, 6), (10, 10), (-5, 30), (20, 21)):
        with pytest.raises(CommandError, match="has some of the same time"):
            export_of(*times)
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 2


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


def test_an_empty_or_broken_catalog_file_is_not_left_behind(tmp_path: Path):
    file = CatalogFile(tmp_path, "trades", "A/B.X")
    assert file.close() is None
    file = CatalogFile(tmp_path, "trades", "A/B.X")
    with pytest.raises(CommandError, match="more decimals"):
        file.trades([("x", "X", BASE, BASE, "1", "buy", "0.00000000000000001", "1")])
    file.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
