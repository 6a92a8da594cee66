"""Every kind of frame and reply with rubbish in it: the venue says MalformedFrame, and nothing else ends a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoiled_json import spoiled

from workers.errors import MalformedFrame
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.messages import Message

DEPTH = {"e": "depthUpdate", "E": 1790373637622, "T": 1790373637613, "s": "BTCUSDT", "U": 11, "u": 12, "pu": 10,
         "b": [["84551.10", "3"]], "a": [["84551.20", "0"]]}  # fmt: skip
TRADE = {"e": "aggTrade", "E": 1790526539033, "a": 34, "s": "BTCUSDT", "p": "84551.10", "q": "0.030", "f": 81,
         "l": 81, "T": 1790526538883, "m": False}  # fmt: skip
RAW_TRADE = {"e": "trade", "E": 1723161256322, "T": 1723161256320, "s": "BTCUSDT", "t": 526, "p": "6.30", "q": "0.006",
             "X": "MARKET", "m": False}  # fmt: skip
TICKER = {"e": "bookTicker", "u": 50093, "s": "BTCUSDT", "b": "6.6", "B": "3.7", "a": "6.7", "A": "1.2",
          "T": 1723161256322, "E": 1723161256325}  # fmt: skip
CONTRACT = {"e": "contractInfo", "E": 1723161256322, "s": "BTCUSDT", "cs": "TRADING", "st": 1}
EVENTS = [
    {"stream": "btcusdt@depth@100ms", "data": DEPTH},
    {"stream": "btcusdt@aggTrade", "data": TRADE},
    {"stream": "btcusdt@trade", "data": RAW_TRADE},
    {"stream": "btcusdt@bookTicker", "data": TICKER},
    {"stream": "!contractInfo", "data": CONTRACT},
    {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1}},
]
FRAMES: list[Any] = [
    *EVENTS,
    *(frame["data"] for frame in EVENTS),
    {"result": None, "id": 1},
    {"error": {"code": 2, "msg": "Invalid request"}, "id": 1},
    {"code": 2, "msg": "Invalid request", "id": 1},
]
INFO = {
    "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400}],
    "symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
                 "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.1"}]}],
}  # fmt: skip
REPLIES: dict[str, tuple[Any, Callable[[Binance, bytes], object]]] = {
    "depth": (
        {"lastUpdateId": 12, "E": 1, "T": 1, "bids": [["1", "2"]], "asks": [["3", "4"]]},
        lambda venue, body: venue.snapshot("BTCUSDT", body),
    ),
    "aggTrades": ([TRADE], lambda venue, body: venue.trades("BTCUSDT", body)),
    "trades": (
        [{"id": 28457, "price": "4.00", "qty": "12.0", "time": 1499865549590, "isBuyerMaker": True}],
        lambda venue, body: venue.trades("BTCUSDT", body),
    ),
    "time": ({"serverTime": 1499827319559}, lambda venue, body: venue.time_ms(body)),
    "exchangeInfo": (INFO, lambda venue, body: venue.info(body)),
    "tickers": (
        [{"symbol": "A", "lastPrice": "1", "quoteVolume": "2"}],
        lambda venue, body: venue.tickers(body),
    ),
    "error": ({"code": -1121, "msg": "Invalid symbol."}, lambda venue, body: venue.error_of(body)),
}


def venues() -> list[Binance]:
    return [
        Binance("usdm", BinanceSettings(market=market, symbols=["BTCUSDT"], trades=trades, book_ticker=True))  # type: ignore[arg-type] -- literals
        for market, trades in (("usdm", "aggTrade"), ("spot", "trade"))
    ]


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_frame_with_rubbish_in_it_is_malformed_or_harmless(frame: Any) -> None:
    @settings(max_examples=150)
    @given(spoiled(frame), st.booleans())
    def check(data: bytes, as_text: bool) -> None:
        for venue in venues():
            sent = data.decode(errors="surrogateescape") if as_text else data
            try:
                found = venue.split(sent)
                if isinstance(found, Message):
                    decode = {"depth": venue.depth, "aggTrade": venue.trade, "bookTicker": venue.ticker}
                    decode[found.channel](found.data)
            except MalformedFrame as error:
                str(error).encode()

    check()


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_with_rubbish_in_it_is_malformed_or_harmless(name: str) -> None:
    reply, decode = REPLIES[name]

    @settings(max_examples=200)
    @given(spoiled(reply))
    def check(body: bytes) -> None:
        for venue in venues():
            try:
                decode(venue, body)
            except MalformedFrame as error:
                str(error).encode()

    check()
