"""Messages of tardis-machine: their JSON against the documented ones, and what is made of them."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from workers.errors import BadInput
from workers.recordings.tardis import messages as told
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.computed import BookSnapshots, Computed, TradeBars
from workers.recordings.tardis.data_types import BarType, PlainType, SnapshotType, parse_data_type

EXEMPLARS = Path(__file__).resolve().parents[3] / "shared" / "data" / "venues" / "nautilus"
S = "XBTUSD"
T = 1_571_830_193_469_000


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 1000


def book(bids: list[Any], asks: list[Any], time: int = T, *, whole: bool = False) -> told.BookChange:
    return told.BookChange(S, BookMessage(0, time, time + 7, whole, bids, asks))


def trade(price: str, amount: str, time: int = T, side: str = "buy") -> told.Trade:
    return told.Trade(S, "1", price, amount, side, time, time + 5)


def message_of(exemplar: dict[str, Any]) -> told.Message:
    """The message that a documented one tells of."""

    def text(name: str) -> str | None:
        return None if name not in exemplar else f"{Decimal(repr(exemplar[name])):f}"

    def levels(name: str) -> list[tuple[str, str]]:
        return [(str(one["price"]), str(one["amount"])) for one in exemplar[name]]

    symbol, local = exemplar.get("symbol", ""), us(exemplar["localTimestamp"])
    time = us(exemplar.get("timestamp", exemplar["localTimestamp"]))
    match exemplar["type"]:
        case "trade":
            numbers = str(exemplar["price"]), str(exemplar["amount"])
            return told.Trade(symbol, exemplar["id"], *numbers, exemplar["side"], time, local)
        case "book_change":
            whole = exemplar["isSnapshot"]
            return told.BookChange(symbol, BookMessage(0, time, local, whole, levels("bids"), levels("asks")))
        case "book_snapshot":
            of = parse_data_type(exemplar["name"])
            assert isinstance(of, SnapshotType)
            return told.BookSnapshot(symbol, of, tuple(levels("bids")), tuple(levels("asks")), time, local)
        case "derivative_ticker":
            names = ("lastPrice", "openInterest", "fundingRate")
            numbers = [text(name) for name in names]
            rest = text("indexPrice"), text("markPrice")
            return told.DerivativeTicker(symbol, *numbers, None, None, *rest, time, local)
        case "trade_bar":
            names = ("open", "high", "low", "close", "volume", "buyVolume", "sellVolume")
            numbers = [float(exemplar[name]) for name in names]
            ends = us(exemplar["openTimestamp"]), us(exemplar["closeTimestamp"])
            of = exemplar["name"], exemplar["interval"], exemplar["kind"]
            return told.TradeBar(
                symbol, of[0], float(of[1]), of[2], *numbers, exemplar["trades"], exemplar["vwap"], *ends, time, local
            )  # fmt: skip
        case other:
            assert other == "disconnect"
            return told.Disconnect(symbol, local)


@pytest.mark.skipif(not EXEMPLARS.is_dir(), reason="needs the exemplars in ../shared/data")
@pytest.mark.parametrize(
    "name", ["trade", "book_change", "book_snapshot", "derivative_ticker", "bar", "disconnect"]
)
def test_a_message_is_as_documented(name: str):
    exemplar = json.loads((EXEMPLARS / f"tardis_machine_{name}.json").read_text())
    assert json.loads(told.encode(exemplar["exchange"], message_of(exemplar))) == exemplar


def test_what_is_not_known_is_absent_and_levels_are_padded():
    of = SnapshotType("book_snapshot_2_0ms", 2, 0, Decimal("0.10"))
    shown = json.loads(told.encode("x", told.BookSnapshot(S, of, (("1", "2"), None), (None, None), T, T + 1)))
    assert (shown["bids"], shown["asks"], shown["grouping"]) == (
        [{"price": 1, "amount": 2}, {}],
        [{}, {}],
        0.1,
    )
    assert (shown["timestamp"], shown["localTimestamp"]) == (
        "2019-10-23T11:29:53.469Z",
        "2019-10-23T11:29:53.469001Z",
    )
    bare = json.loads(told.encode("x", told.Liquidation(S, None, "1.50", "100.0", "sell", T, T)))
    assert "id" not in bare
    assert (bare["type"], bare["price"], bare["amount"]) == ("liquidation", 1.5, 100)
    ticker = told.DerivativeTicker(S, None, None, "-0.0001", T, None, None, "5", T, T)
    assert json.loads(told.encode("x", ticker)).keys() == {
        "type", "symbol", "exchange", "fundingRate", "fundingTimestamp", "markPrice", "timestamp", "localTimestamp",
    }  # fmt: skip
    trouble = json.loads(told.encode("x", told.Trouble('it "broke"', 3, T)))
    assert (trouble["details"], trouble["subSequentErrorsCount"]) == ('it "broke"', 3)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("trade", PlainType("trade")),
        ("book_snapshot_25_100ms", SnapshotType("book_snapshot_25_100ms", 25, 100)),
        (
            "book_snapshot_10_grouped0.5_2s",
            SnapshotType("book_snapshot_10_grouped0.5_2s", 10, 2000, Decimal("0.5")),
        ),
        ("quote", SnapshotType("quote", 1, 0)),
        ("quote_1m", SnapshotType("quote_1m", 1, 60_000)),
        ("trade_bar_10s", BarType("trade_bar_10s", "time", 10_000)),
        ("trade_bar_5ticks", BarType("trade_bar_5ticks", "tick", 5)),
        ("trade_bar_0.5vol", BarType("trade_bar_0.5vol", "volume", 0.5)),
    ],
)
def test_data_types(name: str, found: object):
    assert parse_data_type(name) == found


@pytest.mark.parametrize(
    "name",
    ["trades", "book_snapshot_0_1s", "book_snapshot_5", "book_snapshot_5_grouped0_1s", "book_snapshot_99999_1s",
     "quote_s", "trade_bar_0ms", "trade_bar_1h", "option_summary", ""],
)  # fmt: skip
def test_what_is_no_data_type(name: str):
    with pytest.raises(BadInput, match="none of trade"):
        parse_data_type(name)


def test_of_levels_that_cross_the_older_one_goes():
    shown = BookSnapshots(SnapshotType("x", 2, 0))
    list(shown.take(book([("99", "1"), ("98", "1")], [("101", "1")], whole=True)))
    [asked] = shown.take(book([], [("98.5", "2")]))
    assert (asked.bids, asked.asks) == ((("98", "1"), None), (("98.5", "2"), ("101", "1")))
    [bid] = shown.take(book([("105", "3")], []))
    assert (bid.bids, bid.asks) == ((("105", "3"), ("98", "1")), (None, None))


def test_grouped_levels_round_away_from_the_middle():
    shown = BookSnapshots(SnapshotType("x", 2, 0, Decimal("0.5")))
    bids = [("99.9", "1"), ("99.5", "2"), ("99.4", "4"), ("98.0", "8")]
    [found] = shown.take(book(bids, [("100.1", "1"), ("100.5", "2"), ("100.6", "4")], whole=True))
    assert found.bids == (("99.5", "3"), ("99", "4"))
    assert found.asks == (("100.5", "3"), ("101", "4"))


def test_nothing_is_shown_before_a_whole_book_or_without_a_change():
    shown = BookSnapshots(SnapshotType("x", 1, 1000))
    assert not list(shown.take(book([("99", "1")], [])))
    [first] = shown.take(book([("99", "1")], [], whole=True))
    assert first.timestamp == T
    assert not list(shown.take(book([("99", "2")], [], T + 1)))
    assert not list(shown.take(book([("50", "2")], [], T + 2)))
    [second] = shown.take(book([("50", "3")], [], T + 3_000_000))
    assert (second.timestamp, second.bids) == ((T // 1_000_000 + 1) * 1_000_000, (("99", "2"),))
    assert not list(shown.take(book([("50", "4")], [], T + 9_000_000)))


def test_bars_of_trades():
    bars = TradeBars(BarType("trade_bar_1s", "time", 1000))
    assert not list(bars.take(trade("10", "1")))
    assert not list(bars.take(trade("12", "3", T + 1, "sell")))
    [bar] = bars.take(trade("11", "1", T + 5_000_000))
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap) == (10, 12, 10, 12, 4, 11.5)
    assert (bar.buy_volume, bar.sell_volume, bar.trades) == (1, 3, 2)
    assert (bar.timestamp, bar.local_timestamp) == ((T // 1_000_000 + 1) * 1_000_000, T + 5_000_005)
    ticks = TradeBars(BarType("x", "tick", 2))
    assert [len(list(ticks.take(trade("1", "1")))) for _ in range(5)] == [0, 1, 0, 1, 0]


def test_after_a_disconnect_everything_begins_anew():
    computed = Computed([SnapshotType("x", 1, 0), BarType("y", "tick", 2)])
    list(computed.take(book([("99", "1")], [], whole=True)))
    list(computed.take(trade("1", "1")))
    computed.reset()
    assert not list(computed.take(book([("99", "2")], [])))
    assert not list(computed.take(trade("1", "1")))
