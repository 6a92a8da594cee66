"""Bybit as recorded: a book of 50 levels whose ids rise by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from venue_recordings import PlainBook, bare_frames

from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot
from workers.venues.bybit.settings import BybitSettings
from workers.venues.bybit.venue import Bybit
from workers.venues.messages import Message
from workers.venues.session import Accepted

pytestmark = pytest.mark.recorded


def test_a_recorded_book_chains_by_one(recorded_folder: Path):
    venue = Bybit("bybit", BybitSettings(symbols=["S"], depth=50, trades="none"))
    (endpoint,) = venue.endpoints(["BTCUSDT"])
    session = venue.session(endpoint.url)
    session.opened(0)
    session.subscribe(endpoint.subscriptions, 1)
    book, naive, deltas, last, crossed = OrderBook(50), PlainBook(), 0, 0, 0
    frames = list(bare_frames(recorded_folder / "venues" / "tickvault" / "bybit_orderbook.jsonl"))
    assert session.received(frames[0], 1) == [Accepted(["orderbook.50.BTCUSDT"])]
    for frame in frames[1:]:
        (event,) = session.received(frame, 1)
        assert isinstance(event, Message)
        assert event.data == frame
        depth = venue.depth(event.data, event.symbol, event.kind)
        assert (depth.first_id, depth.last_id, depth.previous_id) == (event.first_id, event.update_id, -1)
        if event.kind == "snapshot":
            book.load(Snapshot("BTCUSDT", depth.last_id, depth.bids, depth.asks))
            naive.load(depth.bids, depth.asks)
        else:
            assert depth.last_id == last + 1
            deltas += 1
            book.apply(depth.bids, depth.asks)
            naive.apply(depth.bids, depth.asks)
        last = depth.last_id
        crossed += book.crossed
        assert book.top(50) == naive.top(50)
        assert [len(side) for side in naive.sides] == [50, 50]
        assert 0 <= depth.event_time - depth.transaction_time < 100
    assert (deltas, naive.orphans, crossed) == (8, 0, 0)
