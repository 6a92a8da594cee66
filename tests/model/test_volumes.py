"""Volumes in one unit."""

from __future__ import annotations

from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker, comparable_volumes


def listed(*pairs: tuple[str, str]) -> dict[str, SymbolInfo]:
    return {base + quote: SymbolInfo(base + quote, "TRADING", base, quote, "", "") for base, quote in pairs}


def test_other_quotes_are_converted_whichever_way_round_their_pair_is_listed() -> None:
    symbols = listed(
        ("BTC", "USDT"), ("ETH", "USDT"), ("USDC", "USDT"), ("ETH", "BTC"), ("USDT", "TRY"), ("BTC", "TRY")
    )
    tickers = [
        Ticker("BTCUSDT", 900.0, 50_000.0),
        Ticker("ETHUSDT", 700.0, 2_500.0),
        Ticker("USDCUSDT", 1.0, 1.0),
        Ticker("ETHBTC", 0.01, 0.05),
        Ticker("USDTTRY", 40_000.0, 40.0),
        Ticker("BTCTRY", 20_000.0, 2_000_000.0),
    ]
    assert comparable_volumes(tickers, symbols) == {
        "BTCUSDT": 900.0, "ETHUSDT": 700.0, "USDCUSDT": 1.0, "ETHBTC": 500.0, "USDTTRY": 1000.0, "BTCTRY": 500.0,
    }  # fmt: skip


def test_a_quote_without_a_price_counts_nothing() -> None:
    symbols = listed(("A", "USDT"), ("B", "USDT"), ("A", "IDR"), ("C", "USDT"), ("USDT", "EUR"))
    tickers = [
        Ticker("AUSDT", 5.0, 1.0),
        Ticker("BUSDT", 6.0, 0.0),
        Ticker("AIDR", 1e12, 16_000.0),
        Ticker("GONEUSDT", 1e9, 1.0),
        Ticker("USDTEUR", 7.0, 0.0),
    ]
    assert comparable_volumes(tickers, symbols) == {"AUSDT": 5.0, "BUSDT": 6.0, "AIDR": 0.0, "USDTEUR": 0.0}


def test_where_all_have_one_quote_nothing_is_converted() -> None:
    symbols = listed(("BTC", "USD"), ("ETH", "USD"))
    assert comparable_volumes([Ticker("BTCUSD", 2.0, 5.0), Ticker("ETHUSD", 3.0, 1.0)], symbols) == {
        "BTCUSD": 2.0,
        "ETHUSD": 3.0,
    }
    assert comparable_volumes([], symbols) == {}
