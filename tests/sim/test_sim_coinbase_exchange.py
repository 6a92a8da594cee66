"""Coinbase Exchange as the simulated exchange plays it."""

import json
from decimal import Decimal
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from sim_sockets import ModelSocket, exchange_of, run
from test_sim_coinbase import LISTS, NAMES, exchange_books, exchange_request, few, same_as_truth


@given(seed=st.integers(0, 10**6), late_s=st.floats(0, 1.5), step_ms=st.floats(1, 300))
@few
def test_books_of_exchange_are_true(seed, late_s, step_ms):
    exchange = exchange_of("coinbase", seed=seed, jump_every_s=3, **LISTS)
    early, late = ModelSocket(exchange, "/exchange"), ModelSocket(exchange, "/exchange")
    early.send(exchange_request("level2_batch"))
    run(exchange, late_s, step_ms)
    late.send(exchange_request("level2_batch", "matches"))
    run(exchange, 2, step_ms)
    exchange.pause()
    for socket in (early, late):
        books = exchange_books(socket.take())
        assert sorted(books) == sorted(NAMES)
        assert same_as_truth(exchange, "exchange", books)


def test_exchange_answers_in_the_captured_order_and_lists_all_that_is_subscribed():
    exchange = exchange_of("coinbase", rate_scale=5, **LISTS)
    run(exchange, 5)
    socket = ModelSocket(exchange, "/exchange")
    socket.send(
        exchange_request("level2_batch", "matches", {"name": "heartbeat", "product_ids": ["BTC-USD"]})
    )
    frames = socket.take()
    assert [frame["type"] for frame in frames] == ["last_match"] * 2 + ["subscriptions"] + ["snapshot"] * 2
    channels = {row["name"]: row["product_ids"] for row in frames[2]["channels"]}
    assert channels == {"matches": list(NAMES), "heartbeat": ["BTC-USD"], "level2_batch": list(NAMES)}
    run(exchange, 3)
    exchange.pause()
    frames = socket.take()
    beats = [frame for frame in frames if frame["type"] == "heartbeat"]
    assert len(beats) == 3
    ids = [f["trade_id"] for f in frames if f["type"] == "match" and f["product_id"] == "BTC-USD"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert ids[0] <= beats[-1]["last_trade_id"] <= ids[-1]
    sequences = [f["sequence"] for f in frames if f["type"] == "match" and f["product_id"] == "BTC-USD"]
    assert sequences == sorted(set(sequences))
    [left] = socket.send({"type": "unsubscribe", "channels": ["heartbeat", "matches"]})
    assert json.loads(left)["channels"] == [{"name": "level2_batch", "product_ids": list(NAMES)}]


def test_the_texts_of_exchange_are_those_of_the_captures():
    exchange = exchange_of("coinbase", rate_scale=5, **LISTS)
    socket = ModelSocket(exchange, "/exchange")
    ack, snapshot = socket.send(exchange_request("level2_batch", products=["DOGE-USD"]))
    assert ack == '{"type":"subscriptions","channels":[{"name":"level2_batch","product_ids":["DOGE-USD"]}]}'
    assert snapshot.startswith('{"type":"snapshot","product_id":"DOGE-USD","bids":[["0.')
    socket.send(exchange_request("matches", "heartbeat", products=["DOGE-USD"]))
    run(exchange, 20)
    starts = {json.loads(text)["type"]: text for text in socket.texts}
    assert starts["l2update"].startswith('{"type":"l2update","product_id":"DOGE-USD","changes":[["')
    assert starts["match"].startswith('{"type":"match","trade_id":')
    assert list(json.loads(starts["match"])) == [
        "type", "trade_id", "maker_order_id", "taker_order_id", "side", "size", "price", "product_id", "sequence",
        "time",
    ]  # fmt: skip
    assert list(json.loads(starts["heartbeat"])) == [
        "type",
        "sequence",
        "last_trade_id",
        "product_id",
        "time",
    ]
    frames = socket.take()
    zeros = {c[2] for f in frames if f["type"] == "l2update" for c in f["changes"] if not Decimal(c[2])}
    assert zeros == {"0.0"}  # books have all places, trades none that are zero
    assert not any(f["size"].endswith(".0") for f in frames if f["type"] == "match")


def test_refusals_of_exchange():
    exchange = exchange_of("coinbase", **LISTS)
    socket = ModelSocket(exchange, "/exchange")
    for channel in ("level2", "level3", "full"):
        assert json.loads(socket.send(exchange_request("matches", channel))[0]) == {
            "type": "error",
            "message": "Failed to subscribe",
            "reason": "level2, level3, and full channels now require authentication.",
        }
    [refused] = socket.send(exchange_request("matches", products=["BTC-USD", "NO-SUCH"]))
    assert json.loads(refused)["reason"] == "NO-SUCH is not a valid product"
    [nothing] = socket.send({"type": "subscribe", "channels": ["heartbeat"]})
    assert json.loads(nothing)["reason"].startswith("You need to specify at least one product ID")
    assert json.loads(socket.send(exchange_request())[0])["type"] == "error"
    others = [ModelSocket(exchange, "/exchange") for _ in range(11)]
    answers = [other.send(exchange_request("matches", products=["BTC-USD"]))[-1] for other in others]
    assert [json.loads(answer)["type"] for answer in answers] == ["subscriptions"] * 10 + ["error"]


async def test_rest_of_exchange_pages_by_ids(world):
    here = await world(flavour="coinbase", rate_scale=10.0, **LISTS)
    client = await here.connect("/exchange")
    await client.send(exchange_request("matches", products=["BTC-USD"]))
    matches = count()
    await client.until(lambda frame: frame.get("type") == "match" and next(matches) > 5)
    _, _, products = await here.get("/products")
    assert [row["id"] for row in products] == list(NAMES)
    _, headers, newest = await here.get("/products/BTC-USD/trades", limit=4)
    ids = [row["trade_id"] for row in newest]
    assert ids == [ids[0] - n for n in range(len(ids))]
    assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(ids[0]), str(ids[-1]))
    _, _, older = await here.get("/products/BTC-USD/trades", limit=4, after=ids[1])
    assert [row["trade_id"] for row in older] == [ids[1] - n for n in range(1, 5)]
    _, _, above = await here.get("/products/BTC-USD/trades", before=ids[-1])
    assert min(row["trade_id"] for row in above) == ids[-1] + 1
    _, _, book = await here.get("/products/BTC-USD/book", level=2)
    assert len(book["bids"]) > 100
    _, _, best = await here.get("/products/BTC-USD/book")
    assert [len(best[side]) for side in ("bids", "asks")] == [1, 1]
    _, _, stats = await here.get("/products/stats")
    assert Decimal(stats["BTC-USD"]["stats_24hour"]["volume"]) > 0
    _, _, time = await here.get("/time")
    assert time["epoch"] > 0
    status, _, unknown = await here.get("/products/NO-SUCH/trades")
    assert (status, unknown) == (404, {"message": "NotFound"})
    await here.post("/control/faults", {"fault": "rest_status symbol=DOGE-USD value=500"})
    assert (await here.get("/products/DOGE-USD/trades"))[0] == 500
    assert (await here.get("/products/BTC-USD/trades"))[0] == 200
