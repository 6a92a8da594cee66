"""OKX as recorded: 3,679 checksums of ten instruments, and the chain of ids of 2026."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from venue_recordings import PlainBook, bare_frames, cryptofeed_lines

from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot
from workers.venues.facts import Continuity
from workers.venues.messages import Message, Subscription
from workers.venues.okx.settings import OkxSettings
from workers.venues.okx.venue import Okx, checksum
from workers.venues.session import Accepted

pytestmark = pytest.mark.recorded


def test_every_checksum_of_a_recording_without_ids_is_reproduced(recorded_folder: Path):
    venue = Okx("okx", OkxSettings(symbols=["S"], depth="books-l2-tbt", trades="trades", legacy=True))
    rule = venue.facts.checksum
    assert rule is not None
    assert venue.facts.continuity is Continuity.CHECKSUM
    session = venue.session("wss://ws.okx.com:8443/ws/v5/public")
    books: dict[str, OrderBook] = {}
    plain: dict[str, PlainBook] = {}
    equal = crossed = 0
    kinds: Counter[str] = Counter()
    trades = []
    for number, (_, _, frame) in enumerate(
        cryptofeed_lines(recorded_folder / "cryptofeed_okx_books_20220227.zst")
    ):
        for event in session.received(frame, number):
            if not isinstance(event, Message):
                kinds[type(event).__name__] += 1
                continue
            kinds[f"{event.channel} {event.kind}"] += 1
            assert event.data == frame.encode() or event.channel == "aggTrade"
            if event.channel == "aggTrade":
                trades.append(venue.trade(event.data, event.symbol))
                continue
            depth = venue.depth(event.data, event.symbol, event.kind)
            assert (depth.first_id, depth.last_id, event.update_id) == (0, 0, 0)
            book = books.setdefault(event.symbol, OrderBook(400))
            naive = plain.setdefault(event.symbol, PlainBook())
            if event.kind == "snapshot":
                book.load(Snapshot(event.symbol, 0, depth.bids, depth.asks))
                naive.load(depth.bids, depth.asks)
            else:
                book.apply(depth.bids, depth.asks)
                naive.apply(depth.bids, depth.asks)
            crossed += book.crossed
            equal += rule.of(*book.top(rule.levels)) == checksum(*naive.top(25)) == depth.checksum
    assert (equal, len(books), crossed) == (3679, 10, 0)
    assert sum(naive.orphans for naive in plain.values()) == 0
    assert kinds == {
        "depth snapshot": 20,
        "depth update": 3659,
        "Accepted": 60,
        "Ignored": 19,
        "aggTrade update": 19,
    }
    assert len(trades) == 19


def test_a_recording_with_ids_chains_from_its_snapshot_on(recorded_folder: Path):
    venue = Okx("okx", OkxSettings(symbols=["S"]))
    session = venue.session(venue.endpoints(["BTC-USDT"])[0].url)
    session.opened(0)
    session.subscribe([Subscription("books:BTC-USDT", "depth", "BTC-USDT")], 1)
    book, naive, chained, last = OrderBook(400), PlainBook(), 0, -1
    for frame in bare_frames(recorded_folder / "venues" / "tickvault" / "okx_books.jsonl"):
        (event,) = session.received(frame, 1)
        if isinstance(event, Accepted):
            assert event.streams == ["books:BTC-USDT"]
            continue
        assert isinstance(event, Message)
        assert event.data == frame
        depth = venue.depth(event.data, event.symbol, event.kind)
        assert (depth.previous_id, depth.last_id) == (event.previous_id, event.update_id)
        assert depth.previous_id == last
        assert depth.checksum is None
        if event.kind == "snapshot":
            assert (len(depth.bids), len(depth.asks)) == (400, 400)
            book.load(Snapshot(event.symbol, depth.last_id, depth.bids, depth.asks))
            naive.load(depth.bids, depth.asks)
        else:
            chained += 1
            book.apply(depth.bids, depth.asks)
            naive.apply(depth.bids, depth.asks)
        last = depth.last_id
        assert not book.crossed
        assert book.top(400) == naive.top(400)
    assert (chained, naive.orphans) == (6, 0)
