"""`channels` of a venue: what cannot be one is refused at its place in the file."""

from __future__ import annotations

import pytest

from workers.errors import SettingsError
from workers.settings.loading import parse

FILE = """
[venues.v]
exchange = "{exchange}"
market = "{market}"
symbols = ["BTCUSDT"]
channels = {channels}
"""


def told(exchange: str, market: str, *channels: str) -> str:
    text = FILE.format(exchange=exchange, market=market, channels=list(channels))
    with pytest.raises(SettingsError) as caught:
        parse(text, "fleet.toml", {})
    assert "line 6, venues.v.channels" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("exchange", "market", "channel", "why"),
    [
        ("binance", "usdm", "depth@100ms", "by itself"),
        ("binance", "usdm", "bookTicker", "by itself"),
        ("binance", "usdm", "markprice@1s", "Did you mean 'markPrice@1s'"),
        ("binance", "spot", "markPrice", "only the futures"),
        ("binance", "spot", "!forceOrder@arr", "only the futures"),
        ("binance", "usdm", "kline 1m", "without its symbol"),
        ("binance", "usdm", "a:names", "without its symbol"),
        ("binance", "usdm", "k" * 65, "without its symbol"),
        ("bybit", "linear", "publicTrade", "by itself"),
        ("bybit", "linear", "orderbook.200", "by itself"),
        ("okx", "swap", "instruments", "by itself"),
        ("okx", "futures", "index-tickers", "several contracts"),
        ("kraken", "spot", "ohlc", "not followed"),
    ],
)
def test_what_cannot_be_a_channel(exchange: str, market: str, channel: str, why: str) -> None:
    assert why in told(exchange, market, channel)


def test_the_same_channel_twice() -> None:
    assert "twice" in told("binance", "usdm", "kline_1m", "kline_1m")


@pytest.mark.parametrize(
    ("exchange", "market", "channels"),
    [
        ("binance", "usdm", ["markPrice@1s", "!forceOrder@arr", "kline_1m", "depth20@100ms", "whatever"]),
        ("binance", "spot", ["kline_1m", "trade", "ticker_4h"]),
        ("bybit", "linear", ["tickers", "allLiquidation", "kline.1", "orderbook.50"]),
        ("okx", "swap", ["mark-price", "index-tickers", "candle1m", "books5", "liquidation-orders"]),
    ],
)
def test_any_other_name_is_taken(exchange: str, market: str, channels: list[str]) -> None:
    effective = parse(FILE.format(exchange=exchange, market=market, channels=channels), "fleet.toml", {})
    assert effective.settings.venues["v"].channels == channels


def test_single_orders_of_an_exchange_that_tells_none() -> None:
    text = FILE.format(exchange="okx", market="swap", channels=[]).replace("BTCUSDT", "BTC-USDT-SWAP")
    with pytest.raises(
        SettingsError, match=r"line 7, venues\.v\.orders.*single orders of okx are not followed"
    ):
        parse(f"{text}orders = true\n", "fleet.toml", {})
