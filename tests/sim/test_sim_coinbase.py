"""Coinbase as it is simulated, against clients written from its documents and captures: both ways, and REST."""

import asyncio
import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_sockets import ModelSocket, SideBook, exchange_of, run, true_book

from workers.sim import SimSettings, SimulatedExchange
from workers.sim.coinbase.wire import rfc3339
from workers.sim.engine.faults import Fault

NAMES = ("BTC-USD", "DOGE-USD")
LISTS = {"symbols": {"advanced": NAMES, "exchange": NAMES}}
few = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def advanced(channel: str, *products: str, action: str = "subscribe") -> dict:
    return {"type": action, "product_ids": list(products), "channel": channel}


def exchange_request(*channels: object, products=NAMES, action: str = "subscribe") -> dict:
    return {"type": action, "product_ids": list(products), "channels": list(channels)}


def advanced_books(frames: list[dict]) -> dict[str, SideBook]:
    """The books that frames of `l2_data` make."""
    books: dict[str, SideBook] = {}
    for event in (event for frame in frames if frame["channel"] == "l2_data" for event in frame["events"]):
        book = books.setdefault(event["product_id"], SideBook())
        bids, asks = (
            [[row["price_level"], row["new_quantity"]] for row in event["updates"] if row["side"] == side]
            for side in ("bid", "offer")
        )
        (book.replace if event["type"] == "snapshot" else book.apply)(bids, asks)
    return books


def exchange_books(frames: list[dict]) -> dict[str, SideBook]:
    """The books that `snapshot` and `l2update` make."""
    books: dict[str, SideBook] = {}
    for frame in frames:
        if frame["type"] == "snapshot":
            books.setdefault(frame["product_id"], SideBook()).replace(frame["bids"], frame["asks"])
        elif frame["type"] == "l2update":
            bids, asks = (
                [[price, size] for name, price, size in frame["changes"] if name == side]
                for side in ("buy", "sell")
            )
            books[frame["product_id"]].apply(bids, asks)
    return books


def numbers(frames: list[dict]) -> list[int]:
    return [frame["sequence_num"] for frame in frames]


def same_as_truth(exchange, market: str, books: dict[str, SideBook]) -> bool:
    return all(
        book.levels()
        == true_book(exchange, market, product, exchange.listed(market)[product].market.last_id, "", 10**9)
        for product, book in books.items()
    )


def test_times_have_no_zeros_at_the_end():
    assert rfc3339(1787610853823100970) == "2026-08-24T22:34:13.82310097Z"
    assert rfc3339(1787610853813365299) == "2026-08-24T22:34:13.813365299Z"
    assert rfc3339(1787610853000000000) == "2026-08-24T22:34:13Z"


@given(seed=st.integers(0, 10**6), late_s=st.floats(0, 1.5), step_ms=st.floats(1, 300))
@few
def test_books_of_advanced_are_true_and_every_frame_is_numbered(seed, late_s, step_ms):
    exchange = exchange_of("coinbase", seed=seed, jump_every_s=3, **LISTS)
    early, late = ModelSocket(exchange, "/advanced"), ModelSocket(exchange, "/advanced")
    early.send({"type": "subscribe", "channel": "heartbeats"})
    early.send(advanced("level2", *NAMES))
    run(exchange, late_s, step_ms)
    for channel in ("level2", "market_trades"):
        late.send(advanced(channel, *NAMES))
    early.tick(late_s + 1)
    run(exchange, 2, step_ms)
    exchange.pause()
    for socket in (early, late):
        frames = socket.take()
        assert numbers(frames) == list(range(len(frames)))
        books = advanced_books(frames)
        assert list(books) == list(NAMES)
        assert same_as_truth(exchange, "advanced", books)


def test_levels_nobody_has_seen_are_deleted_and_some_updates_are_empty():
    exchange = exchange_of("coinbase", rate_scale=5, **LISTS)
    socket = ModelSocket(exchange, "/advanced")
    socket.send(advanced("level2", "BTC-USD"))
    run(exchange, 10)
    frames = socket.take()
    assert advanced_books(frames)["BTC-USD"].orphans > 0
    assert (
        sum(event["updates"] == [] for frame in frames for event in frame["events"][:1] if "updates" in event)
        > 5
    )


def test_the_texts_of_advanced_are_those_of_the_capture():
    exchange = exchange_of("coinbase", **LISTS)
    socket = ModelSocket(exchange, "/advanced")
    snapshot, ack = socket.send(advanced("level2", "BTC-USD"))
    head, _, rest = snapshot.partition('"sequence_num":0,')
    assert head.startswith('{"channel":"l2_data","timestamp":"2026-')
    assert rest.startswith(
        '"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2026-'
    )
    assert len(snapshot) > 100_000
    assert json.loads(snapshot)["events"][0]["updates"][-1]["side"] == "offer"
    head, _, rest = ack.partition('"sequence_num":1,')
    assert head.startswith('{"channel":"subscriptions","timestamp":"2026-')
    assert rest == '"events":[{"subscriptions":{"level2":["BTC-USD"]}}]}'
    run(exchange, 5)
    rows = [row for frame in socket.take() for event in frame["events"] for row in event.get("updates", ())]
    assert {row["new_quantity"] for row in rows if not Decimal(row["new_quantity"])} == {"0"}
    assert not any(row["price_level"].endswith("0") for row in rows if "." in row["price_level"])


def test_heartbeats_of_advanced_are_a_second_apart_and_numbered():
    socket = ModelSocket(exchange_of("coinbase", **LISTS), "/advanced")
    assert socket.take() == []
    [ack] = [json.loads(text) for text in socket.send({"type": "subscribe", "channel": "heartbeats"})]
    assert ack["events"] == [{"subscriptions": {"heartbeats": ["heartbeats"]}}]
    assert socket.tick(0.9) == []
    first, second = (json.loads(text) for now_s in (1.0, 2.0) for text in socket.tick(now_s))
    assert [frame["sequence_num"] for frame in (first, second)] == [1, 2]
    assert first["channel"] == "heartbeats"
    [event] = first["events"]
    assert event["heartbeat_counter"] == 1
    assert event["current_time"].endswith(" +0000 UTC m=+1.000000000")


@pytest.mark.parametrize("path", ["/advanced", "/exchange"])
def test_who_asks_for_nothing_within_five_seconds_is_cut_off(path):
    exchange = exchange_of("coinbase", **LISTS)
    silent, asking = ModelSocket(exchange, path), ModelSocket(exchange, path)
    asking.send(advanced("level2", "BTC-USD") if path == "/advanced" else exchange_request("matches"))
    assert silent.conversation.next_tick_s == 5
    for socket in (silent, asking):
        socket.tick(4.9)
        assert socket.end is None
        socket.tick(5)
    assert silent.end is not None
    assert asking.end is None
    asking.conversation.wrote(5)
    asking.tick(95)
    assert (asking.end is not None) == (path == "/advanced")  # its channels are closed when they are idle


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("lose count=1", True),
        ("silence for_s=0.5", True),
        ("corrupt", False),
        ("duplicate", False),
        ("swap", False),
    ],
)
def test_what_the_numbers_show(fault, seen):
    exchange = exchange_of("coinbase", **LISTS)
    socket, other = ModelSocket(exchange, "/advanced"), ModelSocket(exchange, "/advanced")
    socket.send(advanced("level2", "BTC-USD", "DOGE-USD"))
    other.send(advanced("level2", "DOGE-USD"))
    exchange.set_fault(Fault.parse(f"{fault} stream=level2:BTC-USD"))
    run(exchange, 3)
    got = numbers(socket.take())
    assert (got != list(range(len(got)))) == seen
    rest = numbers(other.take())
    assert rest == list(range(len(rest)))


def test_refusals_of_advanced_cost_the_whole_request():
    exchange = exchange_of("coinbase", **LISTS)
    socket = ModelSocket(exchange, "/advanced")
    [text] = socket.send(advanced("level2", "BTC-USD", "NO-SUCH"))
    assert json.loads(text) == {
        "type": "error",
        "message": "Failed to subscribe: NO-SUCH is not a valid product",
    }
    assert not socket.conversation.streams
    for bad in (
        {"type": "subscribe", "channels": ["level2"]},
        "[]",
        "{",
        {"type": "hello"},
        advanced("level2"),
    ):
        assert json.loads(socket.send(bad)[0])["type"] == "error"
    exchange.set_fault(Fault.parse("refuse_stream stream=level2:DOGE-USD"))
    assert "DOGE-USD" in json.loads(socket.send(advanced("level2", *NAMES))[0])["message"]
    *_, ack = socket.send(advanced("level2", "BTC-USD"))
    assert json.loads(ack)["sequence_num"] == 1  # errors have no numbers


def test_requests_of_an_address_are_limited_over_all_its_sockets():
    exchange = exchange_of("coinbase", **LISTS)
    sockets = [ModelSocket(exchange, "/advanced") for _ in range(2)]
    answers = [
        json.loads(socket.send({"type": "subscribe", "channel": "heartbeats"})[0])
        for _ in range(5)
        for socket in sockets
    ]
    assert [answer.get("message") for answer in answers] == [None] * 8 + ["rate limit exceeded"] * 2


def test_an_alias_is_another_name_of_the_same_product():
    exchange = exchange_of("coinbase", **LISTS)
    socket = ModelSocket(exchange, "/advanced")
    snapshot, ack = [json.loads(text) for text in socket.send(advanced("level2", "BTC-USDC"))]
    assert snapshot["events"][0]["product_id"] == "BTC-USD"
    assert ack["events"] == [{"subscriptions": {"level2": ["BTC-USD"]}}]


def test_trades_of_advanced_begin_with_the_newest_hundred_and_have_the_makers_side():
    exchange = exchange_of("coinbase", rate_scale=10, **LISTS)
    run(exchange, 8)
    socket = ModelSocket(exchange, "/advanced")
    socket.send(advanced("market_trades", "BTC-USD"))
    run(exchange, 3)
    exchange.pause()
    snapshot, _ack, *updates = socket.take()
    assert snapshot["events"][0]["type"] == "snapshot"
    first = [int(trade["trade_id"]) for trade in snapshot["events"][0]["trades"]]
    assert first == list(range(first[0], first[0] - 100, -1))
    trades = {
        int(trade["trade_id"]): trade
        for frame in (snapshot, *updates)
        for event in frame["events"]
        for trade in event["trades"]
    }
    assert len(updates) < 3 * 5  # sent together
    truth = exchange.listed("advanced")["BTC-USD"].truth_trades(min(trades), 10**6)["trades"]
    assert sorted(trades) == [row["a"] for row in truth]
    for row in truth:
        trade = trades[row["a"]]
        assert (trade["price"], trade["size"]) == (row["p"], row["q"])
        assert trade["side"] == ("BUY" if row["m"] else "SELL")


@pytest.mark.parametrize("path", ["/advanced", "/exchange"])
def test_a_rewriting_fault_keeps_what_it_does_not_mean(path):
    tapes = []
    for faults in ((), ("unknown_keys",)):
        exchange = exchange_of("coinbase", faults=faults, rate_scale=3, **LISTS)
        socket = ModelSocket(exchange, path)
        if path == "/advanced":
            socket.send(advanced("level2", *NAMES))
            socket.send(advanced("market_trades", *NAMES))
        else:
            socket.send(exchange_request("level2_batch", "matches"))
        run(exchange, 3)
        frames = socket.take()
        assert any("zz" in frame for frame in frames) == bool(faults)
        tapes.append(
            [{key: frame[key] for key in frame if key not in ("zz", "rpi", "ext")} for frame in frames]
        )
    assert tapes[0] == tapes[1]


@pytest.mark.parametrize("path", ["/advanced", "/exchange"])
def test_deletes_of_unknown_levels_and_absurd_ids_arrive(path):
    exchange = exchange_of("coinbase", rate_scale=3, faults=("absurd_id", "unknown_deletes"), **LISTS)
    socket = ModelSocket(exchange, path)
    if path == "/advanced":
        socket.send(advanced("level2", "BTC-USD"))
        socket.send(advanced("market_trades", "BTC-USD"))
    else:
        socket.send(exchange_request("level2_batch", "matches", products=["BTC-USD"]))
    run(exchange, 3)
    exchange.pause()
    frames = socket.take()
    books = advanced_books(frames) if path == "/advanced" else exchange_books(frames)
    assert books["BTC-USD"].orphans > 10
    assert same_as_truth(exchange, path[1:], books)
    assert "9007199254740992" in json.dumps(frames)


async def test_rest_of_advanced(world):
    here = await world(flavour="coinbase", rate_scale=10.0, **LISTS)
    client = await here.connect("/advanced")
    await client.send(advanced("market_trades", "BTC-USD"))
    await client.until(lambda frame: frame.get("channel") == "market_trades" and frame["sequence_num"] > 5)
    base = "/api/v3/brokerage"
    _, _, body = await here.get(f"{base}/market/products", product_type="SPOT")
    rows = {row["product_id"]: row for row in body["products"]}
    assert list(rows) == ["BTC-USD", "BTC-USDC", "DOGE-USD", "DOGE-USDC"]
    assert rows["BTC-USDC"]["alias"] == "BTC-USD"
    assert (rows["BTC-USD"]["alias"], rows["BTC-USD"]["price_increment"]) == ("", "0.01")
    assert Decimal(rows["BTC-USD"]["approximate_quote_24h_volume"]) > 0
    _, _, page = await here.get(f"{base}/market/products", limit=1, offset=2)
    assert [row["product_id"] for row in page["products"]] == ["DOGE-USD"]
    _, _, time = await here.get(f"{base}/time")
    assert time["epochMillis"].isdigit()
    _, _, found = await here.get(f"{base}/market/products/BTC-USD/ticker", limit=3)
    ids = [int(trade["trade_id"]) for trade in found["trades"]]
    assert ids == [ids[0], ids[0] - 1, ids[0] - 2]
    _, _, none = await here.get(f"{base}/market/products/BTC-USD/ticker", limit=3, start=0, end=1)
    assert none["trades"] == []
    _, _, book = await here.get(f"{base}/market/product_book", product_id="BTC-USD", limit=5)
    assert [len(book["pricebook"][side]) for side in ("bids", "asks")] == [5, 5]
    status, _, unknown = await here.get(f"{base}/market/products/NO-SUCH/ticker", limit=1)
    assert (status, unknown["error"]) == (404, "NOT_FOUND")
    answers = await asyncio.gather(*(here.get(f"{base}/time") for _ in range(40)))
    assert any(status == 429 for status, _, _ in answers)


def test_an_address_may_open_eight_sockets_of_advanced_a_second():
    attempts = SimulatedExchange(SimSettings(flavour="coinbase"))._attempts
    assert [attempts["advanced"].admit("192.0.2.1", 0.1 * n) for n in range(9)] == [True] * 8 + [False]
    assert all(attempts["exchange"].admit("192.0.2.1", 0.0) for _ in range(20))
    assert attempts["advanced"].admit("192.0.2.1", 1.0)
