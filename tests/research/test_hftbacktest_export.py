"""Event arrays for hftbacktest: what numpy reads, and what the real one shows of them."""

from __future__ import annotations

import csv
import gzip
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_exported_books import MESSAGES
from test_research_export import BASE, SYMBOL, export, message, needs_recording, states_of, truth

from workers.cli.application import main
from workers.model.books.order_book import OrderBook
from workers.research.hftbacktest import EventArray

pytestmark = pytest.mark.xdist_group("research")  # others clear the server that these share

NOT_INSTALLED = "hftbacktest is not installed, as it brings 900 MB: pip install hftbacktest"


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
