"""Recordings and vectors of Bitfinex through its session."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from captures import NaiveBook, received_frames

from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot
from workers.venues.bitfinex.checksum import as_sent, book_checksum
from workers.venues.bitfinex.settings import BitfinexSettings
from workers.venues.bitfinex.venue import Bitfinex
from workers.venues.messages import Message
from workers.venues.session import Accepted, Broken
from workers.venues.wire_values import number_text

pytestmark = pytest.mark.recorded
URL = "wss://api-pub.bitfinex.com/ws/2"


@pytest.fixture
def recording(recorded_folder: Path) -> Path:
    return recorded_folder / "venues" / "cryptofeed" / "cryptofeed_bitfinex_p0_20210405.zst"


def test_22649_frames_have_no_gap_and_their_books_never_cross(recording: Path):
    venue = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"]))
    session = venue.session(URL)
    counts: Counter[str] = Counter()
    naive: dict[str, NaiveBook] = {}
    books: dict[str, OrderBook] = {}
    newest: dict[str, int] = {}
    for frame in received_frames(recording):
        counts["frames"] += frame[0] == "["
        for event in session.received(frame, 0):
            assert not isinstance(event, Broken)
            counts["accepted"] += isinstance(event, Accepted)
            if not isinstance(event, Message):
                continue
            symbol = event.symbol
            if event.channel == "aggTrade":
                trade = venue.trade(event.data, symbol)
                assert event.data.decode() in frame
                assert trade.trade_id == event.update_id > newest.get(symbol, 0)
                assert trade.trade_time == event.event_ms
                assert trade.is_market
                newest[symbol] = trade.trade_id
                counts["te"] += '"te"' in frame
                continue
            assert event.data == frame.encode()
            change = venue.depth(event.data, symbol, event.kind)
            counts[event.kind] += 1
            book = naive.setdefault(symbol, NaiveBook())
            twin = books.setdefault(symbol, OrderBook(250))
            book.take(change, whole=event.kind == "snapshot")
            if event.kind == "snapshot":
                twin.load(Snapshot(symbol, 0, change.bids, change.asks))
            else:
                twin.apply(change.bids, change.asks)
            assert twin.top(250) == book.top(250)
            counts["crossed"] += book.crossed
    counts["orphans"] = sum(book.orphan_deletes for book in naive.values())
    assert set(naive) == {"ETH2X_ETH", "REQUSD", "GTXUST", "CHZUST", "KNCBTC", "ETHJPY", "ZRXETH", "LRCBTC"}
    assert all(len(side) <= 100 for book in naive.values() for side in (book.bids, book.asks))
    assert counts["frames"] == session._sequence == 22_649
    assert counts["snapshot"] == 8
    assert (counts["update"], counts["te"], counts["accepted"]) == (22_466, 8, 24)
    assert counts["crossed"] == counts["orphans"] == 0


def test_a_lost_frame_is_seen_at_the_next_one(recording: Path):
    session = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"])).session(URL)
    frames = [frame for frame in received_frames(recording) if frame[0] == "["][:300]
    broken = [event for frame in frames[:150] + frames[151:] for event in session.received(frame, 0)
              if isinstance(event, Broken)]  # fmt: skip
    assert broken == [Broken("sequence", 151, 152)]


def test_every_number_is_printed_again_as_it_was_sent(recording: Path):
    of, ok = 0, 0
    for frame in received_frames(recording):
        if frame[0] == "[":
            for number in re.findall(r"-?\b[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", frame):
                plain = number_text(msgspec.Raw(number.encode())).removeprefix("-")
                of += 1
                ok += as_sent(plain) == number.removeprefix("-")
    assert ok == of > 116_609


def test_the_vector_of_the_server_is_reproduced(recorded_folder: Path):
    vector = json.loads((recorded_folder / "venues" / "vectors" / "bitfinex_checksum.json").read_bytes())
    venue = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"], depth=25))
    session, book, twin = venue.session(URL), NaiveBook(), OrderBook(25)
    kinds, checksum = [], None
    for frame in vector["frames"]:
        for message in session.received(frame, 0):
            if not isinstance(message, Message):
                continue
            assert message.symbol == "XRPBTC"
            kinds.append(message.kind)
            change = venue.depth(message.data, message.symbol, message.kind)
            checksum = change.checksum
            book.take(change, whole=message.kind == "snapshot")
            if message.kind == "snapshot":
                twin.load(Snapshot("XRPBTC", 0, change.bids, change.asks))
            twin.apply(change.bids, change.asks)
    assert kinds == ["snapshot", "update", "checksum"]
    assert checksum == vector["expected"] == -1175357890
    assert book_checksum(*book.top(25)) == book_checksum(*twin.top(25)) == -1175357890
    assert crc32(vector["string"].encode()) - 2**32 == -1175357890
