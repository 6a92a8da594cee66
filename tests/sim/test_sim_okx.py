"""OKX as it is simulated, against a client written from its documents: chains, trades, refusals, faults, REST."""

import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_sockets import ModelSocket, SideBook, exchange_of, run, true_book

from workers.settings.schema import ExchangeSettings
from workers.sim.engine.faults import Fault
from workers.sim.flavours import FLAVOURS

PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
SPOT = {"symbols": {"spot": ("BTC-USDT", "DOGE-USDT"), "swap": ("BTC-USDT-SWAP",)}}
few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def ask(operation: str, channel: str, *names: str) -> dict:
    return {"id": "a1", "op": operation, "args": [{"channel": channel, "instId": name} for name in names]}


class OkxBook(SideBook):
    """Follows `prevSeqId`; `gap` is set by an update that does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.last = None
        self.gap = False
        self.updates = 0

    def take(self, frame: dict) -> None:
        [data] = frame["data"]
        if frame["action"] == "snapshot":
            assert data["prevSeqId"] == -1
            self.replace(data["bids"], data["asks"])
        elif data["prevSeqId"] != self.last:
            self.gap = True
            return
        else:
            self.apply(data["bids"], data["asks"])
            self.updates += 1
        self.last = data["seqId"]


def books(socket: ModelSocket) -> list[dict]:
    return [
        frame for frame in socket.take() if frame.get("arg", {}).get("channel") == "books" and "data" in frame
    ]


@pytest.mark.parametrize(
    ("market", "symbol"), [("spot", "BTC-USDT"), ("spot", "DOGE-USDT"), ("swap", "BTC-USDT-SWAP")]
)
@given(seed=st.integers(0, 10**6), late_s=st.floats(0, 2), step_ms=st.floats(1, 300))
@few
def test_snapshot_and_updates_are_the_best_400_levels_of_the_truth_at_every_seq_id(
    market, symbol, seed, late_s, step_ms
):
    exchange = exchange_of("okx", seed=seed, jump_every_s=3, **SPOT)
    run(exchange, 0.3)
    early, late = ModelSocket(exchange, PUBLIC), ModelSocket(exchange, PUBLIC)
    early.send(ask("subscribe", "books", symbol))
    run(exchange, late_s, step_ms)
    late.send(ask("subscribe", "books", symbol))
    run(exchange, 1.5, step_ms)
    exchange.pause()
    for socket in (early, late):
        book = OkxBook()
        for number, frame in enumerate(books(socket)):
            book.take(frame)
            assert not book.gap
            assert len(book.bids) <= 400
            assert len(book.asks) <= 400
            if number % 4 == 0:
                assert book.levels() == true_book(exchange, market, symbol, book.last, "400", 400)
        assert book.orphans == 0
        assert book.updates
        assert book.levels() == true_book(exchange, market, symbol, book.last, "400", 400)
        assert book.last == exchange.listed(market)[symbol].market.last_id


def test_the_texts_are_those_of_the_capture():
    exchange = exchange_of("okx", **SPOT)
    socket = ModelSocket(exchange, PUBLIC)
    reply, snapshot = socket.send(ask("subscribe", "books", "BTC-USDT"))
    identity = socket.conversation.describe()["connId"]
    assert reply == (
        '{"id":"a1","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"'
        + identity
        + '"}'
    )
    assert snapshot.startswith(
        '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["'
    )
    assert snapshot.count(',"0","') == 800
    assert '"checksum":0,"seqId":' in snapshot
    run(exchange, 0.5)
    [first, *_] = socket.texts[2:]
    assert list(json.loads(first)["data"][0]) == ["asks", "bids", "ts", "checksum", "seqId", "prevSeqId"]
    deleted = [level for level in json.loads(first)["data"][0]["asks"] if level[1] == "0"]
    assert all(level[2:] == ["0", "0"] for level in deleted)


def test_all_trades_are_consecutive_and_merged_ones_name_the_last_of_their_fills():
    exchange = exchange_of("okx", rate_scale=3, **SPOT)
    single, merged = ModelSocket(exchange, BUSINESS), ModelSocket(exchange, PUBLIC)
    single.send(ask("subscribe", "trades-all", "BTC-USDT"))
    merged.send(ask("subscribe", "trades", "BTC-USDT"))
    run(exchange, 8)
    fills = [frame["data"][0] for frame in single.take()[1:]]
    trades = [frame["data"][0] for frame in merged.take()[1:]]
    ids = [int(fill["tradeId"]) for fill in fills]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    last = ids[0] - 1
    for trade in trades:
        assert int(trade["tradeId"]) == last + int(trade["count"])
        parts = [fill for fill in fills if last < int(fill["tradeId"]) <= int(trade["tradeId"])]
        assert sum(Decimal(fill["sz"]) for fill in parts) == Decimal(trade["sz"])
        assert {(fill["px"], fill["side"]) for fill in parts} == {(trade["px"], trade["side"])}
        last = int(trade["tradeId"])
    truth = exchange.listed("spot")["BTC-USDT"].truth_trades(ids[0], 10**6)["trades"]
    assert [(row["a"], row["p"], row["q"]) for row in truth] == [
        (int(fill["tradeId"]), fill["px"], fill["sz"]) for fill in fills
    ]
    assert any(int(trade["count"]) > 1 for trade in trades)


def test_every_argument_is_answered_and_an_unknown_one_refused_in_words_only():
    exchange = exchange_of("okx", **SPOT)
    socket = ModelSocket(exchange, PUBLIC)
    socket.send(ask("subscribe", "books", "BTC-USDT", "XXX", "BTC-USDT-SWAP"))
    frames = [frame for frame in socket.take() if "event" in frame]
    assert [frame["event"] for frame in frames] == ["subscribe", "error", "subscribe"]
    assert frames[1]["code"] == "60018"
    assert frames[1]["msg"].startswith("Wrong URL or channel:books,instId:XXX doesn't exist")
    assert "arg" not in frames[1]
    assert json.loads(socket.send(ask("subscribe", "trades-all", "BTC-USDT"))[0])["code"] == "60018"
    assert json.loads(socket.send("{nonsense")[0])["code"] == "60012"
    assert json.loads(socket.send(ask("unsubscribe", "books", "BTC-USDT"))[0])["event"] == "unsubscribe"
    run(exchange, 1)
    assert {frame["arg"]["instId"] for frame in books(socket)} == {"BTC-USDT-SWAP"}


def test_ping_is_text_and_silence_ends_the_socket():
    exchange = exchange_of("okx", **SPOT)
    socket = ModelSocket(exchange, PUBLIC)
    socket.now_s = 20
    assert socket.send("ping") == ["pong"]
    socket.tick(45)
    assert socket.end is None
    socket.conversation.wrote(46)
    socket.tick(75)
    assert socket.end is None
    socket.tick(76)
    assert socket.end is not None


def test_too_many_requests_in_an_hour_are_refused():
    socket = ModelSocket(exchange_of("okx", **SPOT), PUBLIC)
    for _ in range(480):
        socket.send(ask("unsubscribe", "books", "BTC-USDT"))
    assert json.loads(socket.send(ask("subscribe", "books", "BTC-USDT"))[0])["code"] == "60014"


def followed(fault: str, seconds: float = 3) -> tuple[OkxBook, list[dict]]:
    exchange = exchange_of("okx", **SPOT)
    socket = ModelSocket(exchange, PUBLIC)
    socket.send(ask("subscribe", "books", "BTC-USDT"))
    run(exchange, 1)
    exchange.set_fault(Fault.parse(fault))
    run(exchange, seconds)
    book = OkxBook()
    frames = books(socket)
    for frame in frames:
        book.take(frame)
    return book, frames


def test_a_lost_update_breaks_the_chain_and_no_fault_does_not():
    assert followed("lose stream=books:* symbol=BTC-USDT count=1")[0].gap
    assert not followed("lose stream=trades:*")[0].gap


def test_ids_begin_anew_from_a_lower_one_within_the_chain():
    book, frames = followed("book_ids value=5")
    turns = [
        frame["data"][0] for frame in frames if frame["data"][0]["seqId"] < frame["data"][0]["prevSeqId"]
    ]
    assert len(turns) == 1
    assert not book.gap
    assert book.last < 10**6


def test_the_truth_knows_both_numberings():
    exchange = exchange_of("okx", **SPOT)
    socket = ModelSocket(exchange, PUBLIC)
    socket.send(ask("subscribe", "books", "BTC-USDT"))
    run(exchange, 0.5)
    exchange.set_fault(Fault.parse("book_ids value=5"))
    run(exchange, 0.5)
    book = OkxBook()
    for frame in books(socket):
        book.take(frame)
        assert book.levels() == true_book(exchange, "spot", "BTC-USDT", book.last, "400", 400)


def test_a_still_book_says_after_a_minute_that_it_lives():
    exchange = exchange_of("okx", **SPOT)
    socket = ModelSocket(exchange, PUBLIC)
    socket.send(ask("subscribe", "books", "BTC-USDT"))
    run(exchange, 0.5)
    exchange.set_fault(Fault.parse("halt"))
    run(exchange, 1)
    before = books(socket)[-1]["data"][0]["seqId"]
    run(exchange, 130, 500)
    still = [frame["data"][0] for frame in books(socket)]
    assert len(still) == 2
    for data in still:
        assert (data["asks"], data["bids"], data["seqId"], data["prevSeqId"]) == ([], [], before, before)


def test_faults_of_subscriptions():
    exchange = exchange_of(
        "okx", faults=("snapshot_first symbol=BTC-USDT", "silent_stream symbol=DOGE-USDT"), **SPOT
    )
    socket = ModelSocket(exchange, PUBLIC)
    first, second = map(json.loads, socket.send(ask("subscribe", "books", "BTC-USDT")))
    assert first["action"] == "snapshot"
    assert second["event"] == "subscribe"
    assert len(socket.send(ask("subscribe", "books", "DOGE-USDT"))) == 1
    run(exchange, 1)
    assert {frame["arg"]["instId"] for frame in books(socket)} == {"BTC-USDT"}
    exchange.set_fault(Fault.parse("refuse_stream symbol=BTC-USDT-SWAP"))
    assert json.loads(socket.send(ask("subscribe", "books", "BTC-USDT-SWAP"))[0])["code"] == "60018"


def test_rewriting_faults_find_the_levels():
    _, frames = followed("cross stream=books:*", 0.5)
    data = frames[-1]["data"][0]
    asks = [level for level in data["asks"] if level[1] != "0"]
    assert data["bids"][0] == asks[-1]
    _, frames = followed("unknown_deletes stream=books:*", 0.5)
    assert any(
        level[0].startswith("9") and level[1] == "0" and len(level) == 4
        for level in frames[-1]["data"][0]["asks"]
    )


def test_a_delisting_is_pushed_as_an_instrument():
    exchange = exchange_of("okx", **SPOT)
    socket = ModelSocket(exchange, PUBLIC)
    [reply] = socket.send({"op": "subscribe", "args": [{"channel": "instruments", "instType": "SPOT"}]})
    assert json.loads(reply)["arg"] == {"channel": "instruments", "instType": "SPOT"}
    exchange.set_fault(Fault.parse("delist symbol=DOGE-USDT"))
    [_, push] = socket.take()
    assert push["data"][0]["instId"] == "DOGE-USDT"
    assert push["data"][0]["state"] == "expired"


async def test_rest_and_sockets_of_a_running_exchange(world):
    here = await world(flavour="okx", rate_scale=5.0, **SPOT)
    client = await here.connect(PUBLIC)
    await client.send(ask("subscribe", "trades", "BTC-USDT"))
    await client.until(lambda frame: frame.get("event") == "subscribe")
    await client.until(lambda frame: "data" in frame)
    status, _, rows = await here.get("/api/v5/public/instruments", instType="SPOT")
    assert (status, rows["code"]) == (200, "0")
    assert [row["instId"] for row in rows["data"]] == ["BTC-USDT", "DOGE-USDT"]
    assert rows["data"][0]["tickSz"] == "0.1"
    _, _, swaps = await here.get("/api/v5/public/instruments", instType="SWAP")
    assert swaps["data"][0]["ctVal"] == "0.01"
    _, _, newest = await here.get("/api/v5/market/trades", instId="BTC-USDT", limit=500)
    ids = [int(row["tradeId"]) for row in newest["data"]]
    assert ids == sorted(ids, reverse=True)
    _, _, older = await here.get(
        "/api/v5/market/history-trades", instId="BTC-USDT", type=1, after=ids[0] + 1, limit=2
    )
    assert [int(row["tradeId"]) for row in older["data"]] == [ids[0], ids[0] - 1][: len(older["data"])]
    _, _, book = await here.get("/api/v5/market/books", instId="BTC-USDT", sz=5)
    assert [len(book["data"][0][side]) for side in ("asks", "bids")] == [5, 5]
    assert "seqId" not in book["data"][0]
    _, _, time = await here.get("/api/v5/public/time")
    assert time["data"][0]["ts"].isdigit()
    _, _, tickers = await here.get("/api/v5/market/tickers", instType="SPOT")
    assert Decimal(tickers["data"][0]["vol24h"]) > 0
    _, _, unknown = await here.get("/api/v5/market/books", instId="NO-SUCH")
    assert unknown["code"] == "51001"
    answers = [await here.get("/api/v5/public/time") for _ in range(25)]
    assert any(status == 429 and body["code"] == "50011" for status, _, body in answers)
    await here.post("/control/shutdown_notice", {})
    await client.until(lambda frame: frame.get("event") == "notice" and frame["code"] == "64008")


def test_the_settings_name_a_port_for_every_other_flavour():
    assert set(ExchangeSettings().flavours) == set(FLAVOURS) - {"binance"}
