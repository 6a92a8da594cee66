"""Records as data frames: every column, exact where asked, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from client_world import T0, S, World

from workers.client import Book, FleetClient, Gap, Number, PriceLevel, columns_of, to_dataframe
from workers.client.decoding import book_top
from workers.errors import ExtraMissing
from workers.model.books.top_of_book import TopOfBook, encode_top
from workers.model.events import Level


@pytest.fixture
async def held(world: World, fleet: FleetClient) -> FleetClient:
    await world.fold(*range(10, 60))
    return fleet


async def test_trades(held: FleetClient):
    trades = await held.get_trades(S)
    frame = to_dataframe(trades, library="pandas")
    assert list(frame.trade_id) == list(range(10, 60))
    assert frame.price.dtype == float
    assert list(frame.price) == [float(trade.price) for trade in trades]
    assert frame.trade_time[0] == pd.Timestamp(T0 + 370, unit="ms", tz="UTC")
    assert frame.is_buyer_maker.sum() == 25
    exact = to_dataframe(trades, library="pandas", numbers="decimal")
    assert exact.quantity[3] == Decimal("0.250")
    assert list(to_dataframe(trades, numbers="text").price) == [str(trade.price) for trade in trades]


async def test_bars(held: FleetClient):
    bars = await held.get_bars(S, "100ms")
    frame = to_dataframe(bars, library="pandas").set_index("start")
    assert frame.index[0] == pd.Timestamp(bars[0].start_ms, unit="ms", tz="UTC")
    assert frame.trades_count.sum() == 50
    assert frame.high.max() == 106.5
    assert bool(frame.closed.iloc[-1]) is False


def payload(bids: list[Level], asks: list[Level], u: int, event_ms: int, published_us: int) -> bytes:
    """As `book:{S}:top` holds it."""
    return encode_top(TopOfBook(S, bids, asks, u, event_ms, 0, 1, 0, published_us))


def test_tops_have_as_many_levels_as_asked_for():
    rows = [
        book_top(S, "", payload([("9", "1"), ("8", "2")], [("10", "3")], 1, 1500, 1500001)),
        book_top(S, "", payload([], [("10", "3")], 2, 1600, 1600001)),
    ]
    frame = to_dataframe([rows[0], Gap(S, "books", "trimmed", "", "", None), rows[1]], levels=2)
    assert list(frame.update_id) == [1, 2]
    assert list(frame.bid_price_2.fillna(-1)) == [8.0, -1.0]
    assert list(frame.ask_quantity_1) == [3.0, 3.0]
    assert frame.published[0] == pd.Timestamp("1970-01-01T00:00:01.500001Z")
    assert "ask_price_3" not in frame


def test_a_whole_book_has_a_row_a_level():
    level = PriceLevel(Number("9"), Number("1"))
    book = Book(S, 5, 0, 0, Number("0"), Number("inf"), [level, level], [level])
    frame = to_dataframe(book)
    assert list(frame.side) == ["bid", "bid", "ask"]
    assert list(frame.price) == [9.0] * 3


def test_nothing_makes_an_empty_frame():
    assert len(to_dataframe([])) == 0


def test_what_is_no_frame_is_refused():
    top = book_top(S, "", payload([], [], 1, 1, 0))
    with pytest.raises(TypeError, match="BookTop, int"):
        columns_of([top, 5])


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as changed:
        changed.setattr("workers.client.frames.find_spec", lambda _: None)
        with pytest.raises(ExtraMissing, match=r"pip install .*pandas"):
            to_dataframe([])
        with pytest.raises(ExtraMissing, match="polars"):
            to_dataframe([], library="polars")
