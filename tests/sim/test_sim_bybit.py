"""Bybit as it is simulated, against a client written from its documents: chains, trades, refusals, faults, REST."""

import json
import uuid
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_sockets import ModelSocket, SideBook, exchange_of, run, true_book

from workers.sim.engine.faults import Fault

SPOT, LINEAR = "/v5/public/spot", "/v5/public/linear"
SMALL_LISTS = {"symbols": {"spot": ("BTCUSDT", "XRPUSDT"), "linear": ("BTCUSDT", "BTCPERP")}}
few = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def subscribe(*topics: str) -> dict:
    return {"req_id": "1", "op": "subscribe", "args": list(topics)}


class BybitBook(SideBook):
    """Follows `u`; `gap` is set by a delta that does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.u = self.seq = None
        self.gap = False
        self.deltas = self.snapshots = 0

    def take(self, frame: dict) -> None:
        data = frame["data"]
        if frame["type"] == "snapshot":
            self.replace(data["b"], data["a"])
            self.snapshots += 1
        elif data["u"] != self.u + 1:
            self.gap = True
            return
        else:
            self.apply(data["b"], data["a"])
            self.deltas += 1
        assert self.seq is None or data["seq"] >= self.seq
        assert frame["cts"] <= frame["ts"]
        self.u, self.seq = data["u"], data["seq"]


def books(socket: ModelSocket, depth: int) -> list[dict]:
    return [frame for frame in socket.take() if frame.get("topic", "").startswith(f"orderbook.{depth}.")]


@pytest.mark.parametrize("market", ["spot", "linear"])
@pytest.mark.parametrize("depth", [1, 50, 200, 1000])
@given(seed=st.integers(0, 10**6), late_s=st.floats(0, 1.5), step_ms=st.floats(1, 300))
@few
def test_snapshot_and_deltas_are_the_best_levels_of_the_truth_at_every_u(
    market, depth, seed, late_s, step_ms
):
    exchange = exchange_of("bybit", seed=seed, jump_every_s=3, **SMALL_LISTS)
    topic = f"orderbook.{depth}.BTCUSDT"
    early, late = (ModelSocket(exchange, f"/v5/public/{market}") for _ in range(2))
    early.send(subscribe(topic))
    run(exchange, late_s, step_ms)
    late.send(subscribe(topic))
    run(exchange, 1.5, step_ms)
    exchange.pause()
    ends = []
    for socket in (early, late):
        book = BybitBook()
        for number, frame in enumerate(books(socket, depth)):
            book.take(frame)
            assert not book.gap
            assert max(len(book.bids), len(book.asks)) <= depth
            if number % 5 == 0:
                assert book.levels() == true_book(exchange, market, "BTCUSDT", book.u, str(depth), depth)
        assert book.orphans == 0
        assert (book.deltas > 0) == (depth > 1)
        assert book.levels() == true_book(exchange, market, "BTCUSDT", book.u, str(depth), depth)
        ends.append(book.u)
    assert ends[0] == ends[1]


def test_acknowledgements_have_two_shapes_and_times_two_places():
    exchange = exchange_of("bybit", **SMALL_LISTS)
    spot, linear = ModelSocket(exchange, SPOT), ModelSocket(exchange, LINEAR)
    reply, snapshot = spot.send({"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]})
    identity = spot.conversation.describe()["conn_id"]
    assert reply == f'{{"success":true,"ret_msg":"subscribe","conn_id":"{identity}","op":"subscribe"}}'
    assert list(json.loads(snapshot)) == ["topic", "ts", "type", "data", "cts"]
    assert list(json.loads(snapshot)["data"]) == ["s", "b", "a", "u", "seq"]
    reply, snapshot = linear.send({"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]})
    identity = linear.conversation.describe()["conn_id"]
    assert reply == f'{{"success":true,"ret_msg":"","conn_id":"{identity}","req_id":"","op":"subscribe"}}'
    assert list(json.loads(snapshot)) == ["topic", "type", "ts", "data", "cts"]
    assert json.loads(linear.send({"op": "ping"})[0])["ret_msg"] == "pong"


def test_the_same_topic_is_another_market_on_another_socket():
    exchange = exchange_of("bybit", **SMALL_LISTS)
    spot, linear = ModelSocket(exchange, SPOT), ModelSocket(exchange, LINEAR)
    first = json.loads(spot.send(subscribe("orderbook.1.BTCUSDT"))[1])
    second = json.loads(linear.send(subscribe("orderbook.1.BTCUSDT"))[1])
    assert first["topic"] == second["topic"]
    assert first["data"] != second["data"]


def test_one_bad_topic_refuses_the_request_and_costs_the_others_nothing():
    exchange = exchange_of("bybit", **SMALL_LISTS)
    socket = ModelSocket(exchange, SPOT)
    socket.send(subscribe("orderbook.50.BTCUSDT"))
    [reply] = socket.send(subscribe("orderbook.50.XRPUSDT", "orderbook.50.NOSUCH"))
    assert json.loads(reply)["success"] is False
    assert json.loads(reply)["ret_msg"] == "Invalid topic: orderbook.50.NOSUCH"
    assert (
        json.loads(socket.send(subscribe(*[f"publicTrade.S{n}" for n in range(11)]))[0])["success"] is False
    )
    run(exchange, 1)
    assert {frame["data"]["s"] for frame in books(socket, 50)} == {"BTCUSDT"}
    socket.send({"op": "unsubscribe", "args": ["orderbook.50.BTCUSDT"]})
    socket.take()
    run(exchange, 1)
    assert socket.take() == []


@pytest.mark.parametrize("path", [SPOT, LINEAR])
def test_trades_have_names_and_the_truth_has_the_same(path):
    exchange = exchange_of("bybit", rate_scale=3, **SMALL_LISTS)
    socket = ModelSocket(exchange, path)
    socket.send(subscribe("publicTrade.BTCUSDT"))
    run(exchange, 5)
    frames = [frame for frame in socket.take() if "topic" in frame]
    trades = [trade for frame in frames for trade in frame["data"]]
    names = [trade["i"] for trade in trades]
    assert len(set(names)) == len(names) > 10
    if path == SPOT:
        assert all(len(name) == 19 for name in names)
        assert [int(name) for name in names] == sorted(map(int, names))
    else:
        assert all(uuid.UUID(name).version == 5 for name in names)
        assert {trade["L"] for trade in trades} <= {"PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"}
    assert all(len({trade["seq"] for trade in frame["data"]}) == 1 for frame in frames)
    feed = exchange.listed(path.rsplit("/", 1)[1])["BTCUSDT"]
    truth = feed.truth_trades(0, 10**6)["trades"]
    assert [(row["i"], row["p"], row["q"]) for row in truth] == [
        (trade["i"], trade["p"], trade["v"]) for trade in trades
    ]


def followed(fault: str, depth: int = 50) -> tuple[BybitBook, list[dict]]:
    exchange = exchange_of("bybit", **SMALL_LISTS)
    socket = ModelSocket(exchange, LINEAR)
    socket.send(subscribe(f"orderbook.{depth}.BTCUSDT"))
    run(exchange, 1)
    exchange.set_fault(Fault.parse(fault))
    run(exchange, 2)
    frames = books(socket, depth)
    book = BybitBook()
    for frame in frames:
        book.take(frame)
    return book, frames


def test_a_lost_delta_leaves_a_hole_in_u():
    assert followed("lose stream=orderbook.50.* count=1")[0].gap
    assert not followed("lose stream=orderbook.200.* count=1")[0].gap


def test_a_restart_of_the_service_is_a_snapshot_with_u_1():
    book, frames = followed("book_ids")
    [restart] = [frame for frame in frames[1:] if frame["type"] == "snapshot"]
    assert restart["data"]["u"] == 1
    assert not book.gap
    assert book.snapshots == 2


def test_the_truth_knows_the_ids_before_and_after_a_restart():
    exchange = exchange_of("bybit", **SMALL_LISTS)
    socket = ModelSocket(exchange, LINEAR)
    socket.send(subscribe("orderbook.50.BTCUSDT"))
    run(exchange, 0.5)
    exchange.set_fault(Fault.parse("book_ids"))
    run(exchange, 0.5)
    book = BybitBook()
    for frame in books(socket, 50):
        book.take(frame)
        assert book.levels() == true_book(exchange, "linear", "BTCUSDT", book.u, "50", 50)


def test_the_best_level_repeats_itself_when_it_is_still():
    exchange = exchange_of("bybit", **SMALL_LISTS)
    socket = ModelSocket(exchange, SPOT)
    socket.send(subscribe("orderbook.1.BTCUSDT"))
    exchange.set_fault(Fault.parse("halt"))
    run(exchange, 1)
    last = books(socket, 1)[-1]["data"]
    run(exchange, 7, 100)
    again = books(socket, 1)
    assert len(again) == 2
    assert all(frame["data"] == last for frame in again)


def test_faults_of_subscriptions():
    faults = ("snapshot_first symbol=BTCUSDT", "silent_stream symbol=XRPUSDT")
    exchange = exchange_of("bybit", faults=faults, **SMALL_LISTS)
    socket = ModelSocket(exchange, SPOT)
    first, second = map(json.loads, socket.send(subscribe("orderbook.50.BTCUSDT")))
    assert (first["type"], second["op"]) == ("snapshot", "subscribe")
    assert len(socket.send(subscribe("orderbook.50.XRPUSDT"))) == 1
    exchange.set_fault(Fault.parse("refuse_stream stream=publicTrade.*"))
    assert json.loads(socket.send(subscribe("publicTrade.BTCUSDT"))[0])["success"] is False


def test_an_idle_client_is_left_after_ten_minutes():
    socket = ModelSocket(exchange_of("bybit", **SMALL_LISTS), SPOT)
    socket.now_s = 500
    socket.send({"op": "ping"})
    socket.tick(1099)
    assert socket.end is None
    socket.tick(1100)
    assert socket.end is not None


async def test_rest_and_sockets_of_a_running_exchange(world):
    here = await world(flavour="bybit", rate_scale=5.0, **SMALL_LISTS)
    client = await here.connect(LINEAR)
    await client.send(subscribe("publicTrade.BTCUSDT", "orderbook.1000.BTCUSDT"))
    await client.until(lambda frame: frame.get("topic") == "publicTrade.BTCUSDT")
    _, _, page = await here.get("/v5/market/instruments-info", category="linear", limit=1)
    assert [row["symbol"] for row in page["result"]["list"]] == ["BTCUSDT"]
    cursor = page["result"]["nextPageCursor"]
    _, _, page = await here.get("/v5/market/instruments-info", category="linear", limit=1, cursor=cursor)
    assert [row["symbol"] for row in page["result"]["list"]] == ["BTCPERP"]
    assert page["result"]["nextPageCursor"] == ""
    _, _, spot = await here.get("/v5/market/instruments-info", category="spot")
    assert len(spot["result"]["list"]) == 2
    assert spot["result"]["list"][0]["lotSizeFilter"]["basePrecision"] == "0.000001"
    _, _, trades = await here.get("/v5/market/recent-trade", category="linear", symbol="BTCUSDT", limit=1000)
    seen = {
        trade["i"]
        for frame in client.frames
        if frame.get("topic") == "publicTrade.BTCUSDT"
        for trade in frame["data"]
    }
    assert seen <= {row["execId"] for row in trades["result"]["list"]}
    times = [int(row["time"]) for row in trades["result"]["list"]]
    assert times == sorted(times, reverse=True)
    await here.post("/control/pause", {})
    _, _, rest = await here.get("/v5/market/orderbook", category="linear", symbol="BTCUSDT", limit=1000)
    last = await client.until(
        lambda frame: (
            frame.get("topic") == "orderbook.1000.BTCUSDT" and frame["data"]["u"] == rest["result"]["u"]
        )
    )
    assert last["data"]["seq"] == rest["result"]["seq"]
    _, _, tickers = await here.get("/v5/market/tickers", category="linear", symbol="BTCUSDT")
    assert Decimal(tickers["result"]["list"][0]["volume24h"]) > 0
    _, _, unknown = await here.get("/v5/market/tickers", category="linear", symbol="NOSUCH")
    assert unknown["retCode"] == 10001
    _, _, truth = await here.get(
        "/control/truth/book",
        market="linear",
        symbol="BTCUSDT",
        u=rest["result"]["u"],
        stream=1000,
        depth=50,
    )
    assert truth["bids"] == rest["result"]["b"][:50]
    assert truth["asks"] == rest["result"]["a"][:50]
