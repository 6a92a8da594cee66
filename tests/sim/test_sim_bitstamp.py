"""Bitstamp as it is simulated, against a client written from its documents: changes by time, refusals, REST."""

import json
import re
from decimal import Decimal

import pytest
from sim_sockets import ModelSocket, SideBook, exchange_of, run, true_book

from workers.sim.engine.faults import Fault
from workers.sim.engine.rest_faults import RestFaults

LISTS = {"symbols": {"all": ("BTCUSD", "XRPUSD", "BTCUSD-PERP")}}


def subscribe(channel: str, event: str = "bts:subscribe") -> dict:
    return {"event": event, "data": {"channel": channel}}


def books(socket: ModelSocket, channel: str) -> list[dict]:
    frames = [json.loads(text) for text in socket.texts]
    return [frame["data"] for frame in frames if frame["event"] == "data" and frame["channel"] == channel]


def copied(exchange, symbol: str, **query) -> dict:
    """The reply of REST at this moment."""
    rest = exchange.flavour.rest(exchange, lambda: exchange.now_ms)

    class Faults(RestFaults):
        def __init__(self):
            """Of no request."""

        def strike(self, kind, symbol=""):
            return exchange.faults.strike(kind, "all", symbol, "", "")

    return json.loads(bytes(rest._book({"pair": symbol.lower(), **query}, Faults())))


@pytest.mark.parametrize(("symbol", "seed"), [("BTCUSD", 1), ("BTCUSD", 2), ("BTCUSD-PERP", 3)])
def test_a_book_of_rest_is_continued_by_the_messages_after_it(symbol, seed):
    exchange = exchange_of("bitstamp", seed=seed, jump_every_s=3, snapshot_lag_ms=500, **LISTS)
    socket = ModelSocket(exchange, "/")
    channel = f"diff_order_book_{symbol.lower()}"
    socket.send(subscribe(channel))
    run(exchange, 3)
    begun = copied(exchange, symbol)
    run(exchange, 2)
    exchange.pause()
    book, time = SideBook(), int(begun["microtimestamp"])
    book.replace(begun["bids"], begun["asks"])
    assert book.levels() == true_book(exchange, "all", symbol, time, "0", 10**6)
    messages = books(socket, channel)
    times = [int(data["microtimestamp"]) for data in messages]
    assert times == sorted(set(times))
    assert times[0] < time < times[-1]
    later = [data for data in messages if int(data["microtimestamp"]) > time]
    for data in later:
        assert data["timestamp"] == data["microtimestamp"][:10]
        book.apply(data["bids"], data["asks"])
        assert book.levels() == true_book(exchange, "all", symbol, int(data["microtimestamp"]), "0", 10**6)
    assert len(later) > 3


def test_the_texts_are_those_of_the_documents():
    exchange = exchange_of("bitstamp", rate_scale=5, **LISTS)
    socket = ModelSocket(exchange, "/")
    assert socket.texts == []
    for channel in ("diff_order_book_btcusd", "live_trades_btcusd-perp", "live_trades_btcusd"):
        assert socket.send(subscribe(channel)) == [
            f'{{"event":"bts:subscription_succeeded","channel":"{channel}","data":{{}}}}'
        ]
    assert socket.send({"event": "bts:heartbeat"}) == [
        '{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}'
    ]
    run(exchange, 5)
    changes = [text for text in socket.texts if '"event":"data"' in text]
    level = r'\["\d+\.\d\d","\d+\.\d{8}"\]'
    levels = rf"\[(?:{level}(?:,{level})*)?\]"
    assert all(
        re.fullmatch(
            rf'\{{"data":\{{"timestamp":"\d{{10}}","microtimestamp":"\d{{16}}","bids":{levels},"asks":{levels}\}},'
            r'"channel":"diff_order_book_btcusd","event":"data"\}',
            text,
        )
        for text in changes
    )
    assert any('"0.00000000"]' in text for text in changes)  # a zero with all places of the market
    trade = next(
        text for text in socket.texts if '"channel":"live_trades_btcusd-perp"' in text and "data" in text[:7]
    )
    assert re.fullmatch(
        r'\{"data":\{"id":2\d{18},"id_str":"2\d{18}","type":[01],"amount":[\de.-]+,"amount_str":"\d+\.\d{5}",'
        r'"price":\d{5},"price_str":"\d{5}","timestamp":"\d{13}","microtimestamp":"\d{16}","buy_order_id":\d+,'
        r'"sell_order_id":\d+\},"channel":"live_trades_btcusd-perp","event":"trade"\}',
        trade,
    )
    spot = next(
        json.loads(text)
        for text in socket.texts
        if '"channel":"live_trades_btcusd",' in text and '"trade"' in text
    )
    assert len(spot["data"]["timestamp"]) == 10
    end = socket.send(subscribe("diff_order_book_btcusd", "bts:unsubscribe"))
    assert end == ['{"event":"bts:unsubscription_succeeded","channel":"diff_order_book_btcusd","data":{}}']
    socket.texts.clear()
    run(exchange, 2)
    assert not any("diff_order_book" in text for text in socket.texts)


def test_what_is_badly_spelled_is_refused_and_an_unknown_market_is_acknowledged_and_silent():
    exchange = exchange_of("bitstamp", **LISTS)
    socket = ModelSocket(exchange, "/")
    refusal = '{"event":"bts:error","channel":"","data":{"code":null,"message":"Invalid channel provided."}}'
    for channel in (
        "diff_order_book_BTCUSD",
        "diff_order_book_btc/usd",
        "nosuch_btcusd",
        "diff_order_book_",
        7,
    ):
        assert socket.send(subscribe(channel)) == [refusal]
    assert json.loads(socket.send("no JSON")[0])["event"] == "bts:error"
    assert "succeeded" in socket.send(subscribe("diff_order_book_nosuch"))[0]
    exchange.set_fault(Fault.parse("silent_stream stream=diff_order_book_xrpusd"))
    exchange.set_fault(Fault.parse("refuse_stream stream=live_trades_btcusd"))
    assert "succeeded" in socket.send(subscribe("diff_order_book_xrpusd"))[0]
    assert socket.send(subscribe("live_trades_btcusd")) == [refusal]
    socket.texts.clear()
    run(exchange, 3)
    assert socket.texts == []
    assert list(socket.conversation.streams) == ["diff_order_book_nosuch", "diff_order_book_xrpusd"]


def test_the_1025th_channel_ends_the_socket():
    socket = ModelSocket(exchange_of("bitstamp", **LISTS), "/")
    for number in range(1024):
        socket.send(subscribe(f"live_trades_x{number}"))
    assert socket.end is None
    socket.send(subscribe("live_trades_btcusd"))
    assert socket.end is not None


def test_the_best_hundred_levels_come_anew_with_each_change():
    exchange = exchange_of("bitstamp", **LISTS)
    socket = ModelSocket(exchange, "/")
    socket.send(subscribe("order_book_btcusd"))
    assert books(socket, "order_book_btcusd") == []  # nothing comes of the subscription itself
    run(exchange, 2)
    messages = books(socket, "order_book_btcusd")
    assert len(messages) > 2
    for data in messages:
        book = SideBook()
        book.replace(data["bids"], data["asks"])
        assert book.levels() == true_book(exchange, "all", "BTCUSD", int(data["microtimestamp"]), "", 100)


def test_trades_are_those_of_the_truth_and_their_ids_are_not_consecutive():
    exchange = exchange_of("bitstamp", rate_scale=5, **LISTS)
    socket = ModelSocket(exchange, "/")
    socket.send(subscribe("live_trades_btcusd-perp"))
    run(exchange, 3)
    trades = [frame["data"] for frame in socket.take() if frame["event"] == "trade"]
    feed = exchange.listed("all")["BTCUSD-PERP"]
    rows = feed.truth_trades(0, 10**6)["trades"]
    assert [trade["id"] for trade in trades] == [row["a"] for row in rows]
    assert feed.truth_trades(rows[3]["a"] - 1, 2)["trades"] == rows[3:5]
    assert all(later["a"] - row["a"] > 2 for row, later in zip(rows, rows[1:], strict=False))
    for trade, row in zip(trades, rows, strict=True):
        assert (trade["price_str"], trade["amount_str"], int(trade["microtimestamp"]) // 1000, bool(trade["type"])) == (
            row["p"], row["q"], row["T"], row["m"]
        )  # fmt: skip
        assert Decimal(str(trade["amount"])) == Decimal(trade["amount_str"])


@pytest.mark.parametrize(
    ("kind", "same"),
    [
        ("snapshot_wrong value=2", False),
        ("snapshot_empty", False),
        ("snapshot_stale value=1500", True),
        ("snapshot_ahead", True),
    ],
)
def test_what_may_be_wrong_with_a_book_of_rest(kind, same):
    exchange = exchange_of("bitstamp", **LISTS)
    run(exchange, 4)
    good = copied(exchange, "BTCUSD")
    exchange.set_fault(Fault.parse(kind))
    found = copied(exchange, "BTCUSD")
    book = SideBook()
    book.replace(found["bids"], found["asks"])
    truth = true_book(exchange, "all", "BTCUSD", int(found["microtimestamp"]), "", 10**6)
    assert (book.levels() == truth) == same
    assert (found["microtimestamp"] == good["microtimestamp"]) != same


async def test_rest_and_sockets_as_the_documents_say(world):
    here = await world(flavour="bitstamp", rate_scale=10.0, **LISTS)
    client = await here.connect("/")
    await client.send(subscribe("live_trades_btcusd"))
    await client.until(lambda frame: frame["event"] == "trade")
    await client.send(subscribe("diff_order_book_btcusd"))
    await client.until(lambda frame: frame["event"] == "data")
    _, _, book = await here.get("/api/v2/order_book/btcusd/", group=1, _=1)
    assert list(book) == ["timestamp", "microtimestamp", "bids", "asks"]
    assert (await here.get("/api/v2/order_book/btcusd/", group=1, _=1))[2] == book  # the edge keeps it
    status, headers, _ = await here.get("/api/v2/order_book/nosuch/")
    assert (status, headers["Content-Type"].partition(";")[0]) == (404, "text/html")
    _, _, trades = await here.get("/api/v2/transactions/btcusd/", time="minute")
    assert set(trades[0]) == {"date", "tid", "amount", "type", "price"}
    ids = [int(trade["tid"]) for trade in trades]
    assert ids == sorted(ids, reverse=True)
    assert (await here.get("/api/v2/transactions/btcusd/", time="year"))[0] == 400
    _, _, markets = await here.get("/api/v2/markets/")
    assert [(row["name"], row["market_symbol"], row["market_type"]) for row in markets] == [
        ("BTC/USD", "btcusd", "SPOT"), ("XRP/USD", "xrpusd", "SPOT"), ("BTC/USD-PERP", "btcusd-perp", "PERPETUAL")
    ]  # fmt: skip
    assert [row["url_symbol"] for row in (await here.get("/api/v2/trading-pairs-info/"))[2]] == [
        "btcusd",
        "xrpusd",
    ]
    _, _, rows = await here.get("/api/v2/ticker/")
    assert [row["pair"] for row in rows] == ["BTC/USD", "XRP/USD", "BTC/USD-PERP"]
    assert Decimal(rows[0]["vwap"]) > 1000
    assert (await here.get("/api/v2/ticker/btcusd/"))[2]["pair"] == "BTC/USD"
    assert len((await here.get("/api/v2/ticker/nosuch/"))[2]) == 3
    await here.post("/control/shutdown_notice", {})
    await client.until(lambda frame: frame == {"event": "bts:request_reconnect", "channel": "", "data": None})
    long = await here.connect("/")
    await long.send(subscribe("live_trades_" + "x" * 600))
    await long.closed()
