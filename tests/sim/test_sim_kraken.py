"""Kraken as it is simulated, against a client written from its documents: checksums, truncation, refusals, REST."""

import base64
import hashlib
import hmac
import json
import zlib
from decimal import Decimal

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_sockets import ModelSocket, exchange_of, run

from workers.sim import SimSettings, SimulatedExchange
from workers.sim.engine.faults import Fault
from workers.sim.kraken.tokens import KrakenTokens
from workers.sim.kraken.wire import checksum

LISTS = {"symbols": {"spot": ("BTC-USD", "DOGE-USD")}}
few = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
DOCUMENTED = (
    "788716421103066788722418924377887258877452788737649768227887556339106678876222871577887728106757887786508749278877"
    "918940804978878045224318578871512665037886845100788673597897886583000078865715324037886455100788606461852878860551"
    "007885922012860778858863404462"
)


def subscribe(channel: str, *symbols: str, **more) -> dict:
    return {
        "method": "subscribe",
        "params": {"channel": channel, "symbol": list(symbols)} | more,
        "req_id": 1,
    }


class KrakenBook:
    """Sets, deletes, then cuts each side to the depth; `wrong` counts checksums that do not agree."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"bids": {}, "asks": {}}
        self.right = self.wrong = self.orphans = 0

    def take(self, text: str) -> None:
        frame = json.loads(text, parse_float=str, parse_int=str)
        [data] = frame["data"]
        for name, side in self.sides.items():
            if frame["type"] == "snapshot":
                side.clear()
            for level in data[name]:
                if Decimal(level["qty"]):
                    side[Decimal(level["price"])] = level["price"], level["qty"]
                elif side.pop(Decimal(level["price"]), None) is None:
                    self.orphans += 1
            for price in sorted(side, reverse=name == "bids")[self.depth :]:
                del side[price]
        texts = [text.replace(".", "").lstrip("0") for level in self.top(10) for text in level]
        if zlib.crc32("".join(texts).encode()) == int(data["checksum"]):
            self.right += 1
        else:
            self.wrong += 1

    def top(self, count: int) -> list[tuple[str, str]]:
        asks, bids = self.sides["asks"], self.sides["bids"]
        return [asks[p] for p in sorted(asks)[:count]] + [bids[p] for p in sorted(bids, reverse=True)[:count]]


def books(socket: ModelSocket) -> list[str]:
    found = [text for text in socket.texts if text.startswith('{"channel":"book"')]
    socket.texts.clear()
    return found


def truth(exchange, symbol: str, depth: int, text: str) -> list[tuple[str, str]]:
    """The best levels at the time a message says."""
    feed = exchange.listed("spot")[symbol]
    stamp = json.loads(text)["data"][0]["timestamp"]
    place = next(n for n, micros in enumerate(feed.books[depth]._stamps) if stamp_of(micros) == stamp)
    _, levels = feed.market.changes.book_at(feed.truth_id(feed.books[depth]._stamps[place], str(depth)))
    asks = sorted(-key for key in levels if key < 0)[:depth]
    bids = sorted((key for key in levels if key > 0), reverse=True)[:depth]
    price, quantity = feed.spelling.price, feed.spelling.quantity
    return [(price(p), quantity(levels[-p])) for p in asks] + [(price(p), quantity(levels[p])) for p in bids]


def stamp_of(micros: int) -> str:
    from datetime import UTC, datetime

    seconds, part = divmod(micros, 10**6)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{part:06d}Z"


def test_the_checksum_is_that_of_the_document():
    assert zlib.crc32(DOCUMENTED.encode()) == 1406471562
    assert checksum([("0.05005", "0.00000500")], [("0.05000", "0.00000500")]) == zlib.crc32(b"50055005000500")


@pytest.mark.parametrize("symbol", ["BTC-USD", "DOGE-USD"])
@pytest.mark.parametrize("depth", [10, 25, 1000])
@given(seed=st.integers(0, 10**6), late_s=st.floats(0, 1.5), step_ms=st.floats(1, 300))
@few
def test_every_checksum_is_right_for_a_client_that_cuts(symbol, depth, seed, late_s, step_ms):
    exchange = exchange_of("kraken", seed=seed, jump_every_s=3, **LISTS)
    early, late = ModelSocket(exchange, "/v2"), ModelSocket(exchange, "/v2")
    name = symbol.replace("-", "/")
    early.send(subscribe("book", name, depth=depth))
    run(exchange, late_s, step_ms)
    late.send(subscribe("book", name, depth=depth))
    run(exchange, 2, step_ms)
    exchange.pause()
    for socket in (early, late):
        book = KrakenBook(depth)
        texts = books(socket)
        for number, text in enumerate(texts):
            book.take(text)
            if number % 10 == 0 or number == len(texts) - 1:
                assert book.top(depth) == truth(exchange, symbol, depth, text)
        assert (book.wrong, book.orphans) == (0, 0)
        assert book.right == len(texts) > 1


def test_the_texts_are_those_of_the_capture():
    exchange = exchange_of("kraken", **LISTS)
    socket = ModelSocket(exchange, "/v2")
    [status] = socket.texts
    assert status.startswith(
        '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
    )
    assert json.loads(status)["data"][0]["connection_id"] > 2**53
    request = {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}}
    reply, snapshot = socket.send(request)
    assert reply.startswith(
        '{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD"},'
        '"success":true,"time_in":"'
    )
    assert snapshot.startswith(
        '{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":'
    )
    quantities = [level["qty"] for level in json.loads(snapshot, parse_float=str)["data"][0]["asks"]]
    assert all(len(text.partition(".")[2]) == 8 for text in quantities)


def test_every_symbol_is_answered_and_refused_by_name():
    socket = ModelSocket(exchange_of("kraken", **LISTS), "/v2")
    socket.take()
    socket.send(subscribe("book", "BTC/USD", "XBT/USD", depth=10))
    good, _, bad = socket.take()
    assert good["success"]
    assert good["req_id"] == 1
    assert (bad["success"], bad["symbol"]) == (False, "XBT/USD")
    assert bad["error"] == "Currency pair not supported XBT/USD"
    assert json.loads(socket.send(subscribe("book", "BTC/USD", depth=7))[0])["success"] is False
    assert json.loads(socket.send(subscribe("book", "BTC/USD", depth=10))[0])["error"] == "Already subscribed"
    pong = json.loads(socket.send({"method": "ping", "req_id": 7})[0])
    assert (pong["method"], pong["req_id"]) == ("pong", 7)
    assert json.loads(socket.send("[]")[0])["success"] is False


def test_heartbeats_come_after_a_second_without_data_once_something_is_subscribed():
    socket = ModelSocket(exchange_of("kraken", **LISTS), "/v2")
    socket.take()
    assert socket.tick(5) == []
    socket.send(subscribe("book", "BTC/USD", depth=10))
    socket.conversation.wrote(5)
    socket.take()
    assert socket.tick(5.9) == []
    assert socket.tick(6) == ['{"channel":"heartbeat"}']
    silent = ModelSocket(socket.exchange, "/v2")
    silent.tick(60)
    assert silent.end is not None


async def test_the_first_heartbeat_does_not_wait_for_the_end_of_a_silent_client(world):
    here = await world(flavour="kraken", **LISTS)
    await here.post("/control/pause")
    client = await here.connect("/v2")
    await client.send(subscribe("book", "BTC/USD", depth=10))
    await client.until(lambda frame: frame.get("channel") == "heartbeat", 30)


def test_trades_begin_with_the_last_fifty_and_are_consecutive():
    exchange = exchange_of("kraken", rate_scale=5, **LISTS)
    run(exchange, 8)
    socket = ModelSocket(exchange, "/v2")
    socket.send(subscribe("trade", "BTC/USD"))
    run(exchange, 3)
    _, _, snapshot, *updates = socket.take()
    assert snapshot["type"] == "snapshot"
    assert len(snapshot["data"]) == 50
    ids = [trade["trade_id"] for frame in (snapshot, *updates) for trade in frame["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert ids[-1] + 1 == exchange.listed("spot")["BTC-USD"].truth_trades(0, 0)["next_id"]


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [("lose count=1", True), ("corrupt count=1", True), ("checksum count=1", True), ("delay", False)],
)
def test_what_the_checksum_sees(fault, wrong):
    exchange = exchange_of("kraken", **LISTS)
    socket = ModelSocket(exchange, "/v2")
    socket.send(subscribe("book", "BTC/USD", depth=10))
    run(exchange, 1)
    exchange.set_fault(Fault.parse(f"{fault} stream=book.10:*"))
    run(exchange, 3)
    book = KrakenBook(10)
    for text in books(socket):
        book.take(text)
    assert (book.wrong > 0) == wrong


def test_a_rewriting_fault_keeps_the_text_of_numbers():
    tapes = []
    for faults in ((), ("unknown_keys",)):
        exchange = exchange_of("kraken", faults=faults, **LISTS)
        socket = ModelSocket(exchange, "/v2")
        socket.send(subscribe("book", "BTC/USD", "DOGE/USD", depth=10))
        run(exchange, 2)
        tapes.append([json.loads(text, parse_float=str)["data"] for text in books(socket)])
    assert tapes[0] == tapes[1]


def test_instruments_begin_with_all_pairs_and_follow():
    exchange = exchange_of("kraken", **LISTS)
    socket = ModelSocket(exchange, "/v2")
    socket.take()
    socket.send({"method": "subscribe", "params": {"channel": "instrument", "snapshot": True}})
    _, snapshot = socket.take()
    assert [row["symbol"] for row in snapshot["data"]["pairs"]] == ["BTC/USD", "DOGE/USD"]
    exchange.set_fault(Fault.parse("halt symbol=DOGE-USD"))
    [update] = socket.take()
    assert [row["status"] for row in update["data"]["pairs"]] == ["maintenance"]


async def test_rest_has_three_spellings(world):
    here = await world(flavour="kraken", rate_scale=10.0, **LISTS)
    client = await here.connect("/v2")
    await client.send(subscribe("trade", "BTC/USD", snapshot=False))
    await client.until(lambda frame: frame.get("channel") == "trade")
    _, _, pairs = await here.get("/0/public/AssetPairs")
    assert pairs["result"]["XXBTZUSD"]["altname"] == "XBTUSD"
    assert pairs["result"]["XXBTZUSD"]["wsname"] == "XBT/USD"
    assert pairs["result"]["XDGUSD"]["wsname"] == "XDG/USD"
    _, _, trades = await here.get("/0/public/Trades", pair="XBTUSD", since=0, count=2)
    rows = trades["result"]["XXBTZUSD"]
    assert [row[6] for row in rows] == [rows[0][6] + n for n in range(len(rows))]
    assert len(rows[0][0].partition(".")[2]) == 5
    _, _, more = await here.get("/0/public/Trades", pair="XBTUSD", since=trades["result"]["last"])
    assert all(row[6] > rows[-1][6] for row in more["result"]["XXBTZUSD"])
    _, _, depth = await here.get("/0/public/Depth", pair="XXBTZUSD", count=3)
    assert [len(depth["result"]["XXBTZUSD"][side]) for side in ("asks", "bids")] == [3, 3]
    _, _, unknown = await here.get("/0/public/Depth", pair="BTC/USD")
    assert unknown["error"] == ["EQuery:Unknown asset pair"]
    _, _, tickers = await here.get("/0/public/Ticker")
    assert Decimal(tickers["result"]["XXBTZUSD"]["v"][1]) > 0
    answers = [await here.get("/0/public/Time") for _ in range(25)]
    assert any(body["error"] == ["EGeneral:Too many requests"] for _, _, body in answers)


def test_levels_that_fall_out_of_the_depth_are_not_told():
    exchange = exchange_of("kraken", jump_every_s=1, **LISTS)
    socket = ModelSocket(exchange, "/v2")
    socket.send(subscribe("book", "BTC/USD", depth=10))
    run(exchange, 5)
    book = KrakenBook(10**6)  # one that does not cut
    for text in books(socket):
        book.take(text)
    assert max(map(len, book.sides.values())) > 20


KEY = {"api_key": "sesame", "api_secret": "b3BlbiBzZXNhbWU="}


def signed(
    nonce: int, key: str = KEY["api_key"], secret: str = KEY["api_secret"]
) -> tuple[dict[str, str], str]:
    """Headers and body of a request for a token, as Kraken's guide has them."""
    body = f"nonce={nonce}"
    message = b"/0/private/GetWebSocketsToken" + hashlib.sha256(f"{nonce}{body}".encode()).digest()
    mac = hmac.new(base64.b64decode(secret), message, hashlib.sha512).digest()
    return {"API-Key": key, "API-Sign": base64.b64encode(mac).decode()}, body


def test_a_token_is_for_those_who_sign_with_the_key():
    tokens = KrakenTokens(KEY["api_key"], KEY["api_secret"])
    assert tokens.answer(*signed(5, key="other"), 0) == {"error": ["EAPI:Invalid key"]}
    assert tokens.answer(*signed(5, secret="b3BlbiBzYW1lc2U="), 0) == {"error": ["EAPI:Invalid signature"]}
    assert tokens.answer({"API-Key": KEY["api_key"]}, "nonce=5", 0) == {"error": ["EAPI:Invalid signature"]}
    assert tokens.answer({"API-Key": KEY["api_key"]}, "", 0) == {"error": ["EAPI:Invalid nonce"]}
    first = tokens.answer(*signed(5), 0)
    assert (first["error"], first["result"]["expires"]) == ([], 900)
    assert tokens.answer(*signed(5), 0) == {"error": ["EAPI:Invalid nonce"]}
    assert tokens.answer(*signed(6), 0)["result"] != first["result"]
    token = first["result"]["token"]
    assert tokens.given_ms(token, 900_000) == 0
    assert tokens.given_ms(token, 900_001) is None
    assert tokens.given_ms("made up", 0) is None
    assert KrakenTokens("", "").answer(*signed(7, key=""), 0) == {"error": ["EAPI:Invalid key"]}


async def test_rest_gives_tokens_and_sockets_of_orders_want_them():
    simulated = SimSettings(
        flavour="kraken", port=0, key=KEY, symbols={"spot": ("BTC-USD",)}, levels_per_side=50
    )
    request = subscribe("level3", "BTC/USD", depth=10)
    async with SimulatedExchange(simulated) as exchange, aiohttp.ClientSession() as client:

        async def said(path: str, token: str | None) -> dict:
            """What is answered to the request, after the status."""
            async with client.ws_connect(f"{exchange.websocket_url}{path}") as socket:
                params = request["params"] | ({} if token is None else {"token": token})
                await socket.send_json(request | {"params": params})
                assert (await socket.receive_json())["channel"] == "status"
                return await socket.receive_json()

        headers, body = signed(1)
        url = f"{exchange.url}/0/private/GetWebSocketsToken"
        async with client.post(url, data=body, headers=headers) as response:
            token = (await response.json())["result"]["token"]
        assert "unavailable on this endpoint" in (await said("/v2", token))["error"]
        assert (await said("/l3/v2", None))["error"] == "Token(s) not found"
        assert (await said("/l3/v2", "made up"))["error"] == "ESession:Invalid session"
        good = await said("/l3/v2", token)
        assert good["result"] == {"channel": "level3", "depth": 10, "snapshot": True, "symbol": "BTC/USD"}
        exchange.step()  # so that the fault is later than the token
        exchange.exchange.set_fault(Fault.parse("old_token"))
        exchange.step()
        assert (await said("/l3/v2", token))["error"] == "ESession:Invalid session"
        async with client.post(url, data=signed(2)[1], headers=signed(2)[0]) as response:
            newer = (await response.json())["result"]["token"]
        assert (await said("/l3/v2", newer))["success"]
