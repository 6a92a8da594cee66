"""The pure fold against examples and against a naive computation with `decimal` that shares no code with it."""

from __future__ import annotations

from collections import defaultdict
from decimal import Context, Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import BadNumber
from workers.model.events import Trade
from workers.model.trades.fold import Applied, Closed, Hole, Skipped, TradesFold
from workers.model.trades.windows import EARLIEST_MS, INTERVALS_MS

EXACT = Context(prec=80)
T0 = 1_723_165_200_000  # a whole hour, not a whole 4 h


def trade(number: int, time: int, price: str = "10.0", quantity: str = "1.5", **more: Any) -> Trade:
    given_ = {"is_buyer_maker": False, "is_market": True} | more
    return Trade("BTCUSDT", number, price, quantity, 10 * number, 10 * number + 2, time, time + 5, **given_)


def naive_windows(trades: list[Trade], length: int) -> dict[int, dict[str, Any]]:
    """What each window must hold in the end, by its start."""
    held: dict[int, list[Trade]] = defaultdict(list)
    for one in sorted(trades, key=lambda t: t.trade_id):
        if one.is_market:
            held[one.trade_time // length * length].append(one)
    windows = {}
    for start, members in held.items():
        volume = quote = buy = Decimal(0)
        for one in members:
            quantity = Decimal(one.quantity)
            volume = EXACT.add(volume, quantity)
            quote = EXACT.add(quote, EXACT.multiply(Decimal(one.price), quantity))
            if not one.is_buyer_maker:
                buy = EXACT.add(buy, quantity)
        windows[start] = {
            "start": start,
            "last_update_time": max(one.trade_time for one in members),
            "open_price": Decimal(members[0].price),
            "high_price": max(Decimal(one.price) for one in members),
            "low_price": min(Decimal(one.price) for one in members),
            "close_price": Decimal(members[-1].price),
            "volume": volume,
            "quote_volume": quote,
            "buy_volume": buy,
            "trades_count": len(members),
            "is_buyer_maker_count": sum(one.is_buyer_maker for one in members),
            "first_trade_id": members[0].first_trade_id,
            "last_trade_id": members[-1].last_trade_id,
            "first_agg_trade_id": members[0].trade_id,
        }
    return windows


def held_windows(fold: TradesFold, interval: str) -> dict[int, dict[str, Any]]:
    """The newest version of each window of the fold, in the naive computation's terms."""
    shown = [fields for _, fields in fold.bars(interval)]
    if fold.stats(interval):
        shown.append(fold.stats(interval))
    windows = {}
    for fields in shown:
        values = {name: Decimal(text) for name, text in fields.items() if name != "reason"}
        for name in ("closed", "complete", "revision", "skipped_count", "last_agg_trade_id"):
            values.pop(name, None)
        windows[int(fields["start"])] = values
    return windows


def test_a_window_holds_its_trades() -> None:
    fold = TradesFold()
    fold.apply(
        [trade(5, T0 + 1), trade(6, T0 + 99, "12.5", "0.5", is_buyer_maker=True), trade(7, T0 + 100, "9")]
    )
    ((entry, bar),) = fold.bars("100ms")
    assert entry == f"{T0}-0"
    assert bar == {
        "start": str(T0),
        "revision": "0",
        "complete": "0",
        "reason": "began",  # in the middle of it
        "last_update_time": str(T0 + 99),
        "open_price": "10.0",
        "high_price": "12.5",
        "low_price": "10.0",
        "close_price": "12.5",
        "volume": "2",
        "quote_volume": "21.25",
        "buy_volume": "1.5",
        "trades_count": "2",
        "skipped_count": "0",
        "is_buyer_maker_count": "1",
        "first_trade_id": "50",
        "last_trade_id": "62",
        "first_agg_trade_id": "5",
        "last_agg_trade_id": "6",
    }
    assert fold.stats("100ms")["start"] == str(T0 + 100)
    assert fold.stats("100ms")["complete"] == "1"
    assert fold.stats("1m")["trades_count"] == "3"
    assert fold.bars("1m") == []


def test_every_interval_closes_on_its_utc_boundary() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0 - 1), trade(2, T0)])
    closed = {interval: [entry for entry, _ in fold.bars(interval)] for interval in INTERVALS_MS}
    assert closed["1h"] == [f"{T0 - 3_600_000}-0"]
    assert closed["4h"] == []
    fold.apply([trade(3, T0 - T0 % 86_400_000 + 86_400_000)])
    assert [entry for entry, _ in fold.bars("1d")] == [f"{T0 - T0 % 86_400_000}-0"]


def test_a_late_trade_makes_a_revision_after_the_last_bar() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0), trade(2, T0 + 100), trade(3, T0 + 200)])
    result = fold.apply([trade(4, T0 + 50, "99", "1")])
    assert result.late == 1
    entry, bar = fold.bars("100ms")[-1]
    assert entry == f"{T0 + 100}-1"
    assert (bar["start"], bar["revision"]) == (str(T0), "1")
    assert (bar["close_price"], bar["volume"], bar["trades_count"]) == ("99", "2.5", "2")
    assert fold.stats("1m")["trades_count"] == "4"  # not late for the minute, which is still open


def test_a_late_trade_of_a_window_without_bar_is_never_called_complete() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0), trade(2, T0 + 100), trade(3, T0 + 900)])
    fold.apply([trade(4, T0 + 500)])
    entry, bar = fold.bars("100ms")[-1]
    assert (entry, bar["revision"], bar["complete"]) == (f"{T0 + 500}-0", "0", "0")


def test_ids_are_applied_once_and_a_hole_stops_the_batch() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0), trade(2, T0)])
    result = fold.apply([trade(2, T0), trade(1, T0), trade(3, T0 + 1), trade(6, T0 + 2), trade(4, T0)])
    assert result == Applied(1, 0, 2, 0, 3, T0 + 1, Hole(4, 6))
    assert fold.state()["hole_next_id"] == "6"
    assert fold.apply([trade(4, T0), trade(5, T0), trade(6, T0 + 2)]).hole is None
    assert fold.state()["hole_next_id"] == "0"
    assert fold.stats("1m")["trades_count"] == "6"


def test_an_accepted_hole_marks_the_windows_on_both_sides() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0 - 60_000), trade(2, T0), trade(3, T0 + 70_000)])
    assert fold.skip(4, 9) == Skipped(6, 9)
    fold.apply([trade(10, T0 + 200_000), trade(11, T0 + 300_000), trade(12, T0 + 360_000)])
    complete = {int(bar["start"]): bar["complete"] for _, bar in fold.bars("1m")}
    assert complete == {T0 - 60_000: "0", T0: "1", T0 + 60_000: "0", T0 + 180_000: "0", T0 + 300_000: "1"}
    assert fold.stats("1m")["complete"] == "1"
    assert fold.stats("1h")["complete"] == "0"
    assert fold.state()["missing_count"] == "6"


def test_a_hole_that_does_not_follow_is_not_accepted() -> None:
    fold = TradesFold()
    assert fold.skip(1, 2) is None
    fold.apply([trade(5, T0)])
    assert fold.skip(7, 9) is None
    assert fold.skip(3, 5) == Skipped(0, 5)
    assert fold.skip(4, 8) == Skipped(3, 8)


def test_an_accepted_hole_revises_what_the_clock_closed() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0 - 60_000), trade(2, T0)])
    fold.close(T0 + 61_000, 0)
    fold.skip(3, 4)
    entry, bar = fold.bars("1m")[-1]
    assert (entry, bar["complete"], bar["revision"]) == (f"{T0}-1", "0", "1")


def versions(fold: TradesFold, interval: str, start: int) -> list[tuple[str, str, str, str]]:
    """Revision, complete, reason and trades of each version of a window."""
    names = ("revision", "complete", "reason", "trades_count")
    bars = [bar for _, bar in fold.bars(interval) if bar["start"] == str(start)]
    return [(bar[names[0]], bar[names[1]], bar[names[2]], bar[names[3]]) for bar in bars]


def test_a_window_that_the_clock_closed_is_unproven_until_a_later_trade_has_come() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0 - 60_000), trade(2, T0)])
    fold.close(T0 + 61_000, 0)
    assert versions(fold, "1m", T0) == [("0", "0", "unproven", "1")]
    assert (fold.stats("1m")["complete"], fold.stats("1m")["reason"]) == ("0", "unproven")
    fold.apply([trade(3, T0 + 59_000), trade(4, T0 + 59_999), trade(5, T0 + 60_000)])
    assert versions(fold, "1m", T0) == [("0", "0", "unproven", "1"), ("1", "1", "", "3")]
    assert fold.stats("1m")["complete"] == "1"


def test_a_trade_outside_the_market_proves_as_well_and_a_hole_proves_nothing() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0 - 60_000), trade(2, T0)])
    fold.close(T0 + 61_000, 0)
    fold.apply([trade(4, T0 + 120_000)])
    assert versions(fold, "1m", T0) == [("0", "0", "unproven", "1")]
    fold.apply([trade(3, T0 + 90_000, is_market=False), trade(4, T0 + 120_000)])
    assert versions(fold, "1m", T0)[1:] == [("1", "1", "", "1")]
    # And it ends an open window, which is proven at once; what is missing later cannot belong to it.
    fold.apply([trade(5, T0 + 180_000, is_market=False)])
    assert versions(fold, "1m", T0 + 120_000) == [("0", "1", "", "1")]
    fold.skip(6, 9)
    assert versions(fold, "1m", T0 + 120_000) == [("0", "1", "", "1")]


def test_a_window_that_lacks_more_than_the_proof_says_so_and_is_never_proven() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0)])
    fold.close(T0 + 60_000, 0)
    fold.apply([trade(2, T0 + 60_000)])
    fold.skip(3, 4)
    fold.apply([trade(5, T0 + 120_000), trade(6, T0 + 180_000)])
    assert versions(fold, "1m", T0) == [("0", "0", "began", "1")]
    assert versions(fold, "1m", T0 + 60_000) == [("0", "0", "missing", "1")]
    assert versions(fold, "1m", T0 + 120_000) == [("0", "0", "missing", "1")]


def test_a_batch_of_late_trades_makes_one_revision_of_each_window() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0 - 60_000), trade(2, T0), trade(3, T0 + 60_000)])
    fold.close(T0 + 120_000, 0)
    late = [trade(n, T0 + 60_000 + n) for n in range(4, 300)]
    fold.apply([*late, *(trade(300 + n, T0 + n) for n in range(50))])
    assert versions(fold, "1m", T0) == [("0", "1", "", "1"), ("1", "1", "", "51")]
    assert versions(fold, "1m", T0 + 60_000) == [("0", "0", "unproven", "1"), ("1", "0", "unproven", "297")]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0, 1, 40, 100, 5_000, 61_000, 4_000_000]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=50,
    ),
    size=st.integers(1, 9),
)
def test_what_is_called_complete_never_changes(steps: list[tuple[int, bool, bool]], size: int) -> None:
    """However far the trades are behind the clock, while the exchange's times do not go back."""
    time, tape = T0, []
    for number, (step, market, _) in enumerate(steps):
        time += step
        tape.append(trade(number, time, is_market=market))
    fold = TradesFold()
    for at in range(0, len(tape), size):
        fold.apply(tape[at : at + size])
        if steps[at][2]:
            fold.close(tape[-1].trade_time, 0)
    for interval, length in INTERVALS_MS.items():
        proven: dict[str, dict[str, str]] = {}
        for _, bar in fold.bars(interval):
            assert bar["start"] not in proven
            assert (bar["complete"] == "1") == (bar["reason"] == "")
            if bar["complete"] == "1":
                proven[bar["start"]] = bar
        windows = naive_windows(tape, length)
        assert all(
            int(bar["trades_count"]) == windows[int(start)]["trades_count"] for start, bar in proven.items()
        )
        newest = fold.stats(interval).get("start")
        first = str(min(windows)) if windows else ""
        assert {str(start) for start in windows} - {newest, first} <= proven.keys()


def test_trades_outside_the_market_are_counted_but_change_nothing() -> None:
    fold = TradesFold()
    other = {"is_market": False}
    result = fold.apply(
        [trade(1, T0), trade(2, T0 + 1, "999", **other), trade(3, T0 + 2), trade(4, T0 + 150, "1", **other)]
    )
    assert (result.applied, result.not_market, result.last_id) == (2, 2, 4)
    window = fold.stats("100ms")
    assert (window["high_price"], window["skipped_count"], window["last_agg_trade_id"]) == ("10.0", "1", "3")
    minute = fold.stats("1m")
    assert int(minute["last_agg_trade_id"]) - int(minute["first_agg_trade_id"]) + 1 == 2 + 2
    assert len(fold.latest()) == 2


def test_the_clock_closes_quiet_windows_and_no_others() -> None:
    fold = TradesFold()
    assert fold.close(T0, 0) == Closed(0, 0)
    fold.apply([trade(1, T0)])
    assert fold.close(T0 + 599, 500) == Closed(0, T0 + 100)
    assert fold.close(T0 + 600, 500) == Closed(1, T0 + 60_000)
    assert fold.stats("100ms")["closed"] == "1"
    assert fold.close(T0 + 700, 500) == Closed(0, T0 + 60_000)
    assert fold.apply([trade(2, T0 + 50, "11")]).late == 1
    assert [entry for entry, _ in fold.bars("100ms")] == [f"{T0}-0", f"{T0}-1"]
    assert fold.stats("100ms")["high_price"] == "11"


def test_the_clock_closes_nothing_while_a_hole_waits() -> None:
    fold = TradesFold()
    fold.apply([trade(1, T0), trade(3, T0 + 10)])
    assert fold.close(T0 + 10**9, 0).bars == 0
    fold.apply([trade(2, T0 + 5), trade(3, T0 + 10)])
    assert fold.close(T0 + 10**9, 0).bars == 7


def test_the_latest_set_has_the_documented_json_and_forgets_old_trades() -> None:
    fold = TradesFold(retention_ms=1000, event_type="trade")
    fold.apply([trade(1, T0), trade(2, T0 + 1000)])
    assert [score for score, _ in fold.latest()] == [T0, T0 + 1000]
    fold.apply([trade(3, T0 + 1001)])
    assert [score for score, _ in fold.latest()] == [T0 + 1000, T0 + 1001]
    assert fold.latest()[0][1] == (
        b'{"event_type":"trade","event_time":1723165201005,"symbol":"BTCUSDT","agg_trade_id":2,"price":"10.0",'
        b'"quantity":"1.5","first_trade_id":20,"last_trade_id":22,"trade_time":1723165201000,"is_buyer_maker":false}'
    )
    assert list(msgspec.json.decode(fold.latest()[0][1])) == [
        "event_type",
        "event_time",
        "symbol",
        "agg_trade_id",
        "price",
        "quantity",
        "first_trade_id",
        "last_trade_id",
        "trade_time",
        "is_buyer_maker",
    ]


@pytest.mark.parametrize(
    "bad", [{"price": "1e3"}, {"quantity": "-1"}, {"time": 1_723_161_600_000_000}, {"time": 0}, {"time": -5}]
)
def test_an_absurd_trade_is_refused_by_name_before_anything_is_done(bad: dict[str, Any]) -> None:
    fold = TradesFold()
    with pytest.raises(BadNumber, match="trade 2 of BTCUSDT"):
        fold.apply([trade(1, T0), trade(2, **({"time": T0} | bad))])
    assert fold.state() == {}
    assert fold.apply([trade(1, EARLIEST_MS)]).applied == 1


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 40, 100, 5_000, 61_000, 4_000_000, -50, -120, -70_000]),
            st.sampled_from(["0.1", "61800.30", "61800.3", "9999999.99999999", "0.00000001"]),
            st.sampled_from(["92233720368.54775807", "0.00000001", "3", "0.125", "0"]),
            st.booleans(),
            st.sampled_from([True, True, True, False]),
        ),
        min_size=1,
        max_size=60,
    ),
    size=st.integers(1, 9),
)
def test_any_tape_gives_the_naive_windows(steps: list[tuple[int, str, str, bool, bool]], size: int) -> None:
    time, tape = T0, []
    for number, (step, price, quantity, maker, market) in enumerate(steps):
        time += step
        tape.append(trade(number, time, price, quantity, is_buyer_maker=maker, is_market=market))
    fold = TradesFold()
    for at in range(0, len(tape), size):
        fold.apply(tape[max(0, at - 1) : at + size])
    for interval, length in INTERVALS_MS.items():
        assert held_windows(fold, interval) == naive_windows(tape, length)
