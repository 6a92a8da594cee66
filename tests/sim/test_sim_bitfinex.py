"""Bitfinex as it is simulated, against a client written from its documents: numbers, checksums, refusals, REST."""

import json
import re
import zlib
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_sockets import ModelSocket, exchange_of, run

from workers.sim.bitfinex.wire import checksum, first_fill, javascript_number, trade_id
from workers.sim.engine.event_faults import rewritten
from workers.sim.engine.faults import Fault
from workers.sim.engine.rest_routes import kept
from workers.sim.engine.topics import Event

LISTS = {"symbols": {"spot": ("BTCUSD", "DOGE_USD", "XRPBTC")}}
ALL_FLAGS = 229376
few = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def opened(exchange, flags: int = ALL_FLAGS) -> ModelSocket:
    socket = ModelSocket(exchange, "/ws/2")
    assert socket.send({"event": "conf", "flags": flags}) == [
        f'{{"event":"conf","status":"OK","flags":{flags}}}'
    ]
    socket.texts.clear()
    return socket


def book(symbol: str, length: int = 100) -> dict:
    request = {"event": "subscribe", "channel": "book", "symbol": symbol, "prec": "P0", "freq": "F0"}
    return request | {"len": str(length)}


class BitfinexClient:
    """Books of one socket by channel: the first payload is whole, a count of 0 deletes, numbers stay as sent."""

    def __init__(self) -> None:
        self.sides: dict[int, tuple[dict, dict]] = {}
        self.sequence = self.right = self.wrong = self.gaps = self.orphans = self.beats = 0
        self.names: dict[int, str] = {}

    def take(self, text: str) -> None:
        if text.startswith("{"):
            event = json.loads(text)
            if event["event"] == "subscribed":
                self.names[event["chanId"]] = event["channel"]
            return
        frame = json.loads(text, parse_float=str, parse_int=str)
        channel, sequence = int(frame[0]), int(frame[-2])
        self.gaps += sequence != self.sequence + 1
        self.sequence = sequence
        if self.names[channel] != "book":
            return
        if frame[1] == "hb":
            self.beats += 1
        elif frame[1] == "cs":
            agrees = self.checksum(channel) == int(frame[2])
            self.right, self.wrong = self.right + agrees, self.wrong + (not agrees)
        elif channel not in self.sides:
            self.sides[channel] = ({}, {})
            for row in frame[1]:
                self.apply(channel, row)
        else:
            self.apply(channel, frame[1])

    def apply(self, channel: int, row: list[str]) -> None:
        price, count, amount = row
        side = self.sides[channel][amount.startswith("-")]
        if count != "0":
            side[Decimal(price)] = price, amount
            return
        assert amount in ("1", "-1")
        self.orphans += side.pop(Decimal(price), None) is None

    def levels(self, channel: int) -> tuple[list, list]:
        bids, asks = self.sides[channel]
        return [bids[p] for p in sorted(bids, reverse=True)], [asks[p] for p in sorted(asks)]

    def checksum(self, channel: int) -> int:
        bids, asks = (levels[:25] for levels in self.levels(channel))
        texts = []
        for place in range(25):
            texts += [":".join(side[place]) for side in (bids, asks) if place < len(side)]
        value = zlib.crc32(":".join(texts).encode())
        return value - 2**32 if value >= 2**31 else value


def test_the_checksum_is_the_server_s(recorded_folder):
    vector = json.loads((recorded_folder / "venues" / "vectors" / "bitfinex_checksum.json").read_text())
    rows: dict[str, tuple[str, str]] = {}
    for text in vector["frames"][2:-1]:
        payload = json.loads(text, parse_float=str, parse_int=str)[1]
        for price, _, amount in payload if isinstance(payload[0], list) else [payload]:
            rows[price] = price, amount
    bids = sorted((row for row in rows.values() if row[1][0] != "-"), key=lambda row: -Decimal(row[0]))
    asks = sorted((row for row in rows.values() if row[1][0] == "-"), key=lambda row: Decimal(row[0]))
    assert checksum(bids, asks) == vector["expected"] == -1175357890
    plain = [(f"{Decimal(price):f}", amount) for price, amount in bids]
    assert [javascript_number(price) for price, _ in plain] == [price for price, _ in bids]


@given(st.integers(1, 10**12))
def test_ids_of_trades_rise_and_the_first_one_from_an_id_on_is_found(fill):
    assert trade_id(fill + 1) > trade_id(fill) + 1
    for wire_id in range(trade_id(fill - 1) + 1, trade_id(fill) + 1):
        assert first_fill(wire_id) == fill


@pytest.mark.parametrize("length", [1, 100])
@given(seed=st.integers(0, 10**6), late_s=st.floats(0, 1.5), step_ms=st.floats(1, 300))
@few
def test_books_are_those_of_the_truth_and_every_checksum_is_right(length, seed, late_s, step_ms):
    exchange = exchange_of("bitfinex", seed=seed, jump_every_s=3, **LISTS)
    early, late = opened(exchange), opened(exchange)
    early.send(book("tXRPBTC", length))
    early.send(book("tBTCUSD", length))
    run(exchange, late_s, step_ms)
    late.send(book("tXRPBTC", length))
    run(exchange, 7, step_ms)
    exchange.pause()
    feed = exchange.listed("spot")["XRPBTC"]
    bids, asks = feed.market.book.top(length)
    truth = tuple(
        [(feed.wire.price_number(price), sign + feed.wire.amount_number(steps)) for price, steps in side]
        for side, sign in ((bids, ""), (asks, "-"))
    )
    for socket in (early, late):
        client = BitfinexClient()
        for text in socket.texts:
            client.take(text)
        channel = next(iter(client.sides))
        assert client.levels(channel) == truth
        assert (client.wrong, client.gaps, client.orphans) == (0, 0, 0)
        assert client.right > 0
        assert length == 1 or any("e-7" in text for text in socket.texts)  # below 10^-6 an exponent


def test_the_texts_are_those_of_the_documents():
    exchange = exchange_of("bitfinex", **LISTS)
    socket = ModelSocket(exchange, "/ws/2")
    [info] = socket.texts
    assert re.fullmatch(
        r'\{"event":"info","version":2,"serverId":"[0-9a-f-]{36}","platform":\{"status":1\}\}', info
    )
    socket.send({"event": "conf", "flags": ALL_FLAGS})
    reply, snapshot = socket.send(book("tBTCUSD", 250))
    number = json.loads(reply)["chanId"]
    assert reply == (
        f'{{"event":"subscribed","channel":"book","chanId":{number},"symbol":"tBTCUSD","prec":"P0","freq":"F0",'
        '"len":"250","pair":"BTCUSD"}'
    )
    assert re.match(rf"\[{number},\[\[86\d\d\d,\d,\d+\.\d+\],\[", snapshot)
    assert re.search(r",\[\d+,\d,-\d+(\.\d+)?\]\],1,\d{13}\]$", snapshot)
    reply, snapshot = socket.send({"event": "subscribe", "channel": "trades", "symbol": "DOGE:USD"})
    trades = json.loads(reply)["chanId"]
    assert reply == (
        f'{{"event":"subscribed","channel":"trades","chanId":{trades},"symbol":"tDOGE:USD","pair":"DOGE:USD"}}'
    )
    assert snapshot == f"[{trades},[],2,{int(exchange.now_ms)}]"
    assert socket.send({"event": "unsubscribe", "chanId": trades}) == [
        f'{{"event":"unsubscribed","status":"OK","chanId":{trades}}}'
    ]
    refused = {"event": "subscribe", "channel": "book", "symbol": "tNOPE", "prec": "P0", "len": "25"}
    [refusal] = socket.send(refused)
    assert refusal == (
        '{"channel":"book","symbol":"tNOPE","prec":"P0","len":"25","event":"error","msg":"symbol: invalid",'
        '"code":10300,"pair":"NOPE"}'
    )
    run(exchange, 4)
    texts = socket.texts
    assert any(re.fullmatch(rf"\[{number},\[\d+,0,-?1\],\d+,\d{{13}}\]", text) for text in texts)
    assert any(re.fullmatch(rf"\[{number},\[\d+,[1-5],-?\d+\.\d+\],\d+,\d{{13}}\]", text) for text in texts)
    assert any(re.fullmatch(rf'\[{number},"cs",-?\d+,\d+,\d{{13}}\]', text) for text in texts)


@pytest.mark.parametrize(
    ("flags", "ends"), [(0, ""), (32768, r",\d{13}"), (65536, r",\d+"), (98304, r",\d+,\d{13}")]
)
def test_flags_say_what_a_frame_ends_with(flags, ends):
    exchange = exchange_of("bitfinex", **LISTS)
    socket = opened(exchange, flags)
    socket.send(book("tBTCUSD"))
    run(exchange, 6)
    socket.texts.pop(0)
    assert all(re.fullmatch(rf"\[\d+,\[\[?.*?\]\]?{ends}\]", text) for text in socket.texts)
    assert not any('"cs"' in text for text in socket.texts)


def test_requests_are_refused_by_code():
    socket = opened(exchange_of("bitfinex", **LISTS))

    def code(request: object) -> int:
        return json.loads(socket.send(request)[0])["code"]

    socket.send(book("tBTCUSD"))
    assert code(book("tBTCUSD")) == 10301
    assert code(book("tBTCUSD", 7)) == 10300
    assert code(book("tBTCUSD") | {"prec": "P9"}) == 10300
    assert code({"event": "subscribe", "channel": "nosuch", "symbol": "tBTCUSD"}) == 10302
    assert code({"event": "unsubscribe", "chanId": 1}) == 10400
    assert code({"event": "nosuch"}) == 10000
    assert socket.send("no JSON") == []
    assert json.loads(socket.send({"event": "ping", "cid": 7})[0])["cid"] == 7


def test_a_socket_takes_25_channels():
    pairs = tuple(f"X{letter}YUSD"[:6] for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    socket = opened(exchange_of("bitfinex", symbols={"spot": pairs}))
    replies = [json.loads(socket.send(book(f"t{pair}", 25))[0]) for pair in pairs]
    assert [reply["event"] for reply in replies] == ["subscribed"] * 25 + ["error"]
    assert replies[-1]["code"] == 10305


def test_channels_without_data_have_heartbeats_which_are_counted_too():
    exchange = exchange_of("bitfinex", **LISTS)
    socket = opened(exchange)
    for symbol in ("tBTCUSD", "tXRPBTC"):
        socket.send(book(symbol))
    socket.conversation.wrote(3)
    socket.texts.clear()
    assert socket.tick(17.9) == []
    first, second = socket.tick(18)
    assert re.fullmatch(r'\[\d+,"hb",3,\d{13}\]', first)
    assert json.loads(second)[2] == 4
    silent = ModelSocket(exchange, "/ws/2")
    silent.tick(60)
    assert silent.end is not None


def test_trades_come_twice_and_begin_with_the_last_thirty():
    exchange = exchange_of("bitfinex", rate_scale=5, **LISTS)
    run(exchange, 8)
    socket = opened(exchange)
    socket.send({"event": "subscribe", "channel": "trades", "symbol": "tBTCUSD"})
    run(exchange, 3)
    exchange.pause()
    _, [_, snapshot, _, _], *frames = (json.loads(text) for text in socket.texts)
    old = [row[0] for row in snapshot]
    assert len(old) == 30
    assert old == sorted(old, reverse=True)
    executed = [frame[2] for frame in frames if frame[1] == "te"]
    assert executed == [frame[2] for frame in frames if frame[1] == "tu"]
    feed = exchange.listed("spot")["BTCUSD"]
    truth = feed.truth_trades(old[-1], 10**6)["trades"]
    assert [*old[::-1], *(row[0] for row in executed)] == [row["a"] for row in truth]
    for [_, at_ms, amount, price], row in zip(executed, truth[30:], strict=True):
        assert (at_ms, abs(Decimal(str(amount))), Decimal(str(price)), amount < 0) == (
            row["T"], Decimal(row["q"]), Decimal(row["p"]), row["m"]
        )  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "gap", "wrong"),
    [
        ("lose count=1", True, True),
        ("corrupt count=20", False, True),
        ("checksum", False, True),
        ("duplicate count=3", False, False),
        ("delay", False, False),
    ],
)
def test_what_sequence_and_checksum_see(fault, gap, wrong):
    exchange = exchange_of("bitfinex", **LISTS)
    socket = opened(exchange)
    socket.send(book("tBTCUSD", 25))
    run(exchange, 1)
    exchange.set_fault(Fault.parse(f"{fault} stream=book.*"))
    run(exchange, 4)
    client = BitfinexClient()
    for text in socket.texts:
        client.take(text)
    assert (client.gaps > 0, client.wrong > 0) == (gap, wrong)


def test_rewriting_faults_keep_the_text_of_numbers_and_a_cut_frame_is_none():
    tapes = []
    for faults in ((), ("unknown_keys",)):
        exchange = exchange_of("bitfinex", faults=faults, **LISTS)
        socket = opened(exchange)
        for symbol in ("tBTCUSD", "tXRPBTC"):
            socket.send(book(symbol))
            socket.send({"event": "subscribe", "channel": "trades", "symbol": symbol})
        run(exchange, 4)
        tapes.append(socket.texts)
    assert tapes[0] == tapes[1]
    exchange.set_fault(Fault.parse("truncate count=1"))
    socket.texts.clear()
    run(exchange, 1)
    bad = [text for text in socket.texts if not text.endswith("]")]
    assert len(bad) == 1


def test_a_message_of_several_frames_is_cut_in_its_last_one():
    """Those that are cut off whole would be missing without a number that shows it."""
    exchange = exchange_of("bitfinex", **LISTS)
    fault = exchange.set_fault(Fault.parse("truncate"))
    event = rewritten(Event("book", "[0,[1,1,2],5]\n[0,[2,1,2],5]"), fault, exchange.flavour)
    assert event.payload == "[0,[1,1,2],5]\n[0,[2,"


async def test_rest_has_arrays_and_refuses_by_list(world):
    here = await world(flavour="bitfinex", rate_scale=10.0, **LISTS)
    client = await here.connect("/ws/2", max_size=None)
    await client.send(book("tBTCUSD"))
    await client.send({"event": "subscribe", "channel": "trades", "symbol": "tBTCUSD"})
    await client.until(lambda frame: isinstance(frame, list) and frame[1] == "te")
    assert (await here.get("/v2/platform/status"))[2] == [1]
    assert (await here.get("/v2/conf/pub:list:pair:exchange"))[2] == [["BTCUSD", "DOGE:USD", "XRPBTC"]]
    assert (await here.get("/v2/conf/pub:list:pair:futures"))[2] == [[]]
    _, _, trades = await here.get("/v2/trades/tBTCUSD/hist", start=0, limit=2, sort=1)
    _, _, newest = await here.get("/v2/trades/tBTCUSD/hist", limit=2)
    assert trades[0][0] < trades[1][0] <= newest[0][0]
    assert newest[0][0] > newest[1][0]
    _, _, again = await here.get("/v2/trades/tBTCUSD/hist", start=0, limit=2, sort=1)
    assert again == trades
    _, _, levels = await here.get("/v2/book/tBTCUSD/P0", len=25)
    assert [row[2] > 0 for row in levels] == [True] * 25 + [False] * 25
    status, _, refused = await here.get("/v2/trades/tNOPE/hist")
    assert (status, refused) == (500, ["error", 10020, "symbol: invalid"])
    _, _, rows = await here.get("/v2/tickers", symbols="ALL")
    assert [row[0] for row in rows] == ["tBTCUSD", "tDOGE:USD", "tXRPBTC", "fUSD"]
    assert rows[0][8] > 0
    answers = [await here.get("/v2/trades/tBTCUSD/hist", _=number) for number in range(40)]
    assert any((code, body) == (429, {"error": "ERR_RATE_LIMIT"}) for code, _, body in answers)


def test_an_edge_keeps_a_reply_for_some_seconds():
    now, replies = [0.0], count()
    answer = kept(lambda _query, _faults: next(replies), 5_000, lambda: now[0])
    assert [answer({"a": "1"}, None), answer({"a": "2"}, None), answer({"a": "1"}, None)] == [0, 1, 0]
    now[0] = 5_000.0
    assert answer({"a": "1"}, None) == 2


async def test_maintenance_is_told_from_its_beginning_to_its_end_and_closes_nothing(world):
    here = await world(flavour="bitfinex")
    client = await here.connect("/ws/2")
    for code, value in ((20060, 0), (20061, 1)):
        await here.post("/control/faults", {"fault": f"maintenance value={value}"})
        await client.until(lambda frame, code=code: isinstance(frame, dict) and frame.get("code") == code)
    assert client.socket.close_code is None
