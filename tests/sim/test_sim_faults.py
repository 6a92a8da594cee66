"""Faults: each does what its sentence says, and the truth stays the truth."""

import itertools
from decimal import Decimal

import msgspec
import pytest
from sim_readers import NaiveBook, Recorder, truth_book
from small_exchange import SMALL, START_MS

from workers.sim.binance.exchange import binance_exchange
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.faults import EVENT_KINDS, KINDS, MARKET_KINDS, Fault, FaultBoard
from workers.sim.settings import SimSettings

DEPTH = "btcusdt@depth@100ms"


def build(market: str = "usdm", **changed) -> Exchange:
    lists = {"spot_symbols": (), "usdm_symbols": (), f"{market}_symbols": ("BTCUSDT", "1000SHIBUSDT")}
    return binance_exchange(SimSettings(**{**SMALL, "rate_scale": 1.0, **lists, **changed}), START_MS)


def run(exchange: Exchange, seconds: float, step_ms: float = 20) -> None:
    end = exchange.now_ms + seconds * 1000
    while exchange.now_ms < end:
        exchange.advance(min(end, exchange.now_ms + step_ms))


def recorded(fault: str, seconds: float = 5, name: str = DEPTH, **changed) -> tuple[list[dict], list[dict]]:
    """The events of one stream without and with a fault, otherwise the same tape."""
    tapes = []
    for faults in ((), (fault,)):
        exchange = build(faults=faults, **changed)
        recorder = Recorder(exchange, "usdm", name)
        run(exchange, seconds)
        exchange.pause()
        tapes.append(recorder.events[name])
    return tapes[0], tapes[1]


def test_lose_takes_events_away_and_is_repeatable():
    clean, faulty = recorded("lose stream=*@depth* share=0.2")
    assert 0 < len(faulty) < len(clean)
    assert [event for event in clean if event in faulty] == faulty
    assert recorded("lose stream=*@depth* share=0.2")[1] == faulty
    assert recorded("lose stream=*@depth* share=0.2", seed=1, spot_symbols=())[0] == clean


def test_lose_after_a_while_a_few_times():
    clean, faulty = recorded("lose stream=*@depth* skip=3 count=2")
    assert faulty == clean[:3] + clean[5:]
    clean, faulty = recorded("lose symbol=1000SHIBUSDT")
    assert faulty == clean
    clean, faulty = recorded("lose after_s=2 for_s=1")
    lost = [event for event in clean if event not in faulty]
    assert 7 <= len(lost) <= 12
    assert all(START_MS + 1900 <= event["E"] <= START_MS + 3200 for event in lost)


def test_duplicate_swap_and_delay():
    clean, faulty = recorded("duplicate skip=2 count=1")
    assert faulty == [*clean[:3], *clean[2:]]
    clean, faulty = recorded("swap skip=2 count=1")
    assert faulty == [*clean[:2], clean[3], clean[2], *clean[4:]]
    clean, faulty = recorded("delay value=700")
    assert faulty == clean


def test_repeat_sends_an_event_of_a_while_ago_again():
    clean, faulty = recorded("repeat skip=6 count=1")
    assert faulty == [*clean[:8], clean[2], *clean[8:]]
    assert recorded("repeat share=0.3")[1] == recorded("repeat share=0.3")[1] != clean


def test_events_nobody_can_read():
    exchange = build(faults=("truncate skip=2 count=1", "absurd skip=4 count=1"))
    sent: list[str] = []
    exchange.topics.find("usdm", frozenset({"public"}), DEPTH).subscribers[Collector(sent)] = None
    run(exchange, 2)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(sent[2])
    levels = [level for side in "ba" for level in msgspec.json.decode(sent[4])[side]]
    assert [quantity for _, quantity in levels if not quantity.replace(".", "").isdigit()]
    for text in (*sent[:2], *sent[3:]):
        assert msgspec.json.decode(text)["e"] == "depthUpdate"


class Collector:
    """Takes the texts of events as they are."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def deliver(self, event) -> None:
        if not event.lost:
            self._texts.append(event.payload)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_unknown_deletes_change_nothing(market):
    exchange = build(market)
    feed = exchange.listed(market)["BTCUSDT"]
    exchange.set_fault(Fault.parse("unknown_deletes"))
    recorder = Recorder(exchange, market, DEPTH)
    book = NaiveBook(truth_book(exchange, market, "BTCUSDT", feed.first_id))
    run(exchange, 2)
    exchange.pause()
    known = {Decimal(abs(key)) * feed.spec.tick_units / 10**feed.spec.price_decimals
             for key, _ in feed.market.book.levels()}  # fmt: skip
    unknown = 0
    for event in recorder.events[DEPTH]:
        zeros = {Decimal(price) for price, quantity in event["b"] + event["a"] if not Decimal(quantity)}
        unknown += len({price for price in zeros if price < min(known) / 10 or price > max(known) * 5})
        book.apply(event)
    assert unknown > 10
    assert book.same(truth_book(exchange, market, "BTCUSDT", feed.market.last_id))


def test_deep_levels_come_and_stay():
    exchange = build()
    market = exchange.listed("usdm")["BTCUSDT"].market
    farthest = market.book.bids.keys[0], market.book.asks.keys[0]
    before = len(market.book.bids.keys)
    exchange.set_fault(Fault.parse("deep_levels value=500 symbol=BTCUSDT"))
    deep = [
        {key: quantity for key, quantity in market.book.levels() if 0 < key < farthest[0]},
        {key: quantity for key, quantity in market.book.levels() if key < farthest[1]},
    ]
    assert [len(levels) for levels in deep] == [500, 500]
    run(exchange, 5)
    held = dict(market.book.levels())
    assert all(held.get(key) == quantity for levels in deep for key, quantity in levels.items())
    assert len(market.book.bids.keys) < before * 1.1 + 500
    market.book.check()


def test_the_largest_quantity_is_the_captured_one():
    exchange = build("spot")
    recorder = Recorder(exchange, "spot", "1000shibusdt@depth@100ms")
    exchange.set_fault(Fault.parse("largest_quantity symbol=1000SHIBUSDT"))
    run(exchange, 1)
    events = recorder.events["1000shibusdt@depth@100ms"]
    for side in "ba":
        largest = max(Decimal(quantity) for event in events for _, quantity in event[side])
        assert Decimal(92_233_720_368) <= largest < Decimal("92233720368.54775808")


def test_delay_sends_late_and_pause_sends_at_once():
    exchange = build(faults=("delay stream=*@aggTrade value=2000",))
    recorder = Recorder(exchange, "usdm", DEPTH, "btcusdt@aggTrade")
    run(exchange, 1.5)
    assert recorder.events[DEPTH]
    assert recorder.events["btcusdt@aggTrade"] == []
    exchange.pause()
    tape = exchange.listed("usdm")["BTCUSDT"].market.tape
    assert recorder.events["btcusdt@aggTrade"][-1]["a"] == tape.next_aggregate_id - 1


@pytest.mark.parametrize("kind", ["unknown_keys", "shuffle_keys", "zero_spelling"])
def test_rewriting_keeps_the_meaning(kind):
    clean, faulty = recorded(kind)
    orders, zeros = set(), set()
    for before, after in zip(clean, faulty, strict=True):
        for side in "ba":
            assert [(p, Decimal(q)) for p, q in before[side]] == [(p, Decimal(q)) for p, q in after[side]]
            zeros |= {q for _, q in after[side] if not Decimal(q)}
        assert {key: after[key] for key in before if key not in "ba"} == {
            key: before[key] for key in before if key not in "ba"
        }
        orders.add(tuple(after))
    assert (len(orders) > 1) == (kind == "shuffle_keys")
    assert (len(zeros) > 1) == (kind == "zero_spelling")
    assert ("zz" in faulty[0]) == (kind == "unknown_keys")


def test_cross_and_corrupt_make_a_book_wrong_without_a_gap():
    for kind, crossed in (("cross", True), ("corrupt", False)):
        exchange = build(faults=(f"{kind} stream={DEPTH} skip=5 count=1",))
        recorder = Recorder(exchange, "usdm", DEPTH)
        book = NaiveBook(truth_book(exchange, "usdm", "BTCUSDT", exchange.listed("usdm")["BTCUSDT"].first_id))
        run(exchange, 1)
        for event in recorder.events[DEPTH][:6]:
            book.apply(event)
        assert not book.same(truth_book(exchange, "usdm", "BTCUSDT", book.last_id))
        assert (max(book.bids) >= min(book.asks)) is crossed
        pairs = itertools.pairwise(recorder.events[DEPTH])
        assert all(later["pu"] == earlier["u"] for earlier, later in pairs)


@pytest.mark.parametrize(
    "fault",
    [
        "burst value=10",
        "drift value=3000",
        "drift value=-3000",
        "price value=100010",
        "price value=70000",
        "empty_bids for_s=1",
        "empty_asks for_s=1",
        "tick_size value=10",
        "deep_levels value=300",
        "largest_quantity",
        "halt for_s=1",
        "delist",
    ],
)
@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_after_a_market_fault_the_chain_still_replays_to_the_truth(market, fault):
    exchange = build(market)
    feed = exchange.listed(market)["BTCUSDT"]
    recorder = Recorder(exchange, market, DEPTH)
    book = NaiveBook(truth_book(exchange, market, "BTCUSDT", feed.first_id))
    run(exchange, 0.5)
    exchange.set_fault(Fault.parse(f"{fault} symbol=BTCUSDT"))
    run(exchange, 0.5)
    during = len(recorder.events[DEPTH])
    run(exchange, 1.5)
    exchange.pause()
    feed.market.book.check()
    for earlier, later in itertools.pairwise(recorder.events[DEPTH]):
        assert later["U"] == earlier["u"] + 1 if market == "spot" else later["pu"] == earlier["u"]
    for event in recorder.events[DEPTH]:
        book.apply(event)
    assert book.same(truth_book(exchange, market, "BTCUSDT", feed.market.last_id))
    assert (len(recorder.events[DEPTH]) > during) is (fault != "delist")
    if fault.startswith("price"):
        best = max(book.bids)
        assert abs(best - Decimal(fault.partition("=")[2])) < 500


def test_one_side_is_empty_while_the_fault_lasts():
    exchange = build()
    market = exchange.listed("usdm")["BTCUSDT"].market
    active = exchange.set_fault(Fault.parse("empty_asks symbol=BTCUSDT"))
    run(exchange, 2)
    assert market.book.asks.keys == []
    assert market.book.bids.keys
    exchange.remove_faults(active.number)
    run(exchange, 2)
    assert market.book.asks.keys
    market.book.check()


def test_tick_size_change_shows_in_new_prices():
    exchange = build()
    recorder = Recorder(exchange, "usdm", DEPTH)
    known = {key for key, _ in exchange.listed("usdm")["BTCUSDT"].market.book.levels()}
    exchange.set_fault(Fault.parse("tick_size value=50"))
    run(exchange, 3)
    known = {Decimal(abs(key)) / 10 for key in known}
    new = {
        Decimal(price)
        for event in recorder.events[DEPTH]
        for price, quantity in event["b"] + event["a"]
        if Decimal(quantity)
    } - known
    assert new
    assert all(price % 5 == 0 for price in new)


def test_listing_and_delisting_are_announced():
    exchange = build()
    recorder = Recorder(exchange, "usdm", "!contractInfo")
    exchange.set_fault(Fault.parse("list market=usdm symbol=新币USDT"))
    trades = Recorder(exchange, "usdm", "新币usdt@depth@100ms")
    exchange.set_fault(Fault.parse("delist symbol=1000SHIBUSDT after_s=1"))
    run(exchange, 5)
    announced = [(event["s"], event["cs"]) for event in recorder.events["!contractInfo"]]
    assert announced == [("新币USDT", "TRADING"), ("1000SHIBUSDT", "SETTLING")]
    assert trades.events["新币usdt@depth@100ms"]
    assert exchange.listed("usdm")["1000SHIBUSDT"].status == "SETTLING"


def test_a_listing_may_begin_to_trade_later():
    exchange = build()
    recorder = Recorder(exchange, "usdm", "!contractInfo")
    exchange.set_fault(Fault.parse("list market=usdm symbol=新币USDT value=2"))
    depth = Recorder(exchange, "usdm", "新币usdt@depth@100ms")
    run(exchange, 1.9)
    assert exchange.listed("usdm")["新币USDT"].status == "PENDING_TRADING"
    assert depth.events["新币usdt@depth@100ms"] == []
    run(exchange, 3)
    announced = [(event["s"], event["cs"]) for event in recorder.events["!contractInfo"]]
    assert announced == [("新币USDT", "PENDING_TRADING"), ("新币USDT", "TRADING")]
    assert depth.events["新币usdt@depth@100ms"]


def test_a_symbol_taken_off_the_exchange_comes_back_anew():
    exchange = build()
    recorder = Recorder(exchange, "usdm", "!contractInfo")
    before = exchange.listed("usdm")["1000SHIBUSDT"]
    exchange.set_fault(Fault.parse("unlist symbol=1000SHIBUSDT market=usdm"))
    run(exchange, 1)
    assert "1000SHIBUSDT" not in exchange.listed("usdm")
    stopped_at = before.market.last_id
    run(exchange, 1)
    assert before.market.last_id == stopped_at
    exchange.set_fault(Fault.parse("list symbol=1000SHIBUSDT market=usdm"))
    after = exchange.listed("usdm")["1000SHIBUSDT"]
    assert after is not before
    assert [event["cs"] for event in recorder.events["!contractInfo"]] == ["CLOSE", "TRADING"]
    run(exchange, 2)
    assert after.market.last_id > after.first_id


def test_fault_texts_are_checked():
    assert Fault.parse("lose share=0.5 count=3") == Fault(kind="lose", share=0.5, count=3)
    for text in ("", "nonsense", "lose shape=1", "lose share=x", "list symbol=X"):
        with pytest.raises((ValueError, msgspec.ValidationError)):
            Fault.parse(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"faults": ["loose"]}, SimSettings)
    board = FaultBoard(1)
    board.add(Fault(kind="lose", after_s=5), 0)
    assert board.advance(4_999) == ([], [])
    assert len(board.advance(5_000)[0]) == 1
    assert len(KINDS) >= len(EVENT_KINDS) + len(MARKET_KINDS)
