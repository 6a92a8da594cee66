"""The CSV datasets of Tardis: the exemplars, the rules of books, and reading against a naive twin."""

from __future__ import annotations

import gzip
import io
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import RecordingError
from workers.recordings.tardis import file as tardis_file
from workers.recordings.tardis.books import BookMessages
from workers.recordings.tardis.file import TardisFile
from workers.recordings.tardis.rows import COLUMNS, DATASETS, header_of, line_of, parse_row
from workers.recordings.tardis.writing import RowLines
from workers.terminal.row_writers import compressed

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
L2 = "incremental_book_L2"
BASE = 1_585_699_200_000_000


def rows_of(path: Path) -> list[tuple]:
    return [row for batch in TardisFile(path).batches() for row in batch.rows]


def write(path: Path, lines: list[str], dataset: str = L2) -> Path:
    path.write_text("\n".join([header_of(dataset), *lines]) + "\n")
    return path


def l2(local: int, snapshot: bool, side: str, price: str, amount: str, time: int = 0) -> str:
    flag = "true" if snapshot else "false"
    return f"deribit,X,{BASE + (time or local)},{BASE + local},{flag},{side},{price},{amount}"


@pytest.mark.recorded
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the recordings in ../shared/data")
@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        (
            "venues/nautilus/tardis_deribit_incremental_book_L2_BTC-PERPETUAL.csv",
            15,
            ("deribit", "BTC-PERPETUAL", 1585699200245000, 1585699200355684, True, "ask", "6421.5", "18640"),
        ),
        (
            "venues/nautilus/tardis_bitmex_trades_XBTUSD.csv",
            10,
            (
                "bitmex", "XBTUSD", 1583020803145000, 1583020803307160,
                "ccc3c1fa-212c-e8b0-1706-9b9c4f3d5ecf", "sell", "8531.5", "2152",
            ),
        ),
        (
            "venues/nautilus/tardis_huobi-dm-swap_quotes_BTC-USD.csv",
            10,
            ("huobi-dm-swap", "BTC-USD", 1588291201099000, 1588291201234268, "5494", "8629.3", "8629.2", "806"),
        ),
    ],
)  # fmt: skip
def test_exemplars_are_read_as_documented(name: str, count: int, first: tuple):
    rows = rows_of(DATA / name)
    assert (len(rows), rows[0]) == (count, first)
    text = (DATA / name).read_text().splitlines()
    assert [line_of(row) for row in rows] == text[1 : count + 1]


@pytest.mark.recorded
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the recordings in ../shared/data")
def test_the_exemplar_of_book_snapshots_has_25_levels_of_each_side():
    rows = rows_of(DATA / "venues/nautilus/tardis_binance-futures_book_snapshot_25_BTCUSDT.csv")
    assert len(rows) == 10
    assert {len(row) for row in rows} == {104}
    for row in rows:
        asks, bids = (list(map(Decimal, row[at::4])) for at in (4, 6))
        assert asks == sorted(asks)
        assert bids == sorted(bids, reverse=True)
        assert bids[0] < asks[0]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_what_is_written_is_read_again(tmp_path: Path, dataset: str, suffix: str):
    cells = {
        "name": "x", "text": None, "us": BASE, "later": None, "flag": True, "side": "bid", "taker": "unknown",
        "number": "-0.0001", "amount": "0",
    }  # fmt: skip
    row = tuple(cells[column.kind] for column in COLUMNS[dataset])
    path = tmp_path / f"{dataset}.{suffix}"
    with path.open("wb") as file, compressed(file, path.name) as packed:
        RowLines(packed, dataset).rows([row, row])
    assert TardisFile(path).dataset == dataset
    assert rows_of(path) == [row, row]


def test_a_malformed_row_names_file_and_line_and_nothing_else_is_lost(tmp_path: Path):
    lines = [l2(i, i < 5, "bid", str(100 - i), "1") for i in range(10)]
    bad = [
        "",
        "rubbish",
        l2(5, False, "bid", "1e", "1"),
        l2(5, False, "both", "1", "1"),
        "a,b,1,2,true,bid,1,1",
        f'a,"b",{l2(5, False, "bid", "1", "1").split(",", 2)[2]}',
    ]
    path = write(tmp_path / "a.csv", [*lines[:5], *bad, header_of(L2), *lines[5:]])
    [batch] = TardisFile(path).batches()
    assert [line_of(row) for row in batch.rows] == lines
    assert batch.lines == [2, 3, 4, 5, 6, 14, 15, 16, 17, 18]
    assert [str(damage) for damage in batch.damages] == [
        f"{path}, line 8: it has 1 cells, not 8.",
        f"{path}, line 9: its price '1e' is no number.",
        f"{path}, line 10: its side 'both' is neither bid nor ask.",
        f"{path}, line 11: its timestamp '1' is no time in µs.",
        f"{path}, line 12: its symbol '\"b\"' is no name.",
    ]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_file_that_is_cut_short_gives_its_whole_lines_and_says_so(tmp_path: Path, pack):
    lines = [l2(i, True, "bid", f"{i}.{i * i}", "1") for i in range(1, 40_000)]
    path = tmp_path / ("a.gz" if pack is gzip.compress else "a.zst")
    packed = pack("\n".join([header_of(L2), *lines]).encode())
    path.write_bytes(packed[: len(packed) * 3 // 4])
    batches = list(TardisFile(path).batches())
    rows = [line_of(row) for batch in batches for row in batch.rows]
    assert 0 < len(rows) < len(lines)
    assert rows == lines[: len(rows)]
    [damage] = batches[-1].damages
    assert "is cut short here" in damage.problem
    assert damage.line == len(rows) + 2


def test_another_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("time,price\n1,2\n")
    with pytest.raises(RecordingError, match="line 1: its first line is the header of none of"):
        TardisFile(path)


def messages(lines: list[str], step: int = 10_000) -> tuple[list, BookMessages]:
    rows = [parse_row(L2, line) for line in lines]
    maker, found = BookMessages(), []
    for at in range(0, len(rows), step):
        found += maker.take(range(at + 2, at + 2 + len(rows[at : at + step])), rows[at : at + step])
    return found + list(maker.finish()), maker


def test_changes_before_the_first_whole_book_are_ignored():
    found, maker = messages(
        [l2(1, False, "bid", "9", "1"), l2(2, True, "bid", "8", "1"), l2(3, False, "ask", "9", "2")]
    )
    assert maker.ignored == 1
    assert [(m.line, m.is_snapshot, m.bids, m.asks, m.hole_from) for m in found] == [
        (3, True, [("8", "1")], [], 0),
        (4, False, [], [("9", "2")], 0),
    ]


def test_a_whole_book_in_mid_file_is_a_hole():
    found, _ = messages(
        [l2(1, True, "bid", "8", "1"), l2(5, False, "bid", "8", "2"), l2(9, True, "bid", "7", "1")]
    )
    assert [message.hole_from and message.hole_from - BASE for message in found] == [0, 0, 5]


def test_of_two_whole_books_in_a_row_what_crosses_the_newer_is_dropped():
    lines = [
        l2(1, True, "bid", "8", "1"), l2(1, True, "ask", "9", "1"),
        l2(2, True, "bid", "9", "3"), l2(2, True, "ask", "10", "1"), l2(3, False, "bid", "9", "0"),
    ]  # fmt: skip
    found, _ = messages(lines)
    assert (found[0].bids, found[0].asks) == ([("8", "1"), ("9", "3")], [("10", "1")])


def test_a_row_that_goes_back_in_time_is_left_out():
    found, maker = messages(
        [l2(5, True, "bid", "8", "1"), l2(4, True, "bid", "7", "1"), l2(6, False, "bid", "8", "2")]
    )
    assert maker.out_of_order == [3]
    assert [message.bids for message in found] == [[("8", "1")], [("8", "2")]]


def naive_books(rows: list[tuple]) -> list[tuple[int, dict, dict]]:
    """The book after each message, by reading the rules aloud: one row after the other, nothing kept but the book."""
    states, bids, asks, began, before = [], {}, {}, False, False
    for place, row in enumerate(rows):
        _, _, _, local, snapshot, side, price, amount = row
        if snapshot and not before:
            bids, asks, began = {}, {}, True
        before = snapshot
        if not began:
            continue
        levels = bids if side == "bid" else asks
        levels[price] = amount
        if not Decimal(amount):
            del levels[price]
        after = rows[place + 1] if place + 1 < len(rows) else None
        if after is None or after[4] != snapshot or (not snapshot and after[3] != local):
            states.append((local, dict(bids), dict(asks)))
    return states


l2_rows = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([("bid", 1), ("ask", 101)]), st.integers(0, 9),
              st.integers(0, 3)),
    max_size=60,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(l2_rows, st.integers(1, 7))
def test_the_book_is_that_of_the_naive_twin(rows, step: int):
    local, lines = 1, []
    for later, snapshot, (side, base), price, amount in rows:
        local += later
        lines.append(l2(local, snapshot, side, str(base + price), str(amount)))
    bids, asks, states = {}, {}, []
    for message in messages(lines, step)[0]:
        if message.is_snapshot:
            bids, asks = {}, {}
        for levels, changes in ((bids, message.bids), (asks, message.asks)):
            for price, amount in changes:
                levels[price] = amount
                if amount == "0":
                    del levels[price]
        states.append((message.local_timestamp, dict(bids), dict(asks)))
    assert states == naive_books([parse_row(L2, line) for line in lines])


cell = st.sampled_from(
    ["1", "0.5", "1e-05", "-1", "", "nan", "1585699200245000", "true", "bid", "buy", "x", "0x1f", "é"]
)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([L2, "trades", "liquidations"]), st.lists(st.tuples(st.integers(4, 9), cell), max_size=8)
)
def test_arrow_and_lines_read_the_same(tmp_path_factory, dataset: str, changes):
    """Whole lines with some cells replaced, one too many or one too few among them."""
    pytest.importorskip("pyarrow")
    good = ["x", "y", str(BASE), str(BASE), *(["true", "bid"] if dataset == L2 else ["", "buy"]), "8.5", "1"]
    lines = [",".join(good)] * 3
    for place, text in changes:
        lines.append(",".join([*good[:place], text, *good[place + 1 :]]))
    block = "\n".join(lines).encode()
    by_arrow = tardis_file._rows_by_arrow(dataset, block)
    path = write(tmp_path_factory.mktemp("t") / "a.csv", lines, dataset)
    slow = TardisFile(path)._line_by_line(2, block)
    if by_arrow is not None:
        assert slow.damages == []
        assert [line_of(row) for row in by_arrow] == [line_of(row) for row in slow.rows]
    assert sum(len(b.rows) for b in TardisFile(path).batches()) == len(slow.rows)


def test_lines_of_usual_rows_are_read_by_arrow():
    pytest.importorskip("pyarrow")
    block = "\n".join(l2(i, True, "bid", f"{i}.5", "1") for i in range(1, 50)).encode()
    assert len(tardis_file._rows_by_arrow(L2, block) or []) == 49


def test_rows_are_written_with_empty_cells():
    file = io.BytesIO()
    RowLines(file, "liquidations").rows([("b", "X", BASE, BASE, None, "buy", "1", "2")])
    assert file.getvalue().decode().splitlines()[1] == f"b,X,{BASE},{BASE},,buy,1,2"
