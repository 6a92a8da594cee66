"""Recordings of Coinbase through its sessions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from captures import NaiveBook, received_frames

from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.venue import Coinbase
from workers.venues.messages import Message
from workers.venues.session import Accepted, Broken

pytestmark = pytest.mark.recorded
TEN = {
    "SKL-USD",
    "SKL-BTC",
    "BAND-GBP",
    "NMR-EUR",
    "BAND-BTC",
    "YFI-BTC",
    "DASH-BTC",
    "NU-GBP",
    "CRV-EUR",
    "SKL-GBP",
}


def test_exchange_ten_products_and_97_trades_without_a_hole(recorded_folder: Path):
    path = recorded_folder / "venues" / "cryptofeed" / "cryptofeed_coinbase_exchange_level2_2021.ws.zst"
    venue = Coinbase("coinbase", CoinbaseSettings(symbols=["S"], market="exchange"))
    session = venue.session("wss://ws-feed.pro.coinbase.com")
    counts: Counter[str] = Counter()
    accepted: list[str] = []
    naive: dict[str, NaiveBook] = {}
    books: dict[str, OrderBook] = {}
    newest: dict[str, int] = {}
    for frame in received_frames(path):
        for event in session.received(frame, 0):
            if isinstance(event, Accepted):
                accepted += event.streams
            if not isinstance(event, Message):
                continue
            assert event.data == frame.encode()
            symbol = event.symbol
            if event.channel == "aggTrade":
                trade = venue.trade(event.data, symbol)
                assert trade.trade_id == event.update_id
                assert trade.trade_time == event.event_ms
                counts["consecutive"] += trade.trade_id == newest.get(symbol, 0) + 1
                newest[symbol] = trade.trade_id
                bid, ask = books[symbol].best_bid, books[symbol].best_ask
                assert bid is not None
                assert ask is not None
                counts["at the maker's side"] += float(trade.price) <= float(bid[0]) and trade.is_buyer_maker
                counts["at the maker's side"] += (
                    float(trade.price) >= float(ask[0]) and not trade.is_buyer_maker
                )
                counts["contrary"] += float(trade.price) <= float(bid[0]) and not trade.is_buyer_maker
                counts["contrary"] += float(trade.price) >= float(ask[0]) and trade.is_buyer_maker
                continue
            change = venue.depth(event.data, symbol, event.kind)
            assert change.event_time == event.event_ms
            counts[event.kind] += 1
            book, twin = naive.setdefault(symbol, NaiveBook()), books.setdefault(symbol, OrderBook(50_000))
            book.take(change, whole=event.kind == "snapshot")
            if event.kind == "snapshot":
                twin.load(Snapshot(symbol, 0, change.bids, change.asks))
            else:
                twin.apply(change.bids, change.asks)
            counts["crossed"] += twin.crossed
    assert set(naive) == set(newest) == TEN
    assert all(books[symbol].top(50_000) == naive[symbol].top(50_000) for symbol in TEN)
    assert (counts["snapshot"], counts["update"], counts["consecutive"]) == (10, 9_719, 97)
    assert counts["crossed"] == 0
    # of the others the price lay between the best levels, which had moved before the trade was told
    assert (counts["at the maker's side"], counts["contrary"]) == (63, 0)
    assert sum(book.orphan_deletes for book in naive.values()) == 0
    assert sorted(accepted) == sorted(
        f"{channel}:{symbol}" for symbol in TEN for channel in ("level2_batch", "matches")
    )


def test_advanced_counts_every_frame_from_0_to_11(recorded_folder: Path):
    path = recorded_folder / "venues" / "tickvault" / "coinbase_l2.jsonl"
    venue = Coinbase("coinbase", CoinbaseSettings(symbols=["S"]))
    session = venue.session("wss://advanced-trade-ws.coinbase.com")
    book, kinds, accepted = NaiveBook(), [], []
    for frame in received_frames(path):
        for event in session.received(frame, 0):
            assert not isinstance(event, Broken)
            accepted += event.streams if isinstance(event, Accepted) else []
            if isinstance(event, Message):
                assert event.data == frame.encode()
                kinds.append(event.kind)
                change = venue.depth(event.data, event.symbol, event.kind)
                assert change.event_time == event.event_ms > change.transaction_time
                book.take(change, whole=event.kind == "snapshot")
                assert not book.crossed
    assert session._sequence == 11  # type: ignore[union-attr]
    assert kinds == ["snapshot"] + ["update"] * 10
    assert accepted == ["level2:BTC-USD"]
    assert book.orphan_deletes == 0
    assert book.top(1) == ([("78856.05", "0.04868904")], [("78856.06", "0.08023149")])


def test_advanced_sees_a_lost_frame_at_the_next_one(recorded_folder: Path):
    frames = list(received_frames(recorded_folder / "venues" / "tickvault" / "coinbase_l2.jsonl"))
    for lost in range(1, 11):
        session = Coinbase("coinbase", CoinbaseSettings(symbols=["S"])).session("")
        events = [
            event for frame in frames[:lost] + frames[lost + 1 :] for event in session.received(frame, 0)
        ]
        broken = [event for event in events if isinstance(event, Broken)]
        assert broken == [Broken("sequence", lost, lost + 1)]
        assert events[-1] == broken[0]
