"""Recordings of Kraken through its sessions: every checksum, from naive books and from the fleet's own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from captures import NaiveBook, received_frames

from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.venue import Kraken
from workers.venues.messages import Message
from workers.venues.session import Accepted

pytestmark = pytest.mark.recorded


def checksums_of(venue: Kraken, url: str, path: Path, book_type: str) -> dict[str, Counter[str]]:
    """`ok`, `of`, `snapshots`, `crossed` and `orphans` by symbol."""
    session = venue.session(url)
    facts = venue.facts
    assert facts.checksum is not None
    books: dict[str, NaiveBook | OrderBook] = {}
    counts: dict[str, Counter[str]] = {}
    for frame in received_frames(path):
        for message in session.received(frame, 0):
            if not isinstance(message, Message):
                continue
            assert message.data == frame.encode()
            event = venue.depth(message.data, message.symbol, message.kind)
            assert event.event_time == message.event_ms
            count = counts.setdefault(message.symbol, Counter())
            whole = message.kind == "snapshot"
            count["snapshots"] += whole
            if book_type == "naive":
                book = books.setdefault(message.symbol, NaiveBook(facts.levels))
                book.take(event, whole=whole)
                count["orphans"] = book.orphan_deletes
            else:
                book = books.setdefault(message.symbol, OrderBook(facts.levels))
                if whole:
                    book.load(Snapshot(message.symbol, 0, event.bids, event.asks))
                else:
                    book.apply(event.bids, event.asks)
            count["crossed"] += book.crossed
            if event.checksum is not None:
                count["of"] += 1
                count["ok"] += event.checksum == facts.checksum.of(*book.top(facts.checksum.levels))
    return counts


@pytest.mark.parametrize("book_type", ["naive", "fleet"])
def test_v1_every_checksum_of_ten_pairs_is_reproduced(recorded_folder: Path, book_type: str):
    venue = Kraken("kraken", KrakenSettings(symbols=["S"], depth=1000))
    path = recorded_folder / "cryptofeed_kraken_v1_book1000_20210405.zst"
    counts = checksums_of(venue, "wss://ws.kraken.com", path, book_type)
    total = sum(counts.values(), Counter())
    assert set(counts) == {"ALGO-BTC", "LSK-USD", "USDC-GBP", "FIL-BTC", "WAVES-ETH", "ICX-USD", "AUD-USD",
                           "KAVA-USD", "DASH-EUR", "BTC-USD"}  # fmt: skip
    assert (total["ok"], total["of"], total["snapshots"]) == (14_496, 14_496, 10)
    assert total["crossed"] == 0


@pytest.mark.parametrize("book_type", ["naive", "fleet"])
def test_v2_every_checksum_is_reproduced(recorded_folder: Path, book_type: str):
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    path = recorded_folder / "venues" / "tickvault" / "kraken_book.jsonl"
    counts = checksums_of(venue, "wss://ws.kraken.com/v2", path, book_type)
    assert counts == {"BTC-USD": Counter(of=4, ok=4, snapshots=1, crossed=0, orphans=0)}


def test_v1_names_its_acknowledged_streams(recorded_folder: Path):
    venue = Kraken("kraken", KrakenSettings(symbols=["S"], depth=1000))
    session = venue.session("wss://ws.kraken.com")
    accepted = []
    for frame in received_frames(recorded_folder / "cryptofeed_kraken_v1_book1000_20210405.zst"):
        if len(accepted) == 10:
            break
        for event in session.received(frame, 0):
            accepted += event.streams if isinstance(event, Accepted) else []
    wanted = venue.endpoints(["BTC-USD", "ALGO-BTC"])[0].subscriptions
    assert {stream.stream for stream in wanted if stream.channel == "depth"} <= set(accepted)
    assert len(set(accepted)) == 10


def test_a_page_of_rest_trades_is_consecutive(recorded_folder: Path):
    path = recorded_folder / "venues" / "nautilus" / "kraken_rest_trades_XBTUSDT_20251110.json.zst"
    body = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read()
    trades = Kraken("kraken", KrakenSettings(symbols=["S"])).trades("BTC-USDT", body)
    rows = json.loads(body)["result"]["XBTUSDT"]
    assert [trade.trade_id for trade in trades] == list(range(10218208, 10219208))
    assert (trades[0].price, trades[0].quantity, trades[0].trade_time) == (
        "105433.60000",
        "0.00027625",
        1762795433971,
    )
    assert [trade.is_buyer_maker for trade in trades] == [row[3] == "s" for row in rows]
    assert not any(trade.is_absurd for trade in trades)
