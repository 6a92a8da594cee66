"""Files of data.binance.vision in each layout, and how each kind of damage is refused."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from workers.errors import RecordingError
from workers.model.trades.reordering import in_order
from workers.recordings.oddities import NAMED, REMEMBERED, Oddities
from workers.recordings.official import OfficialFile
from workers.recordings.records import Period

FUTURES = "3466782974,84551.1,0.030,8123344783,8123344783,1790526538883,false\n"
SPOT = "26129,0.01633102,4.70443515,27781,27790,1735689600000123,True,True\n"
SPOT_MS = "26129,0.01633102,4.70443515,27781,27790,1498793709153,False,True\n"
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"


def written(path: Path, text: str, inner: str = "x.csv") -> OfficialFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(inner, text)
    else:
        path.write_text(text, encoding="utf-8")
    return OfficialFile(path)


@pytest.mark.parametrize("name", ["BTCUSDT-aggTrades-2026-09-27.zip", "BTCUSDT-aggTrades-2026-09-27.csv"])
@pytest.mark.parametrize("header", ["", HEADER, "\ufeff" + HEADER, "\ufeff"])
def test_a_futures_file_with_and_without_header(tmp_path: Path, name: str, header: str):
    file = written(tmp_path / name, header + FUTURES)
    (trade,) = file.trades()
    assert (trade.trade_id, trade.price, trade.quantity) == (3466782974, "84551.1", "0.030")
    assert (trade.first_trade_id, trade.last_trade_id) == (8123344783, 8123344783)
    assert (trade.trade_time, trade.is_buyer_maker, trade.symbol) == (1790526538883, False, "BTCUSDT")
    assert file.market() == "usdm"
    assert file.period == Period(1790467200000, 1790553600000)


@pytest.mark.parametrize(
    ("text", "time", "maker"), [(SPOT, 1735689600000, True), (SPOT_MS, 1498793709153, False)]
)
def test_a_spot_file_in_microseconds_and_milliseconds(tmp_path: Path, text: str, time: int, maker: bool):
    file = written(tmp_path / "BNBBTC-aggTrades-2025-01.zip", text)
    (trade,) = file.trades()
    assert (trade.trade_time, trade.is_buyer_maker) == (time, maker)
    assert file.market() == "spot"
    assert file.period == Period(1735689600000, 1738368000000)


@pytest.mark.parametrize(
    ("name", "market", "symbol"),
    [
        ("futures/cm/daily/aggTrades/X/BTCUSD_PERP-aggTrades-2026-09-27.csv", "coinm", "BTCUSD_PERP"),
        ("BTCUSD_261225-aggTrades-2026-12.csv", "coinm", "BTCUSD_261225"),
        ("BTCUSDT_261225-aggTrades-2026-12.csv", "usdm", "BTCUSDT_261225"),
        ("data/spot/币安人生USDT-aggTrades-2026-09-27.csv", "spot", "币安人生USDT"),
        ("spot/futures/um/A-B-aggTrades-2026-09-27.csv", "usdm", "A-B"),
        ("something.csv", "usdm", ""),
        ("BTCUSDT-aggTrades-2026-13-45.csv", "usdm", "BTCUSDT"),
    ],
)
def test_market_and_symbol_of_a_file(tmp_path: Path, name: str, market: str, symbol: str):
    file = written(tmp_path / name, FUTURES)
    assert (file.market(), file.symbol) == (market, symbol)


def test_a_month_at_the_end_of_the_year(tmp_path: Path):
    file = OfficialFile(tmp_path / "BTCUSDT-aggTrades-2026-12.zip")
    assert file.period == Period(1796083200000, 1798761600000)


def test_the_checksum(tmp_path: Path):
    file = written(tmp_path / "BTCUSDT-aggTrades-2026-09-27.zip", FUTURES)
    assert file.verify_checksum() is False
    beside = file.path.with_name(file.path.name + ".CHECKSUM")
    beside.write_text(f"{hashlib.sha256(file.path.read_bytes()).hexdigest()}  {file.path.name}\n")
    assert file.verify_checksum() is True
    for text in ("", "\n", "0" * 64):
        beside.write_text(text)
        with pytest.raises(RecordingError, match="sha256"):
            file.verify_checksum()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (FUTURES + "1,2,3\n", 2),
        (HEADER + "1,2,3,4,5,now,true\n", 2),
        (FUTURES + FUTURES.replace("false", "maybe"), 2),
        (FUTURES + "\n" + FUTURES.replace("3466782974", "id"), 3),
        (FUTURES + FUTURES.replace("3466782974", str(2**63)), 2),
        (FUTURES + FUTURES.replace("3466782974", "-1"), 2),
        (FUTURES + FUTURES.replace("84551.1", "nan"), 2),
        (FUTURES + FUTURES.replace("0.030", "much"), 2),
        (FUTURES + FUTURES.replace("1790526538883", "1790526538883000000"), 2),
    ],
)
def test_a_row_that_is_none_is_told_with_its_line(tmp_path: Path, text: str, line: int):
    file = written(tmp_path / "BTCUSDT-aggTrades-2026-09-27.csv", text)
    with pytest.raises(RecordingError, match=f"line {line}:"):
        list(file.trades())


def test_klines_whose_first_row_has_no_time_are_told_so(tmp_path: Path):
    file = written(tmp_path / "BTCUSDT-1m-2026-09-27.csv", "now,1,2,0.5,1.5,10,soon,9,3,4,5,0\n")
    for ask in (file.market, file.window_ms, lambda: list(file.klines())):
        with pytest.raises(RecordingError, match="line 1:"):
            ask()


def test_a_package_that_is_none(tmp_path: Path):
    path = tmp_path / "BTCUSDT-aggTrades-2026-09-27.zip"
    with pytest.raises(RecordingError, match="cannot be read"):
        list(OfficialFile(path).trades())
    path.write_bytes(b"PK but no more")
    with pytest.raises(RecordingError, match="cannot be read"):
        list(OfficialFile(path).trades())
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.csv", FUTURES)
        packed.writestr("b.csv", FUTURES)
    with pytest.raises(RecordingError, match=r"2 \.csv files"):
        list(OfficialFile(path).trades())


def test_a_package_with_a_flipped_bit_is_told_whatever_is_damaged(tmp_path: Path):
    path = tmp_path / "BTCUSDT-aggTrades-2026-09-27.zip"
    text = "".join(FUTURES.replace("3466782974", str(number)) for number in range(100))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x.csv", text)
    whole, refused = path.read_bytes(), 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert len(list(OfficialFile(path).trades())) == 100
        except RecordingError:
            refused += 1
    assert refused > len(whole) // 2


def test_rows_come_in_order_of_their_ids():
    assert list(in_order([3, 1, 2, 5, 4, 4], lambda number: number, 2)) == [1, 2, 3, 4, 4, 5]
    assert list(in_order([], lambda number: number, 2)) == []


def test_rows_that_are_odd_are_named_with_their_lines(tmp_path: Path):
    day = 1_590_019_200_000
    ids = [(5, day), (7, day + 1), (6, day + 2), (7, day + 1), (8, day - 1), (9, day + 86_400_000)]
    path = tmp_path / "X-aggTrades-2020-05-21.csv"
    path.write_text("".join(f"{number},1,2,3,4,{time},true\n" for number, time in ids))
    file = OfficialFile(path)
    assert len(list(file.trades())) == len(list(file.trades())) == len(ids)
    odd = file.oddities
    assert (odd.unordered, odd.doubled, odd.other_day) == (1, 1, 2)
    assert odd.named == [
        "line 3: its id 6 is below 7 of the row above.",
        "line 4: its id 7 stands in line 2 too.",
        "line 5: its id 8 is of another day than the file.",
        "line 6: its id 9 is of another day than the file.",
    ]


def test_many_odd_rows_are_counted_and_the_first_named():
    odd = Oddities()
    for number in range(3 * REMEMBERED, 0, -1):
        odd.look(1, number, 0)
    assert (odd.unordered, len(odd.named)) == (3 * REMEMBERED - 1, NAMED)
    odd.look(9, 1, 0)
    odd.look(10, 3 * REMEMBERED, 0)
    assert odd.doubled == 1
