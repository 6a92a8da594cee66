"""Trades whose price or quantity is none a market makes: their ids count, they do not."""

from __future__ import annotations

import json

import pytest

from workers.store.trades.batch import cut
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.messages import Message

ABSURD = ["0", "0.00000000", "-1", "NaN", "Infinity", "1e5", "", "9" * 60, "0.0000000000000000001"]


def venue(trades: str = "aggTrade") -> Binance:
    return Binance("spot", BinanceSettings(market="spot", trades=trades, symbols=["BTCUSDT"]))  # type: ignore[arg-type] # a literal


def event(**changed: object) -> bytes:
    plain = {"e": "aggTrade", "E": 1782777660005, "a": 100, "s": "BTCUSDT", "p": "60000.0", "q": "1.0",
             "f": 500, "l": 500, "T": 1782777660000, "m": False}  # fmt: skip
    return json.dumps(plain | changed).encode()


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize("field", ["p", "q"])
def test_an_absurd_trade_keeps_its_id_and_is_outside_the_market(field: str, number: str) -> None:
    data = event(**{field: number})
    message = venue().split(b'{"stream":"btcusdt@aggTrade","data":' + data + b"}")
    assert isinstance(message, Message)
    assert message.update_id == 100
    [row] = venue().trades("BTCUSDT", b"[" + data + b"]")
    for trade in (venue().trade(data), row):
        assert (trade.trade_id, trade.is_market, trade.is_absurd) == (100, False, True)
        cut([(b"1-100", trade)], "aggTrade")  # the fold can take it


def test_ids_of_fills_that_are_none_are_taken() -> None:
    trade = venue().trade(event(p="0.0", q="0.0", f=-1, l=-1))
    assert (trade.is_market, trade.is_absurd) == (False, True)


def test_an_off_book_fill_without_numbers_is_not_absurd() -> None:
    data = event(e="trade", t=7, X="NA", p="0", q="0")
    trade = venue("trade").trade(data)
    assert (trade.trade_id, trade.is_market, trade.is_absurd) == (7, False, False)


@pytest.mark.parametrize(
    ("price", "quantity"),
    [("60000.0", "1.0"), ("0.00000001", "0.00000001"), ("0.0000000001", "0.000000000000000001")],
)
def test_a_plain_trade_is_as_it_was(price: str, quantity: str) -> None:
    trade = venue().trade(event(p=price, q=quantity))
    assert (trade.price, trade.quantity, trade.is_market, trade.is_absurd) == (price, quantity, True, False)
    assert venue().trade(event(p="0.0", q="0.0000000001")).is_absurd
    assert venue().trade(event(p="0.0000000001", q="0")).is_absurd
