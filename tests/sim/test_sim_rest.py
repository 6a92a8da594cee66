"""REST market data, request weight and ground truth over HTTP."""

from decimal import Decimal

import pytest
from sim_readers import NaiveBook


async def fill_tape(here, seconds: float = 35) -> None:
    """Let market time pass without waiting for it, then stop the market."""
    exchange = here.exchange.exchange
    end = exchange.now_ms + seconds * 1000
    while exchange.now_ms < end:
        exchange.advance(exchange.now_ms + 100)
    await here.post("/control/pause")


async def test_ping_time_and_weight_header(world):
    here = await world()
    for root in ("/spot/api/v3", "/usdm/fapi/v1"):
        status, headers, body = await here.get(root + "/ping")
        assert (status, body) == (200, {})
        assert headers["X-MBX-USED-WEIGHT-1M"].isdigit()
        assert list((await here.get(root + "/time"))[2]) == ["serverTime"]


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/spot/api/v3/depth", {}, 5),
        ("/spot/api/v3/depth", {"limit": 500}, 25),
        ("/spot/api/v3/depth", {"limit": 1000}, 50),
        ("/spot/api/v3/depth", {"limit": 5000}, 250),
        ("/usdm/fapi/v1/depth", {"limit": 5}, 2),
        ("/usdm/fapi/v1/depth", {"limit": 100}, 5),
        ("/usdm/fapi/v1/depth", {}, 10),
        ("/usdm/fapi/v1/depth", {"limit": 1000}, 20),
        ("/spot/api/v3/aggTrades", {}, 4),
        ("/usdm/fapi/v1/aggTrades", {}, 20),
        ("/spot/api/v3/trades", {}, 25),
        ("/usdm/fapi/v1/trades", {}, 5),
        ("/spot/api/v3/exchangeInfo", {}, 20),
        ("/usdm/fapi/v1/exchangeInfo", {}, 1),
        ("/spot/api/v3/ticker/24hr", {}, 2),
        ("/usdm/fapi/v1/ticker/24hr", {}, 1),
    ],
)
async def test_weights(world, path, query, weight):
    here = await world(weight_window_s=10**8)
    _, headers, _ = await here.get(path, symbol="BTCUSDT", **query)
    assert headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


@pytest.mark.parametrize(("root", "weight"), [("/spot/api/v3", 80), ("/usdm/fapi/v1", 40)])
async def test_the_tickers_of_all_symbols_cost_more(world, root, weight):
    here = await world(weight_window_s=10**8)
    _, headers, _ = await here.get(root + "/ticker/24hr")
    assert headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


async def test_over_the_limit_429_then_418(world):
    here = await world(weight_window_s=10**8, usdm_weight_limit=25, ban_after_ignored=2)
    query = {"symbol": "BTCUSDT", "limit": 1000}
    assert (await here.get("/usdm/fapi/v1/depth", **query))[0] == 200
    for _ in range(2):
        status, headers, body = await here.get("/usdm/fapi/v1/depth", **query)
        assert status == 429
        assert int(headers["Retry-After"]) > 0
        assert headers["X-MBX-USED-WEIGHT-1M"] == "20"
        assert body["code"] == -1003
        assert "current limit is 25 request weight" in body["msg"]
    status, headers, body = await here.get("/usdm/fapi/v1/depth", **query)
    assert status == 418
    assert "IP banned until" in body["msg"]
    assert (await here.get("/usdm/fapi/v1/ping"))[0] == 418
    assert (await here.get("/spot/api/v3/ping"))[0] == 200


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/spot/api/v3/depth", {}, -1102),
        ("/spot/api/v3/depth", {"symbol": "NOSUCH"}, -1121),
        ("/spot/api/v3/depth", {"symbol": "btcusdt"}, -1121),
        ("/spot/api/v3/depth", {"symbol": "BTCUSDT", "limit": 0}, -1130),
        ("/spot/api/v3/depth", {"symbol": "BTCUSDT", "limit": "x"}, -1100),
        ("/usdm/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 7}, -1130),
        ("/usdm/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("/usdm/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "startTime": 0, "endTime": 3_600_000}, -1127),
        ("/spot/api/v3/exchangeInfo", {"symbol": "NOSUCH"}, -1121),
    ],
)
async def test_bad_parameters_are_400(world, path, query, code):
    here = await world()
    status, headers, body = await here.get(path, **query)
    assert (status, body["code"]) == (400, code)
    assert "X-MBX-USED-WEIGHT-1M" in headers


async def test_depth_equals_the_truth_at_its_id(world):
    here = await world()
    for market, path, limit in (("spot", "/spot/api/v3/depth", 9999), ("usdm", "/usdm/fapi/v1/depth", 1000)):
        for symbol in ("BTCUSDT", "币安人生USDT"):
            _, _, snapshot = await here.get(path, symbol=symbol, limit=limit)
            update_id = snapshot["lastUpdateId"]
            _, _, truth = await here.get("/control/truth/book", market=market, symbol=symbol, u=update_id)
            assert truth["lastUpdateId"] == update_id
            assert NaiveBook(snapshot).same(truth)
            assert ("E" in snapshot and "T" in snapshot) == (market == "usdm")
    _, _, few = await here.get("/usdm/fapi/v1/depth", symbol="BTCUSDT", limit=5)
    bids = [Decimal(price) for price, _ in few["bids"]]
    assert len(bids) == len(few["asks"]) == 5
    assert bids == sorted(bids, reverse=True)
    assert bids[0] < Decimal(few["asks"][0][0])


async def test_a_snapshot_of_1000_levels_does_not_cover_the_book(world):
    here = await world(levels_per_side=1300)
    _, _, truth = await here.get("/control/truth/book", market="usdm", symbol="BTCUSDT")
    assert len(truth["bids"]) > 1000
    assert len(truth["asks"]) > 1000


async def test_aggregate_trades_page_like_the_documents_say(world):
    here = await world(spot_weight_limit=10**6, usdm_weight_limit=10**6)
    await fill_tape(here)
    for market, path in (("spot", "/spot/api/v3/aggTrades"), ("usdm", "/usdm/fapi/v1/aggTrades")):
        _, _, tape = await here.get("/control/truth/trades", market=market, symbol="BTCUSDT")
        rows = tape["trades"]
        paged, from_id = [], tape["first_id"]
        while True:
            _, _, page = await here.get(path, symbol="BTCUSDT", fromId=from_id, limit=300)
            paged += page
            if len(page) < 300:
                break
            from_id = page[-1]["a"] + 1
        assert paged == rows
        assert (await here.get(path, symbol="BTCUSDT"))[2] == rows[-500:]
        assert len((await here.get(path, symbol="BTCUSDT", limit=5000))[2]) == min(1000, len(rows))
        start, end = rows[100]["T"], rows[150]["T"]
        inside = [row for row in rows if start <= row["T"] <= end]
        reply = await here.get(path, symbol="BTCUSDT", startTime=start, endTime=end, limit=1000)
        assert reply[2] == inside
        until = [row for row in rows if row["T"] <= end][-50:]
        assert (await here.get(path, symbol="BTCUSDT", endTime=end, limit=50))[2] == until


async def test_usdm_aggregate_trades_have_a_horizon(world):
    here = await world(agg_trade_horizon_s=0.001)
    exchange = here.exchange.exchange
    start = exchange.now_ms
    while exchange.now_ms < start + 4_000:
        exchange.advance(exchange.now_ms + 50)
    first_id = exchange.listed("usdm")["BTCUSDT"].market.tape.first_aggregate_id
    here.exchange.rest._clock_ms = lambda: exchange.now_ms + 60_000
    assert (await here.get("/usdm/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=first_id))[0] == 400
    assert (await here.get("/usdm/fapi/v1/aggTrades", symbol="BTCUSDT"))[2] == []
    assert (await here.get("/spot/api/v3/aggTrades", symbol="BTCUSDT", fromId=first_id))[0] == 200


async def test_recent_trades_and_raw_truth(world):
    here = await world()
    await fill_tape(here, 20)
    for market, path in (("spot", "/spot/api/v3/trades"), ("usdm", "/usdm/fapi/v1/trades")):
        _, _, rows = await here.get(path, symbol="BTCUSDT", limit=10)
        _, _, tape = await here.get("/control/truth/raw_trades", market=market, symbol="BTCUSDT")
        assert [row["id"] for row in rows] == [row["t"] for row in tape["trades"][-10:]]
        for row in rows:
            assert Decimal(row["quoteQty"]) == Decimal(row["price"]) * Decimal(row["qty"])
        assert ("isRPITrade" in rows[0]) == (market == "usdm")


async def test_tickers_sum_the_trades_of_a_day(world):
    here = await world()
    await fill_tape(here, 20)
    for market, path in (("spot", "/spot/api/v3/ticker/24hr"), ("usdm", "/usdm/fapi/v1/ticker/24hr")):
        _, _, tape = await here.get("/control/truth/raw_trades", market=market, symbol="BTCUSDT")
        rows = [(Decimal(row["p"]), Decimal(row["q"])) for row in tape["trades"]]
        status, _, one = await here.get(path, symbol="BTCUSDT")
        assert status == 200
        assert Decimal(one["volume"]) == sum(quantity for _, quantity in rows)
        assert Decimal(one["quoteVolume"]) == sum(price * quantity for price, quantity in rows)
        assert Decimal(one["highPrice"]) == max(price for price, _ in rows)
        assert Decimal(one["lastPrice"]) == rows[-1][0]
        assert (one["firstId"], one["lastId"]) == (tape["first_id"], tape["next_id"] - 1)
        assert one["count"] == len(rows)
        assert ("bidPrice" in one) == (market == "spot")
        _, _, every = await here.get(path)
        assert one in [{**row, "openTime": one["openTime"], "closeTime": one["closeTime"]} for row in every]
        assert len(every) == len(here.exchange.exchange.listed(market))


async def test_the_ticker_of_a_symbol_that_never_traded_has_zeros(world):
    here = await world()
    await here.post("/control/pause")
    await here.post("/control/faults", {"fault": "list market=usdm symbol=新币USDT"})
    _, _, row = await here.get("/usdm/fapi/v1/ticker/24hr", symbol="新币USDT")
    assert {Decimal(row[name]) for name in ("volume", "quoteVolume", "lastPrice", "openPrice")} == {0}
    assert (row["firstId"], row["lastId"], row["count"]) == (-1, -1, 0)


async def test_exchange_info(world):
    here = await world(extra_usdm=2)
    _, _, spot = await here.get("/spot/api/v3/exchangeInfo")
    limits = {limit["rateLimitType"]: limit["limit"] for limit in spot["rateLimits"]}
    assert limits == {"REQUEST_WEIGHT": 6000, "RAW_REQUESTS": 300_000}
    assert [row["symbol"] for row in spot["symbols"]] == ["BTCUSDT", "币安人生USDT"]
    filters = {entry["filterType"]: entry for entry in spot["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    _, _, one = await here.get("/spot/api/v3/exchangeInfo", symbols='["币安人生USDT"]')
    assert [row["baseAsset"] for row in one["symbols"]] == ["币安人生"]
    _, _, usdm = await here.get("/usdm/fapi/v1/exchangeInfo")
    assert usdm["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 2400,
    }
    symbols = {row["symbol"]: row for row in usdm["symbols"]}
    assert symbols["SIM001USDT"]["contractType"] == "PERPETUAL"
    assert symbols["BTCUSDT"]["deliveryDate"] == 4133404800000
    tick = next(f for f in symbols["BTCUSDT"]["filters"] if f["filterType"] == "PRICE_FILTER")
    assert tick["tickSize"] == "0.10"
    assert all(row["status"] == "TRADING" for row in usdm["symbols"])


async def test_truth_refuses_what_it_does_not_know(world):
    here = await world()
    path = "/control/truth/book"
    assert (await here.get(path, market="spot", symbol="BTCUSDT", u=1))[0] == 410
    assert (await here.get(path, market="spot", symbol="BTCUSDT", u=10**15))[0] == 404
    assert (await here.get(path, market="mars", symbol="BTCUSDT"))[0] == 400
    assert (await here.get(path, market="spot", symbol="NOSUCH"))[0] == 404
    assert (await here.get(path, market="spot", symbol="BTCUSDT", u="x"))[0] == 400
