"""Bitstamp as recorded: ten pairs that REST books begin and messages continue; and one of 2026."""

from __future__ import annotations

from pathlib import Path

import pytest
from venue_recordings import PlainBook, bare_frames, cryptofeed_lines

from workers.model.books.order_book import OrderBook
from workers.model.events import DepthEvent, Snapshot, Trade
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.venue import Bitstamp
from workers.venues.messages import Message
from workers.venues.session import Accepted

pytestmark = pytest.mark.recorded


def test_ten_pairs_are_begun_over_rest_and_never_cross(recorded_folder: Path):
    path = recorded_folder / "venues" / "cryptofeed" / "cryptofeed_bitstamp_diff_20210405.zst"
    lines = list(cryptofeed_lines(path))
    venue = Bitstamp("bitstamp", BitstampSettings(symbols=["S"]))
    symbols = [venue.symbol_of(url.rpartition("/")[2]) for _, url, _ in lines if url]
    assert len(symbols) == 10
    (endpoint,) = venue.endpoints(symbols)
    session = venue.session(endpoint.url)
    assert len(session.subscribe(endpoint.subscriptions, 1)) == 20
    snapshots: dict[str, Snapshot] = {}
    early: dict[str, list[DepthEvent]] = {symbol: [] for symbol in symbols}
    books: dict[str, tuple[OrderBook, PlainBook]] = {}
    stale = crossed = diffs = applied = 0
    accepted: list[str] = []
    trades: dict[str, list[Trade]] = {symbol: [] for symbol in symbols}
    for time, url, payload in sorted(lines, key=lambda line: line[0]):
        if url:
            symbol = venue.symbol_of(url.rpartition("/")[2])
            snapshots[symbol] = snapshot = venue.snapshot(symbol, payload.encode())
            books[symbol] = pair = (OrderBook(100_000), PlainBook())
            pair[0].load(snapshot)
            pair[1].load(snapshot.bids, snapshot.asks)
            ready = early.pop(symbol)
        else:
            (event,) = session.received(payload, int(time * 1000))
            if isinstance(event, Accepted):
                accepted += event.streams
                continue
            assert isinstance(event, Message)
            assert event.data == payload.encode()
            symbol = event.symbol
            if event.channel == "aggTrade":
                trades[symbol].append(venue.trade(event.data, symbol))
                continue
            diffs += 1
            depth = venue.depth(event.data, symbol, event.kind)
            assert depth.last_id == event.update_id
            if symbol in early:
                early[symbol].append(depth)
                continue
            ready = [depth]
        for depth in ready:
            if depth.last_id <= snapshots[symbol].last_update_id:
                stale += 1
                continue
            applied += 1
            books[symbol][0].apply(depth.bids, depth.asks)
            books[symbol][1].apply(depth.bids, depth.asks)
            crossed += books[symbol][0].crossed + books[symbol][1].crossed
    assert (len(accepted), len(books), diffs, stale, applied, crossed) == (20, 10, 3202, 111, 3091, 0)
    assert sum(naive.orphans for _, naive in books.values()) == 0
    for book, naive in books.values():
        assert book.top(50) == naive.top(50)
    flat = [trade for each in trades.values() for trade in each]
    assert len(flat) == 32
    assert not any(trade.is_absurd for trade in flat)
    for each in trades.values():
        identities = [trade.trade_id for trade in each]
        assert identities == sorted(set(identities))


def test_a_rest_book_of_2026_is_continued_by_the_messages_after_it(recorded_folder: Path):
    folder = recorded_folder / "venues" / "tickvault"
    venue = Bitstamp("bitstamp", BitstampSettings(symbols=["S"]))
    session = venue.session("")
    snapshot = venue.snapshot("BTCUSD", (folder / "bitstamp_snapshot.json").read_bytes())
    assert (len(snapshot.bids), len(snapshot.asks)) == (2996, 2977)
    book, times, crossed = OrderBook(10_000), [], []
    book.load(snapshot)
    for frame in bare_frames(folder / "bitstamp_diff.jsonl"):
        (event,) = session.received(frame, 1)
        if isinstance(event, Message):
            times.append(event.update_id)
            depth = venue.depth(event.data, event.symbol, event.kind)
            if depth.last_id > snapshot.last_update_id:
                book.apply(depth.bids, depth.asks)
                crossed.append(book.crossed)
    assert len(times) == 11
    assert times == sorted(set(times))
    assert len(crossed) == 3
    assert not any(crossed)
