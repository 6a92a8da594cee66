"""`fleet import`: files of Tardis and of Binance become rows of the archive, each once."""

from __future__ import annotations

import errno
import gzip
import json
import os
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest

from workers.archive.files.layout import Source
from workers.archive.files.parquet import PlainParquet
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import COLUMNS
from workers.archive.files.storage import LocalStorage
from workers.cli.application import main
from workers.model.books.order_book import OrderBook
from workers.recordings.lines import line_blocks
from workers.recordings.tardis import file as tardis_file
from workers.recordings.tardis.normalised import decode_change
from workers.recordings.tardis.rows import header_of
from workers.research import filing
from workers.terminal.exit_codes import EXIT_INTERRUPTED, EXIT_NOT_STARTED

BASE = 1_585_699_200_000_000
EVER = 1 << 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {
        "FLEET_HOME": str(tmp_path / "home"), "FLEET_ARCHIVE__URL": str(tmp_path / "archive"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return tmp_path


def rows(home: Path, source: Source) -> list[dict[str, Any]]:
    names = [column.name for column in COLUMNS[source.kind]]
    reader = ArchiveReader(LocalStorage(home / "archive"))
    return [dict(zip(names, row, strict=True)) for row in reader.rows(source, 0, EVER)]


def imported(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code = main(["import", *arguments, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def csv_file(path: Path, dataset: str, lines: list[str]) -> str:
    path.write_text("\n".join([header_of(dataset), *lines]) + "\n")
    return str(path)


def trades_csv(home: Path, exchange: str = "bybit", count: int = 40) -> str:
    lines = [
        f"{exchange},X,{BASE + i * 1000},{BASE + i // 2 * 1000 + 7},{900 + i if exchange == 'binance' else f'id-{i}'},"
        f"{('buy', 'sell', 'unknown')[i % 3]},8.{i + 10},0.5"
        for i in range(count)
    ]
    return csv_file(home / "trades.csv", "trades", lines)


def test_trades_without_numbers_are_numbered_by_their_time(home: Path, capsys):
    code, [said] = imported(capsys, trades_csv(home))
    assert (code, said["venue"], said["symbols"], said["rows"], said["written"]) == (
        0,
        "bybit",
        ["X"],
        40,
        40,
    )
    found = rows(home, Source("bybit", "X", "trades"))
    assert [row["venue_trade_id"] for row in found] == [f"id-{i}" for i in range(40)]
    numbers = [row["agg_trade_id"] for row in found]
    assert numbers == sorted(set(numbers))
    assert [row["is_buyer_maker"] for row in found[:3]] == [False, True, None]
    assert found[5]["price"] == "8.15"
    assert found[5]["trade_time"] == (BASE + 5000) // 1000
    assert found[5]["received"] == BASE + 2007
    assert {row["line"] for row in found} == {"tardis"}


def test_an_import_that_was_ended_goes_on_and_doubles_nothing(home: Path, capsys, monkeypatch):
    monkeypatch.setattr(filing.Filing.__init__, "__defaults__", (16,))
    path = trades_csv(home)
    written = filing.Filing._write

    def ended(self: filing.Filing, fresh: Any) -> None:
        if self.files == 1:
            raise KeyboardInterrupt
        written(self, fresh)

    monkeypatch.setattr(filing.Filing, "_write", ended)
    assert main(["import", path]) == EXIT_INTERRUPTED
    monkeypatch.setattr(filing.Filing, "_write", written)
    assert len(rows(home, Source("bybit", "X", "trades"))) == 16
    code, [said] = imported(capsys, path)
    assert (code, said["written"], said["present"], said["files"]) == (0, 24, 16, 2)
    assert len(rows(home, Source("bybit", "X", "trades"))) == 40
    code, [said] = imported(capsys, path)
    assert (code, said["written"], said["present"], said["files"]) == (0, 0, 40, 0)


def test_named_trades_that_a_recorder_told_again_are_filed_once_and_late_ones_are_counted(home: Path, capsys):
    path = Path(trades_csv(home))
    lines = path.read_text().splitlines()
    another = lines[3].replace("0.5", "0.7")  # of the same name, but another trade
    path.write_text("\n".join([*lines, *lines[-5:], lines[2], another]) + "\n")
    code, [said] = imported(capsys, str(path))
    assert (code, said["rows"], said["written"], said["repeated"], said["unordered"]) == (0, 47, 41, 6, 1)
    assert said["notes"] == [f"{path}, line 48: its local_timestamp is before that of the row above."]
    found = [row["venue_trade_id"] for row in rows(home, Source("bybit", "X", "trades"))]
    assert sorted(found) == sorted([*(f"id-{i}" for i in range(40)), "id-2"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ": the file is empty."),
        (
            header_of("trades") + ",flags\n",
            ", line 1: its columns 'id,side,price,amount,flags' are those of none of",
        ),
    ],
)
def test_a_file_without_columns_we_know_says_so(home: Path, capsys, text: str, problem: str):
    path = home / "a.csv"
    path.write_text(text)
    code, [said] = imported(capsys, str(path))
    assert code == 1
    assert said["problems"][0].startswith(f"{path}{problem}")


def test_trades_that_count_one_by_one_keep_their_ids_under_the_venue_asked_for(home: Path, capsys):
    code, [said] = imported(capsys, trades_csv(home, "binance"), "--venue", "spot")
    assert (code, said["venue"]) == (0, "spot")
    found = rows(home, Source("spot", "X", "trades"))
    assert [row["agg_trade_id"] for row in found] == list(range(900, 940))
    assert {row["venue_trade_id"] for row in found} == {None}


def test_a_book_is_filed_by_messages_with_the_hole_before_a_second_whole_one(home: Path, capsys):
    def line(local: int, snapshot: str, side: str, price: str, amount: str) -> str:
        return f"deribit,X,{BASE + local - 9},{BASE + local},{snapshot},{side},{price},{amount}"

    lines = [
        line(1, "false", "bid", "1", "1"),
        line(2, "true", "bid", "8", "1"), line(2, "true", "ask", "9", "1"),
        line(3000, "false", "bid", "8", "0"), line(3000, "false", "bid", "7.50", "2"),
        "rubbish",
        line(9000, "true", "bid", "6", "1"), line(9000, "true", "ask", "7", "1"),
        line(9001, "false", "ask", "5", "1"),
    ]  # fmt: skip
    path = csv_file(home / "book.csv", "incremental_book_L2", lines)
    code, [said] = imported(capsys, path)
    assert code == 1
    counts = ("rows", "written", "ignored", "holes", "crossed", "problem_count")
    assert [said[name] for name in counts] == [8, 5, 1, 1, 1, 1]
    assert said["problems"] == [f"{path}, line 7: it has 1 cells, not 8."]
    assert said["notes"][0] == (
        f"{path}, line 8: messages are missing from 2020-04-01T00:00:00.003000Z to 2020-04-01T00:00:00.009000Z."
    )
    assert said["notes"][1] == f"{path}, line 10: the book is crossed."
    found = rows(home, Source("deribit", "X", "depth"))
    assert [bool(row["data"]) for row in found] == [True, True, False, True, True]
    book = OrderBook()
    for row in found[:2]:
        message = decode_change(row["data"])
        assert message.local_timestamp == row["received"]
        book.apply(message.bids, message.asks)
    assert book.top() == ([("7.50", "2")], [("9", "1")])
    assert imported(capsys, path)[1][0]["present"] == 5


def test_a_number_that_no_book_can_hold_costs_its_own_message_of_those_read_at_once(home: Path, capsys):
    def line(local: int, snapshot: str, side: str, price: str) -> str:
        return f"deribit,X,{BASE + local - 9},{BASE + local},{snapshot},{side},{price},1"

    changes = [(3, "99.6"), (4, "99.1234567890123456"), (5, "100.5")]
    lines = [line(2, "true", "bid", "99.5"), line(2, "true", "ask", "100.5")]
    lines += [line(local, "false", "bid", price) for local, price in changes]
    code, [said] = imported(capsys, csv_file(home / "book.csv", "incremental_book_L2", lines))
    assert (code, said["problem_count"]) == (1, 1)
    assert "from line 5 on" in said["problems"][0]
    assert said["written"] == 4, "it is filed as it was told"
    assert said["crossed"] == 1, "those around it were applied"


def test_other_datasets_are_kept_line_by_line(home: Path, capsys):
    line = f"x,X,{BASE},{BASE + 5},1,9,8,2"
    code, [said] = imported(capsys, csv_file(home / "q.csv", "quotes", [line]))
    assert (code, said["written"]) == (0, 1)
    [row] = rows(home, Source("x", "X", "raw", channel="quotes"))
    assert row["data"].decode() == line


def official(home: Path, name: str, text: str) -> str:
    with zipfile.ZipFile(home / name, "w") as packed:
        packed.writestr(name.replace(".zip", ".csv"), text)
    return str(home / name)


def test_official_trades_in_any_order_doubled_across_days(home: Path, capsys):
    day, us = 1_590_019_200_000, 1000

    def row(number: int, ms: int, price: str = "1.5") -> str:
        return f"{number},{price},2,{number * 2},{number * 2 + 1},{ms * us},True,True"

    first = official(
        home, "X-aggTrades-2020-05-20.zip",
        "\n".join([row(7, day - 1), row(5, day - 9), row(6, day - 5), row(5, day - 9), row(8, day)]),
    )  # fmt: skip
    second = official(
        home, "X-aggTrades-2020-05-21.zip",
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match\n"
        + "\n".join([row(8, day), row(7, day - 1), row(9, day + 3), row(9, day + 3, "1.6")]),
    )  # fmt: skip
    arguments = ("--venue", "usdm", first, second)
    code, said = imported(capsys, *arguments)
    assert code == 1
    assert [(one["rows"], one["written"], one["present"], one["repeated"]) for one in said] == [
        (5, 4, 0, 1),
        (4, 1, 2, 1),
    ]
    assert said[1]["problems"] == [f"{second}: two rows of the id 9 differ in price."]
    assert [(one["unordered"], one["other_day"]) for one in said] == [(1, 1), (1, 1)]
    assert f"{first}, line 4: its id 5 stands in line 2 too." in said[0]["notes"]
    assert f"{second}, line 3: its id 7 is of another day than the file." in said[1]["notes"]
    found = rows(home, Source("usdm", "X", "trades"))
    assert [row["agg_trade_id"] for row in found] == [5, 6, 7, 8, 9]
    assert [row["trade_time"] for row in found] == [day - 9, day - 5, day - 1, day, day + 3]


def test_an_official_row_that_is_none_is_named_and_nothing_of_the_file_is_filed(home: Path, capsys):
    path = official(home, "X-aggTrades-2020-05-20.zip", "1,1,1,1,1,1590019200000,True\n2,1,1,1,1,soon,True\n")
    code, [said] = imported(capsys, path)
    assert code == 1
    assert said["problems"] == [f"{path}, line 2: '2,1,1,1,1,soon,True' is no row of aggTrades."]
    assert rows(home, Source("usdm", "X", "trades")) == []


def test_klines_become_bars_but_for_windows_without_a_trade(home: Path, capsys):
    start = 1_590_019_200_000
    lines = [
        f"{start + at * 60_000},1,2,0.5,1.5,{volume},{start + at * 60_000 + 59_999},9,3,4,5,0"
        for at, volume in ((1, "0"), (2, "7"), (0, "10"))
    ]
    path = official(home, "X-1m-2020-05-21.zip", "\n".join(lines))
    code, [said] = imported(capsys, path)
    assert (code, said["rows"], said["written"], said["ignored"]) == (0, 3, 2, 1)
    found = rows(home, Source(said["venue"], "X", "bars", "1m"))
    assert [(row["stream_id"], row["volume"], row["buy_volume"]) for row in found] == [
        (f"{start}-0", "10", "4"),
        (f"{start + 120_000}-0", "7", "4"),
    ]


def test_files_at_urls_are_fetched_and_taken_there_when_whole(home: Path, capsys):
    files = fsspec.filesystem("memory")
    path = Path(trades_csv(home, count=4))
    path.write_text(path.read_text() + "rubbish\n")
    files.put_file(str(path), "/bucket/day.csv")
    url = "memory://bucket/day.csv"
    [code, [said]] = imported(capsys, url)
    assert (code, said["written"], said["file"]) == (1, 4, url)
    assert said["problems"][0].startswith(f"{url}, line 6: ")
    command = ["export", "--kind", "trades", "--format", "tardis-csv", "--symbol", "X", "--source", "archive"]
    assert main([*command, "--venue", "bybit", "-o", "memory://bucket/out.csv.gz"]) == 0
    with files.open("/bucket/out.csv.gz") as file:
        assert len(gzip.decompress(file.read()).splitlines()) == 5
    assert (
        main([*command, "--venue", "bybit", "--from", "1", "--to", "2", "-o", "memory://bucket/no.csv"]) != 0
    )
    assert not files.exists("/bucket/no.csv")
    [code, [said]] = imported(capsys, "memory://bucket/nothing.csv")
    assert (code, said["fine"]) == (1, False)
    assert "it cannot be read" in said["problems"][0]


def book_line(local: int, snapshot: str, side: str, price: str, amount: str, time: int | None = None) -> str:
    time = local - 9 if time is None else time
    return f"deribit,X,{BASE + time},{BASE + local},{snapshot},{side},{price},{amount}"


def test_the_last_message_of_a_file_that_was_cut_is_filed_when_the_whole_file_comes(home: Path, capsys):
    lines = [book_line(2, "true", "bid", "8", "1"), book_line(2, "true", "ask", "9", "1")]
    lines += [book_line(3000, "false", "bid", f"{number}", "2") for number in range(1, 6)]
    whole = Path(csv_file(home / "book.csv", "incremental_book_L2", lines))
    packed = gzip.compress(whole.read_bytes(), compresslevel=0)
    path = home / "book.csv.gz"
    path.write_bytes(packed[:-100])
    code, [said] = imported(capsys, str(path))
    assert (code, said["written"], said["problem_count"]) == (1, 1, 1)
    assert 2 < said["rows"] < 7, "the last message has lost some of its rows"
    path.write_bytes(packed)
    assert imported(capsys, str(path))[0] == 0
    [_, last] = rows(home, Source("deribit", "X", "depth"))
    assert len(decode_change(last["data"]).bids) == 5


def test_the_whole_book_that_a_day_begins_with_may_be_older_than_the_day(home: Path, capsys):
    """A book where nothing was traded: its time is that of its last change."""
    hour = 3_600_000_000
    lines = [
        book_line(2, "true", "bid", "8", "1", -hour), book_line(2, "true", "ask", "9", "1", -hour),
        book_line(3, "false", "bid", "7", "1", -1), book_line(5000, "false", "bid", "7.5", "2"),
    ]  # fmt: skip
    path, out = csv_file(home / "book.csv", "incremental_book_L2", lines), home / "out.csv"
    assert imported(capsys, path)[0] == 0
    command = ["export", "--kind", "depth", "--format", "tardis-csv", "--symbol", "X", "--venue", "deribit"]
    assert main([*command, "--source", "archive", "--from", "2020-04-01", "-o", str(out)]) == 0
    prices = [line.split(",")[6] for line in out.read_text().splitlines()[1:]]
    assert prices == ["8", "7.5", "7", "9"], "the whole book at the beginning of the day"


def test_a_file_of_many_symbols_is_written_as_it_is_read(home: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(filing, "MOST_WAITING", 200_000)
    monkeypatch.setattr(tardis_file, "line_blocks", partial(line_blocks, size=1))
    lines = [f"deribit,X{i % 50},{BASE + i},{BASE + i},id-{i},buy,8.5,0.5" for i in range(20_000)]
    path, filings, most = csv_file(home / "trades.csv", "trades", lines), set[filing.Filing](), 0
    add = filing.Filing.add

    def added(self: filing.Filing, found: Any) -> None:
        nonlocal most
        add(self, found)
        filings.add(self)
        most = max(most, sum(len(one._rows) for one in filings))

    monkeypatch.setattr(filing.Filing, "add", added)
    code, [said] = imported(capsys, path)
    assert (code, said["written"], len(said["symbols"])) == (0, 20_000, 50)
    assert most < 2_000, "those of the bound, and of a block of the file"


def test_a_full_disk_is_told_in_a_sentence_and_nothing_half_written_stays(home: Path, capsys, monkeypatch):
    path, sync = trades_csv(home), LocalStorage.sync

    def full(self: LocalStorage, file: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LocalStorage, "sync", full)
    assert main(["import", path]) == EXIT_NOT_STARTED
    assert (
        f"{path} cannot be filed in {home / 'archive'}: [Errno 28] No space left" in capsys.readouterr().err
    )
    assert [one for one in (home / "archive").rglob("*") if one.is_file()] == []
    monkeypatch.setattr(LocalStorage, "sync", sync)
    assert imported(capsys, path)[1][0]["written"] == 40

    def ended(self: PlainParquet) -> None:
        self._writer.close()
        full(LocalStorage(home), None)

    monkeypatch.setattr(PlainParquet, "close", ended)
    out = home / "catalog"
    command = ["export", "--kind", "trades", "--format", "nautilus", "--symbol", "X", "--venue", "bybit"]
    assert main([*command, "--source", "archive", "-o", str(out)]) == EXIT_NOT_STARTED
    assert "No space left" in capsys.readouterr().err
    assert [one for one in out.rglob("*") if one.is_file()] == []
