"""Figures and liquidations of derivatives: what each exchange's messages say, by its documents."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from workers.errors import MalformedFrame
from workers.model.derivatives.figures import DerivativesUpdate, Figure, Liquidation
from workers.venues.binance import derivatives as binance
from workers.venues.bybit import derivatives as bybit
from workers.venues.okx import derivatives as okx

MARK_PRICE = (b'{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000","i":"11784.62659091",'
              b'"P":"11784.25641265","r":"0.00038167","T":1562306400000}')  # fmt: skip
DATED = b'{"e":"markPriceUpdate","E":1596095725000,"s":"BTCUSD_201225","p":"10934.62","P":"10962.17","r":"","T":0}'
FORCED = (b'{"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014",'
          b'"p":"9910","ap":"9911","X":"FILLED","l":"0.014","z":"0.014","T":1568014460890}}')  # fmt: skip
OPEN_INTEREST = b'{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}'
TICKER = (b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"PlusTick",'
          b'"lastPrice":"17216.00","markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761",'
          b'"fundingRate":"-0.000212","nextFundingTime":"1673280000000","bid1Price":"17215.50"},"cs":24987956059,'
          b'"ts":1673272861686}')  # fmt: skip
DELTA = (b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","indexPrice":"17227.30"},'
         b'"cs":24987956060,"ts":1673272861786}')  # fmt: skip
EXPIRING = (b'{"topic":"tickers.BTC-26DEC25","type":"snapshot","data":{"markPrice":"1.5","fundingRate":"",'
            b'"nextFundingTime":"0"},"ts":5}')  # fmt: skip
LIQUIDATED = (b'{"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,'
              b'"s":"ROSEUSDT","S":"Sell","v":"20000","p":"0.04499"},{"T":1739502302930,"s":"ROSEUSDT","S":"Buy",'
              b'"v":"1","p":"0.045"}]}')  # fmt: skip
OKX_MARK = b'{"instType":"SWAP","instId":"BTC-USDT-SWAP","markPx":"42310.6","ts":"1630049139746"}'
OKX_INDEX = (
    b'{"instId":"BTC-USDT","idxPx":"43350","high24h":"43649.7","sodUtc0":"43444.1","ts":"1649419644492"}'
)
OKX_FUNDING = (b'{"fundingRate":"0.0001875391284828","fundingTime":"1700726400000","instId":"BTC-USD-SWAP",'
               b'"instType":"SWAP","method":"next_period","nextFundingRate":"","nextFundingTime":"1700755200000",'
               b'"premium":"0.0001233824646391","settState":"settled","ts":"1700724675402"}')  # fmt: skip
OKX_INTEREST = (
    b'{"instType":"SWAP","instId":"LTC-USD-SWAP","oi":"5000","oiCcy":"555.55","ts":"1597026383085"}'
)
OKX_LIQUIDATED = (b'{"details":[{"bkLoss":"0","bkPx":"0.007831","ccy":"","posSide":"short","side":"buy","sz":"13",'
                  b'"ts":"1692266434010"}],"instId":"IOST-USDT-SWAP","instType":"SWAP"}')  # fmt: skip
Read = Callable[[str, bytes], DerivativesUpdate]


def figures(time_ms: int, **values: str) -> dict[str, Figure]:
    return {name: Figure(value, time_ms) for name, value in values.items()}


@pytest.mark.parametrize(
    ("read", "data", "expected"),
    [
        (binance.mark_price, MARK_PRICE,
         figures(1562305380000, mark_price="11794.15000000", index_price="11784.62659091", funding_rate="0.00038167",
                 next_funding_time="1562306400000")),
        (binance.mark_price, DATED, figures(1596095725000, mark_price="10934.62")),
        (binance.open_interest, OPEN_INTEREST, figures(1589437530011, open_interest="10659.509")),
        (bybit.ticker, TICKER,
         figures(1673272861686, mark_price="17217.33", index_price="17227.36", funding_rate="-0.000212",
                 next_funding_time="1673280000000", open_interest="68744.761")),
        (bybit.ticker, DELTA, figures(1673272861786, index_price="17227.30")),
        (bybit.ticker, EXPIRING, figures(5, mark_price="1.5")),
        (okx.figures, OKX_MARK, figures(1630049139746, mark_price="42310.6")),
        (okx.figures, OKX_INDEX, figures(1649419644492, index_price="43350")),
        (okx.figures, OKX_FUNDING,
         figures(1700724675402, funding_rate="0.0001875391284828", next_funding_time="1700726400000")),
        (okx.figures, OKX_INTEREST, figures(1597026383085, open_interest="5000")),
    ],
)  # fmt: skip
def test_figures(read: Read, data: bytes, expected: dict[str, Figure]) -> None:
    assert read("v", data) == DerivativesUpdate(expected)


@pytest.mark.parametrize(
    ("read", "data", "expected"),
    [
        (binance.liquidation, FORCED, [Liquidation("sell", "9910", "0.014", 1568014460890, 1568014460893, "9911")]),
        # of Bybit the side is the position's: a long one is closed by an order that sells
        (bybit.liquidations, LIQUIDATED,
         [Liquidation("buy", "0.04499", "20000", 1739502302929, 1739502303204),
          Liquidation("sell", "0.045", "1", 1739502302930, 1739502303204)]),
        (okx.liquidations, OKX_LIQUIDATED,
         [Liquidation("buy", "0.007831", "13", 1692266434010, 1692266434010)]),
    ],
)  # fmt: skip
def test_liquidations(read: Read, data: bytes, expected: list[Liquidation]) -> None:
    assert read("v", data) == DerivativesUpdate(liquidations=tuple(expected))


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (binance.mark_price, MARK_PRICE.replace(b"11794.15000000", b"NaN")),
        (binance.mark_price, MARK_PRICE.replace(b"0.00038167", b"1e5")),
        (binance.mark_price, MARK_PRICE.replace(b"11794.15000000", b"1" * 5000)),
        (binance.liquidation, FORCED.replace(b"SELL", b"HOLD")),
        (bybit.ticker, TICKER.replace(b"1673280000000", b"soon")),
        (bybit.liquidations, LIQUIDATED.replace(b'"p":"0.045"', b'"p":7')),
        (okx.figures, OKX_MARK.replace(b"42310.6", b"-")),
        (okx.liquidations, OKX_LIQUIDATED.replace(b'"buy"', b'""')),
        (okx.figures, b"[]"),
    ],
)
def test_what_is_none_is_malformed(read: Read, data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        read("v", data)


ALL = {MARK_PRICE: binance.mark_price, FORCED: binance.liquidation, OPEN_INTEREST: binance.open_interest,
       TICKER: bybit.ticker, LIQUIDATED: bybit.liquidations, OKX_FUNDING: okx.figures,
       OKX_LIQUIDATED: okx.liquidations}  # fmt: skip


@given(mutated(list(ALL)), st.sampled_from(list(ALL.values())))
def test_rubbish_is_malformed_at_worst(data: bytes, read: Read) -> None:
    try:
        update = read("v", data)
    except MalformedFrame:
        return
    assert all(0 <= figure.time_ms <= 2**53 for figure in update.figures.values())
