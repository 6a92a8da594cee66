"""What Binance answers over REST, read and asked for."""

from __future__ import annotations

import json

import pytest
from test_binance import venue

from workers.errors import MalformedFrame
from workers.model.symbols.volumes import Ticker


@pytest.mark.parametrize(
    ("market", "wanted", "limit", "weight"),
    [
        ("spot", 100, 100, 5), ("spot", 500, 500, 25), ("spot", 1000, 1000, 50), ("spot", 9999, 5000, 250),
        ("usdm", 50, 50, 2), ("usdm", 60, 100, 5), ("usdm", 500, 500, 10), ("usdm", 1000, 1000, 20),
        ("usdm", 5000, 1000, 20), ("coinm", 1, 5, 2),
    ],
)  # fmt: skip
def test_snapshot_requests_and_their_weight(market: str, wanted: int, limit: int, weight: int) -> None:
    request = venue(market, snapshot_depth=wanted).snapshot_request("币安人生USDT")
    assert request.url.endswith(f"/depth?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit={limit}")
    assert request.weight == weight
    assert request.pool == ("spot" if market == "spot" else "um+cm")


def test_snapshots() -> None:
    body = b'{"lastUpdateId":-1,"bids":[],"asks":[]}'
    empty = venue("spot").snapshot("X", body)
    assert (empty.last_update_id, empty.bids, empty.limit, empty.partial) == (-1, [], 1000, False)
    request = venue("usdm").snapshot_request("X", 60)
    assert (request.url[-10:], request.weight) == ("&limit=100", 5)
    small = venue("usdm").snapshot("X", body, 60)
    assert (small.limit, small.partial) == (100, True)  # what the exchange was asked for
    with pytest.raises(MalformedFrame):
        venue("spot").snapshot("X", b'{"lastUpdateId":5,"bids":[["1","1"]')
    with pytest.raises(MalformedFrame):
        venue("spot").snapshot("X", b"<html>403</html>")


def test_trade_pages_come_out_sorted_and_once() -> None:
    row = '{"a":%d,"p":"1.0","q":"2","f":%d,"l":%d,"T":1498793709153,"m":true,"M":true}'
    body = "[" + ",".join(row % (a, a, a) for a in (7, 5, 6, 5)) + "]"
    page = venue("spot").trades("BNBBTC", body.encode())
    assert [trade.trade_id for trade in page] == [5, 6, 7]
    assert page[0].event_time == page[0].trade_time == 1498793709153
    raw = venue("usdm", trades="trade").trades(
        "X", b'[{"id":9,"price":"1","qty":"2","time":5,"isBuyerMaker":false}]'
    )
    assert (raw[0].trade_id, raw[0].first_trade_id) == (9, 9)


def test_trades_requests() -> None:
    assert venue().trades_request("BTCUSDT", 5)[:3] == (
        "https://fapi.binance.com/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=5&limit=1000", 20, "um+cm",
    )  # fmt: skip
    assert (
        "historicalTrades?symbol=A&fromId=5&limit=1000"
        in venue("spot", trades="trade").trades_request("A", 5).url
    )
    assert venue(trades="trade").trades_request("A", 5).url.endswith("/trades?symbol=A&limit=1000")


@pytest.mark.parametrize(("market", "hours"), [("spot", 0), ("usdm", 48), ("coinm", 24)])
def test_how_far_back_trades_can_be_asked_for(market: str, hours: int) -> None:
    assert venue(market).trades_horizon_ms == hours * 3_600_000


def test_exchange_info_filters_are_found_by_type() -> None:
    body = json.dumps(
        {
            "rateLimits": [
                {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300000},
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            ],
            "symbols": [
                {"symbol": "BTCUSD_PERP", "contractStatus": "TRADING", "baseAsset": "BTC", "quoteAsset": "USD",
                 "filters": [{"filterType": "NEW"}, {"filterType": "LOT_SIZE", "stepSize": "1"},
                             {"filterType": "PRICE_FILTER", "tickSize": "0.1"}]},
                {"symbol": "X", "status": "BREAK"},
            ],
        }
    )  # fmt: skip
    info = venue("coinm").info(body.encode())
    assert info.weight_limit == 2400
    assert (info.symbols["BTCUSD_PERP"].tick_size, info.symbols["BTCUSD_PERP"].step_size) == ("0.1", "1")
    assert info.symbols["BTCUSD_PERP"].status == "TRADING"
    assert info.symbols["X"].status == "BREAK"


LISTED = b'{"symbol":"BTCUSDT","status":"TRADING","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.1"}]}'


@pytest.mark.parametrize(
    ("element", "name"),
    [
        (b"null", ""), (b"7", ""), (b'"BADUSDT"', ""), (b"[]", ""), (b"{}", ""), (b'{"symbol":null}', ""),
        (b'{"symbol":"BADUSDT","status":null}', "BADUSDT"), (b'{"symbol":"BADUSDT","filters":null}', "BADUSDT"),
        (b'{"symbol":"BADUSDT","filters":[null]}', "BADUSDT"), (b'{"symbol":"BADUSDT","filters":[{}]}', "BADUSDT"),
        (b'{"symbol":"BADUSDT","filters":[{"filterType":"LOT_SIZE","stepSize":1}]}', "BADUSDT"),
        (b'{"symbol":"BAD\xff"}', ""), (b'{"symbol":"../../x"}', "../../x"), (b'{"symbol":"A\\u0000"}', "A\0"),
        (b'{"symbol":"' + b"A" * 1000 + b'"}', "A" * 1000), (b'{"symbol":"<img src=x>"}', "<img src=x>"),
        (b'{"symbol":"A@depth/btcusdt@aggTrade"}', "A@depth/btcusdt@aggTrade"), (b'{"symbol":"}{"}', "}{"),
        (b'{"symbol":"btcusdt"}', "btcusdt"), (b"[" * 5000 + b"]" * 5000, ""),
        (b'{"symbol":"BADUSDT","status":"' + b"A" * 1000 + b'"}', "BADUSDT"),
    ],
    ids=range(21),
)  # fmt: skip
def test_an_entry_that_cannot_be_used_costs_no_other(element: bytes, name: str) -> None:
    body = b'{"rateLimits":[null,%s,{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","limit":2400}],'
    body += b'"symbols":[%s,%s]}'
    if len(element) > 9000:
        with pytest.raises(
            MalformedFrame
        ):  # nested deeper than the decoder goes: the whole reply is no JSON to it
            venue().info(body % (b"{}", element, LISTED))
        return
    info = venue().info(body % (b"{}", element, LISTED))
    assert list(info.symbols) == ["BTCUSDT"]
    assert [bad.symbol for bad in info.bad] == [name]
    assert info.bad[0].problem
    assert info.weight_limit == 2400


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (b"null", ""), (b"7", ""), (b"{}", ""), (b'{"symbol":"A","quoteVolume":null}', "A"),
        (b'{"symbol":"A","quoteVolume":"x"}', "A"), (b'{"symbol":"A","quoteVolume":"NaN"}', "A"),
        (b'{"symbol":"A","lastPrice":"1e999"}', "A"), (b'{"symbol":"A","lastPrice":1}', "A"),
    ],
)  # fmt: skip
def test_a_ticker_that_cannot_be_used_costs_no_other(row: bytes, name: str) -> None:
    found = venue().tickers(b'[%s,{"symbol":"B","quoteVolume":"1"}]' % row)
    assert found.rows == [Ticker("B", 1.0, 0.0)]
    assert [bad.symbol for bad in found.bad] == [name]


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("TRADING", "trading"), ("HALT", "paused"), ("BREAK", "paused"), ("CANCEL_ONLY", "paused"), ("", "paused"),
        ("PENDING_TRADING", "paused"), ("TRADING_HALT", "paused"), ("PRE_SETTLE", "paused"), ("NEW_WORD", "paused"),
        ("SETTLING", "ended"), ("CLOSE", "ended"), ("DELIVERING", "ended"), ("DELIVERED", "ended"),
    ],
)  # fmt: skip
def test_what_a_status_means(status: str, phase: str) -> None:
    key = "contractStatus" if status == "CLOSE" else "status"
    body = json.dumps({"symbols": [{"symbol": "币安人生USDT", key: status}]}, ensure_ascii=False).encode()
    assert venue("coinm").info(body).symbols["币安人生USDT"].phase == phase


def test_tickers() -> None:
    # the rows are those of the documents
    usdm = b'[{"symbol":"BTCUSDT","lastPrice":"4.00000200","volume":"8913.3","quoteVolume":"15.30000000","count":76}]'
    assert venue().tickers(usdm) == ([Ticker("BTCUSDT", 15.3, 4.000002)], [])
    coinm = (
        b'[{"symbol":"BTCUSD_200925","pair":"BTCUSD","weightedAvgPrice":"9547.3","lastPrice":"9651.6",'
        b'"volume":"494109","baseVolume":"5192.94797687"}]'
    )
    [row] = venue("coinm").tickers(coinm).rows
    assert row.quote_volume == pytest.approx(494109 * 100, rel=0.01)  # contracts of 100 dollars
    assert venue("spot").tickers(b'[{"symbol":"NEWUSDT"}]').rows == [Ticker("NEWUSDT", 0.0, 0.0)]
    with pytest.raises(MalformedFrame):
        venue().tickers(b"{}")
    costs = {market: venue(market).tickers_request() for market in ("spot", "usdm", "coinm")}
    assert {market: cost.weight for market, cost in costs.items()} == {"spot": 80, "usdm": 40, "coinm": 40}
    assert costs["coinm"].url == "https://dapi.binance.com/dapi/v1/ticker/24hr"


def test_error_bodies() -> None:
    assert venue().error_of(b'{"code":-1121,"msg":"Invalid symbol."}') == (-1121, "Invalid symbol.")
    assert venue().error_of(b"<html>") == (0, "")
    banned = "Way too many requests; IP banned until 1573770586000. Please use the websocket"
    assert (venue().banned_until_ms(banned), venue().banned_until_ms("too many")) == (1573770586000, 0)
