"""The frames of the load generator, read by the fleet's own decoders and folded by its own book."""

from __future__ import annotations

from itertools import pairwise

import pytest

from workers.bench.tape import CYCLE, LEVELS, Tape, is_depth, names, update_id
from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.messages import Message

NOW_MS = 1_764_000_000_000


@pytest.fixture
def venue() -> Binance:
    return Binance("spot", BinanceSettings(market="spot", symbols=names(1)))


def payload(frame: bytes) -> bytes:
    """The text of an unmasked frame, of which the head tells the true length."""
    assert frame[0] == 0x81
    if frame[1] < 126:
        body = frame[2:]
        assert len(body) == frame[1]
    else:
        body = frame[4:]
        assert frame[1] == 126
        assert len(body) == int.from_bytes(frame[2:4], "big")
    return body


def test_a_book_folded_from_the_frames_is_the_one_the_tape_tells(venue: Binance):
    tape = Tape("SIM000USDT", 0)
    book = OrderBook(LEVELS)
    bids, asks = tape.book(3)
    book.load(Snapshot("SIM000USDT", update_id(3), bids, asks, NOW_MS, LEVELS, False))
    chain = []
    for number in range(3, 3 + 2 * CYCLE):
        message = venue.split(payload(tape.depth_frame(number, NOW_MS)))
        assert isinstance(message, Message)
        event = venue.depth(message.data)
        assert (event.symbol, event.event_time) == ("SIM000USDT", NOW_MS)
        book.apply(event.bids, event.asks)
        chain.append((event.first_id, event.last_id))
        if number % 7 == 0:
            expected = tape.book(number + 1)
            assert (list(book.levels("bid")), list(book.levels("ask"))) == expected
    assert chain[0][0] == update_id(3) + 1
    assert chain[-1][1] == update_id(3 + 2 * CYCLE)
    assert all(after[0] == before[1] + 1 for before, after in pairwise(chain))


def test_trades_of_the_frames_are_those_the_tape_tells(venue: Binance):
    tape = Tape("SIM001USDT", 1)
    for number in range(2 * CYCLE):
        message = venue.split(payload(tape.trade_frame(number, NOW_MS)))
        assert isinstance(message, Message)
        trade = venue.trade(message.data)
        assert (trade.trade_id, trade.price, trade.quantity, trade.is_buyer_maker) == tape.trade(number)
        assert trade.trade_time == NOW_MS


def test_three_of_five_messages_are_depth_events():
    assert sum(map(is_depth, range(500))) == 300
