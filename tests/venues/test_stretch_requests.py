"""What REST is asked for between two trades that are known, of the venues whose ids do not show which are missing."""

from __future__ import annotations

from workers.model.events import Trade
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.bitfinex.settings import BitfinexSettings
from workers.venues.bitfinex.venue import Bitfinex
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.venue import Bitstamp
from workers.venues.bybit.settings import BybitSettings
from workers.venues.bybit.venue import Bybit
from workers.venues.interface import Stretch, Venue
from workers.venues.okx.settings import OkxSettings
from workers.venues.okx.venue import Okx

NOW = 1_787_612_486_338


def trade(number: int, ms: int) -> Trade:
    return Trade("S", number, "1", "1", number, number, ms, ms, False)


STRETCH = Stretch(trade(1_000, NOW - 50_000), trade(1_350, NOW - 20_000))
ROWS = [trade(1_251, NOW - 30_000), trade(1_350, NOW - 20_000)]


def asked(venue: Venue, symbol: str, rows: list[Trade]) -> str | None:
    request = venue.stretch_request(symbol, STRETCH, rows, NOW)
    return request.url.partition("/v")[2].partition("&_=")[0] if request else None


def test_bybit_has_the_newest_alone() -> None:
    venue = Bybit("bybit", BybitSettings(symbols=["S"], market="linear"))
    assert asked(venue, "BTCUSDT", []) == "5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"
    assert asked(venue, "BTCUSDT", ROWS) is None


def test_okx_is_walked_by_id_from_the_later_trade_back() -> None:
    venue, path = (
        Okx("okx", OkxSettings(symbols=["S"], trades="trades")),
        "5/market/history-trades?instId=A-B&type=1",
    )
    assert asked(venue, "A-B", []) == f"{path}&after=1351&limit=100"
    assert asked(venue, "A-B", ROWS) == f"{path}&after=1251&limit=100"
    newer = Okx("okx", OkxSettings(symbols=["S"], trades="trades", history="newer"))
    assert asked(newer, "A-B", []) == f"{path}&after=999&limit=100"
    assert asked(newer, "A-B", ROWS) == f"{path}&after=1350&limit=100"


def test_bitfinex_is_asked_by_the_times_of_both() -> None:
    venue = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"]))
    times = f"start={NOW - 50_000}&end={NOW - 20_000}"
    assert asked(venue, "BTCUSD", []) == f"2/trades/tBTCUSD/hist?{times}&limit=10000&sort=1"
    times = f"start={NOW - 20_000}&end={NOW - 20_000}"
    assert asked(venue, "BTCUSD", ROWS) == f"2/trades/tBTCUSD/hist?{times}&limit=10000&sort=1"


def test_bitstamp_gives_a_time_and_the_shortest_that_surely_has_the_earlier_trade_is_asked_for() -> None:
    venue = Bitstamp("bitstamp", BitstampSettings(symbols=["S"]))
    assert asked(venue, "BTCUSD", []) == "2/transactions/btcusd/?time=minute"
    assert asked(venue, "BTCUSD", ROWS) is None
    later = venue.stretch_request("BTCUSD", STRETCH, [], NOW + 6_000)
    assert later is not None
    assert later.url.endswith("?time=hour")


def test_where_ids_are_consecutive_nothing_is_asked_for_so() -> None:
    assert (
        Binance("usdm", BinanceSettings(symbols=["S"], market="usdm")).stretch_request(
            "BTCUSDT", STRETCH, [], NOW
        )
        is None
    )
