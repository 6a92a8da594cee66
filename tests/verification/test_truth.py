"""The check of a demo: what is right passes, and every kind of wrong is seen and told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from workers.model.events import Trade
from workers.model.trades.fold import TradesFold
from workers.model.trades.windows import INTERVALS_MS
from workers.verification.truth import (
    MOST_SENTENCES,
    Findings,
    HeldBars,
    TruthTrade,
    check_bars,
    check_levels,
    check_trades,
    naive_bars,
    numbered_as_held,
    percentile,
    within,
)

START = 1_700_000_000_000


def trades(count: int = 40, step_ms: int = 37) -> list[TruthTrade]:
    return [
        TruthTrade(
            trade_id=100 + place,
            price=f"{10 + place % 7}.{place % 10}0",
            quantity=f"0.{1 + place % 9}00",
            first_trade_id=1000 + 2 * place,
            last_trade_id=1001 + 2 * place,
            time=START + place * step_ms,
            is_buyer_maker=place % 3 == 0,
        )
        for place in range(count)
    ]


def members(truth: list[TruthTrade]) -> list[tuple[float, dict[str, object]]]:
    head = {"event_type": "aggTrade", "event_time": START, "symbol": "BTCUSDT"}
    return [(float(trade.time), {**head, **trade.member()}) for trade in truth]


def held(truth: list[TruthTrade], interval: str) -> HeldBars:
    """What the fold itself makes of these trades."""
    fold = TradesFold()
    fold.apply(
        [
            Trade(
                "BTCUSDT",
                trade.trade_id,
                trade.price,
                trade.quantity,
                trade.first_trade_id,
                trade.last_trade_id,
                trade.time,
                trade.time,
                trade.is_buyer_maker,
            )
            for trade in truth
        ]
    )
    return HeldBars([bar for _, bar in fold.bars(interval)], fold.stats(interval), trimmed=False)


def test_equal_books_pass_and_are_no_problem():
    found = Findings()
    book = ([["10.0", "1"], ["9.0", "2"]], [["11.0", "3"]])
    assert check_levels("BTCUSDT", 5, book, book, found)
    assert not found.problems
    assert not found.books_differ


@pytest.mark.parametrize(
    ("bids", "asks", "says"),
    [
        ([["10.0", "1"], ["9.0", "2.5"]], [["11.0", "3"]], "bid 2 is 9.0 x 2.5, really 9.0 x 2"),
        ([["10.0", "1"]], [["11.0", "3"]], "bid 2 is absent, really 9.0 x 2"),
        ([["10.0", "1"], ["9.0", "2"], ["8.0", "1"]], [["11.0", "3"]], "bid 3 is 8.0 x 1, really absent"),
        ([["10.0", "1"], ["9.0", "2"]], [["11.00", "3"]], "ask 1 is 11.00 x 3, really 11.0 x 3"),
        ([["10.0", "1"], ["9.0", "2"]], [], "ask 1 is absent"),
    ],
)
def test_a_wrong_book_is_told(bids: list[list[str]], asks: list[list[str]], says: str):
    found = Findings()
    truth = ([["10.0", "1"], ["9.0", "2"]], [["11.0", "3"]])
    assert not check_levels("spot:BTCUSDT", 5, (bids, asks), truth, found)
    assert says in found.problems[0]
    assert "update id 5" in found.problems[0]
    assert found.books_differ == {"spot:BTCUSDT"}


def test_levels_within_a_known_range():
    levels = [["10", "1"], ["9", "1"], ["8", "1"]]
    assert within(levels, "9", "inf") == levels[:2]
    assert within(levels, "0", "inf") == levels
    assert within(levels, "inf", "inf") == []
    assert within(levels, "0", "0") == []


def test_right_trades_pass():
    found = Findings()
    check_trades("BTCUSDT", members(trades()), trades(), found)
    assert (found.trades_seen, found.trades_missing, found.trades_doubled, found.trades_differ) == (
        40,
        0,
        0,
        0,
    )
    assert not found.problems


def test_a_missing_trade_is_told():
    found = Findings()
    check_trades("BTCUSDT", members(trades()[:5] + trades()[6:]), trades(), found)
    assert found.trades_missing == 1
    assert found.problems == ["BTCUSDT: trade 105 is missing."]


def test_a_missing_tail_is_told():
    found = Findings()
    check_trades("BTCUSDT", members(trades(30)), trades(40), found)
    assert found.trades_missing == 10


def test_a_doubled_trade_is_told():
    found = Findings()
    right = members(trades())
    check_trades("BTCUSDT", [*right, (right[7][0], {**right[7][1], "event_time": 1})], trades(), found)
    assert found.trades_doubled == 1
    assert found.problems == ["BTCUSDT: trade 107 is held twice."]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("price", "10.000"),
        ("quantity", "9"),
        ("first_trade_id", 1),
        ("last_trade_id", 1),
        ("is_buyer_maker", False),
    ],
)
def test_a_different_trade_is_told(key: str, value: object):
    found = Findings()
    wrong = members(trades())
    wrong[0][1][key] = value
    check_trades("BTCUSDT", wrong, trades(), found)
    assert found.trades_differ == 1
    assert f"trade 100 has {key}" in found.problems[0]


def test_a_trade_that_never_was_and_a_wrong_score_are_told():
    found = Findings()
    right = members(trades())
    check_trades("BTCUSDT", [(right[0][0] + 1, right[0][1]), *right[1:]], trades(39), found)
    assert found.trades_differ == 2
    assert "score" in found.problems[0]
    assert found.problems[1] == "BTCUSDT: trade 139 is held, but never was."


@pytest.mark.parametrize("interval", INTERVALS_MS)
def test_the_bars_of_the_fold_pass(interval: str):
    found = Findings()
    check_bars("BTCUSDT", interval, held(trades(), interval), trades(), found)
    assert found.bars_differ == 0, found.problems
    assert found.bars_equal == len(naive_bars(trades(), INTERVALS_MS[interval]))


def test_a_naive_bar_by_hand():
    two = [TruthTrade(1, "2.0", "3", 10, 11, 60_000, True), TruthTrade(2, "1.50", "2", 12, 14, 60_099, False)]
    bar = naive_bars(two, 100)[60_000]
    assert bar["open_price"] == bar["high_price"] == "2.0"
    assert bar["close_price"] == bar["low_price"] == "1.50"
    assert (Decimal(bar["volume"]), Decimal(bar["quote_volume"]), bar["buy_volume"]) == (5, 9, "2")
    assert (bar["trades_count"], bar["is_buyer_maker_count"]) == ("2", "1")
    assert (bar["first_trade_id"], bar["last_trade_id"], bar["last_update_time"]) == ("10", "14", "60099")


@pytest.mark.parametrize(
    "key", ["open_price", "high_price", "volume", "quote_volume", "buy_volume", "trades_count"]
)
def test_a_wrong_bar_is_told(key: str):
    right = held(trades(), "100ms")
    closed = [dict(bar) for bar in right.closed]
    closed[3][key] = "77"
    found = Findings()
    check_bars("BTCUSDT", "100ms", HeldBars(closed, right.stats, trimmed=False), trades(), found)
    assert found.bars_differ == 1
    assert f"{key} 77" in found.problems[0]


def test_a_wrong_open_window_is_told():
    right = held(trades(), "1h")
    found = Findings()
    check_bars("BTCUSDT", "1h", HeldBars([], {**right.stats, "volume": "1"}, trimmed=False), trades(), found)
    assert found.bars_differ == 1


def test_a_missing_and_an_invented_bar_are_told():
    right = held(trades(), "100ms")
    found = Findings()
    check_bars("BTCUSDT", "100ms", HeldBars(right.closed[1:], right.stats, trimmed=False), trades(), found)
    assert found.problems[0].endswith("is missing.")
    invented = {**right.closed[0], "start": str(START - 1000)}
    check_bars(
        "BTCUSDT", "100ms", HeldBars([invented, *right.closed], right.stats, trimmed=False), trades(), found
    )
    assert found.problems[1].endswith("has no trades in truth.")


def test_the_last_revision_of_a_bar_counts():
    right = held(trades(), "100ms")
    older = {**right.closed[0], "volume": "1"}
    found = Findings()
    check_bars(
        "BTCUSDT", "100ms", HeldBars([older, *right.closed], right.stats, trimmed=False), trades(), found
    )
    assert found.bars_differ == 0


def test_a_bar_that_changes_after_it_was_called_complete_is_told():
    right = held(trades(), "100ms")
    at = next(place for place, bar in enumerate(right.closed) if bar["complete"] == "1")
    poorer = {**right.closed[at], "trades_count": "0", "complete": "1", "reason": ""}
    closed = [*right.closed[:at], poorer, *right.closed[at + 1 :], {**right.closed[at], "revision": "1"}]
    found = Findings()
    check_bars("BTCUSDT", "100ms", HeldBars(closed, right.stats, trimmed=False), trades(), found)
    assert found.bars_differ == 1
    assert "was called complete, and then had trades_count" in found.problems[0]
    closed[at] = {**poorer, "complete": "0", "reason": "unproven"}
    found = Findings()
    check_bars("BTCUSDT", "100ms", HeldBars(closed, right.stats, trimmed=False), trades(), found)
    assert found.bars_differ == 0


def test_bars_that_are_no_longer_kept_are_counted_not_compared():
    right = held(trades(), "100ms")
    found = Findings()
    check_bars("BTCUSDT", "100ms", HeldBars(right.closed[4:], right.stats, trimmed=True), trades(), found)
    assert found.bars_differ == 0
    assert found.bars_expired == 4


def test_many_problems_are_counted_though_not_all_are_told():
    found = Findings()
    check_trades("BTCUSDT", [], trades(MOST_SENTENCES + 3), found)
    assert found.trades_missing == MOST_SENTENCES + 3
    assert len(found.sentences()) == MOST_SENTENCES + 1
    assert found.sentences()[-1] == "And 3 more."


def test_percentiles():
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([float(value) for value in range(100)], 0.99) == 99.0


def test_named_trades_are_compared_by_their_names_and_the_numbers_of_the_log():
    truth = [replace(trade, name=f"n{place}") for place, trade in enumerate(trades(8))]
    rows = [
        replace(trade, trade_id=n, first_trade_id=n, last_trade_id=n) for n, trade in enumerate(truth[2:], 5)
    ]
    latest = [
        (score, row | {"venue_trade_id": trade.name})
        for (score, row), trade in zip(members(rows), rows, strict=True)
    ]
    assert numbered_as_held(truth, latest) == rows
    found = Findings()
    check_trades("A", latest, numbered_as_held(truth, latest), found)
    assert (found.trades_seen, found.sentences()) == (6, [])
    lost = latest[:2] + latest[3:]
    check_trades("A", lost, numbered_as_held(truth, lost), found)
    assert (found.trades_missing, found.trades_differ) == (1, 0)
    doubled = [*latest, (latest[1][0], latest[1][1] | {"agg_trade_id": 99})]
    check_trades("A", doubled, numbered_as_held(truth, doubled), found)
    assert (found.trades_missing, found.trades_differ) == (1, 1)
