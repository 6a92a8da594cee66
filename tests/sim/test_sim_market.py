"""The generator: every event chain replays to the truth, ids are what the reference says they are."""

import itertools
from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_readers import NaiveBook, Recorder, truth_book
from small_exchange import SMALL, START_MS

from workers.sim.binance.exchange import binance_exchange
from workers.sim.binance.symbols import listed_symbol, stream_symbol
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.history import ChangeLog, TruthNotReachedError, TruthTooOldError
from workers.sim.settings import SimSettings

SPEEDS = {"spot": ("", "@100ms"), "usdm": ("", "@500ms", "@100ms", "@0ms")}
CASES = [("spot", "BTCUSDT"), ("spot", "PEPEUSDT"), ("usdm", "BTCUSDT"), ("usdm", "币安人生USDT")]
few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def build(market: str, symbol: str, **changed) -> Exchange:
    lists = {"spot_symbols": (), "usdm_symbols": (), f"{market}_symbols": (symbol,)}
    return binance_exchange(SimSettings(**{**SMALL, "rate_scale": 1.0, **lists, **changed}), START_MS)


def run(exchange: Exchange, seconds: float, step_ms: float = 50) -> None:
    end = exchange.now_ms + seconds * 1000
    while exchange.now_ms < end:
        exchange.advance(min(end, exchange.now_ms + step_ms))


def check_chain(events: list[dict], market: str) -> None:
    for earlier, later in itertools.pairwise(events):
        if market == "spot":
            assert later["U"] == earlier["u"] + 1
        else:
            assert later["pu"] == earlier["u"]
            assert later["U"] > earlier["u"]
        assert later["U"] <= later["u"]
        assert later["E"] >= earlier["E"]
    for event in events:
        assert event["b"] or event["a"]
        bids = [Decimal(price) for price, _ in event["b"]]
        asks = [Decimal(price) for price, _ in event["a"]]
        assert bids == sorted(set(bids), reverse=True)
        assert asks == sorted(set(asks))


@pytest.mark.parametrize(("market", "symbol"), CASES)
@given(seed=st.integers(0, 10**6), first_s=st.floats(0.1, 3), step_ms=st.floats(1, 700))
@few
def test_every_speed_replays_to_the_truth_at_every_u(market, symbol, seed, first_s, step_ms):
    exchange = build(market, symbol, seed=seed, jump_every_s=5, burst_every_s=5, burst_length_s=0.5)
    run(exchange, first_s)
    name = stream_symbol(exchange.listed(market)[symbol].spec)
    recorder = Recorder(exchange, market, *(f"{name}@depth{speed}" for speed in SPEEDS[market]))
    snapshot_id = exchange.listed(market)[symbol].market.last_id
    run(exchange, 2.5, step_ms)
    while not all(recorder.events.values()):  # a quiet symbol may have had no change yet
        run(exchange, 2.5, step_ms)
    exchange.pause()
    for events in recorder.events.values():
        check_chain(events, market)
        book = NaiveBook(truth_book(exchange, market, symbol, snapshot_id))
        for number, event in enumerate(events):
            book.apply(event)
            if number % 5 == 0 or event is events[-1]:
                assert book.same(truth_book(exchange, market, symbol, event["u"]))
        assert events[-1]["u"] == exchange.listed(market)[symbol].market.last_id
    exchange.listed(market)[symbol].market.book.check()


@pytest.mark.parametrize(("market", "symbol"), CASES)
def test_trade_ids_are_contiguous_and_sums_agree(market, symbol):
    exchange = build(market, symbol, rate_scale=5.0)
    feed = exchange.listed(market)[symbol]
    name = stream_symbol(feed.spec)
    recorder = Recorder(exchange, market, f"{name}@aggTrade", f"{name}@trade")
    run(exchange, 20)
    exchange.pause()
    aggregates, trades = recorder.events.values()
    assert len(aggregates) > 10
    assert len(trades) >= len(aggregates)
    quantities = {trade["t"]: Decimal(trade["q"]) for trade in trades}
    prices = {trade["t"]: trade["p"] for trade in trades}
    next_id = feed.market.tape.first_aggregate_id
    next_fill = feed.market.tape.first_trade_id
    for aggregate in aggregates:
        assert aggregate["a"] == next_id
        assert aggregate["f"] == next_fill
        fills = range(aggregate["f"], aggregate["l"] + 1)
        assert sum(quantities[fill] for fill in fills) == Decimal(aggregate["q"])
        assert {prices[fill] for fill in fills} == {aggregate["p"]}
        assert aggregate["T"] <= aggregate["E"]
        assert Decimal(aggregate.get("nq", aggregate["q"])) <= Decimal(aggregate["q"])
        next_id, next_fill = aggregate["a"] + 1, aggregate["l"] + 1
    assert next_fill == feed.market.tape.next_trade_id
    rows = [feed.wire.rest_aggregate(trade) for trade in feed.market.tape.aggregates(0, 10**9)]
    assert [row["a"] for row in rows] == [aggregate["a"] for aggregate in aggregates]


def test_off_book_trades_take_an_id_but_are_in_no_aggregate():
    exchange = build("usdm", "BTCUSDT", off_book_share=0.3)
    recorder = Recorder(exchange, "usdm", "btcusdt@aggTrade", "btcusdt@trade")
    run(exchange, 15)
    exchange.pause()
    aggregates, trades = recorder.events.values()
    off_book = {trade["t"] for trade in trades if trade["X"] != "MARKET"}
    aggregated = {fill for aggregate in aggregates for fill in range(aggregate["f"], aggregate["l"] + 1)}
    assert {trade["X"] for trade in trades} == {"MARKET", "INSURANCE_FUND", "ADL"}
    assert off_book.isdisjoint(aggregated)
    assert off_book | aggregated == {trade["t"] for trade in trades}
    assert [a["a"] for a in aggregates] == list(range(aggregates[0]["a"], aggregates[-1]["a"] + 1))


def test_usdm_batches_are_sent_on_a_100_ms_grid():
    exchange = build("usdm", "BTCUSDT")
    recorder = Recorder(exchange, "usdm", "btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@depth@500ms")
    run(exchange, 10, step_ms=3)
    for name, interval in (("btcusdt@aggTrade", 100), ("btcusdt@depth@100ms", 100)):
        assert len({event["E"] % interval for event in recorder.events[name]}) == 1
    assert len({event["E"] for event in recorder.events["btcusdt@depth@500ms"]}) <= 21


def test_the_tape_depends_on_seed_and_start_not_on_the_ticks():
    tapes = []
    for seed, step_ms in ((7, 5), (7, 333.3), (8, 5)):
        exchange = build("usdm", "BTCUSDT", seed=seed)
        recorder = Recorder(exchange, "usdm", "btcusdt@depth@100ms", "btcusdt@aggTrade")
        run(exchange, 5, step_ms)
        tapes.append(recorder.events)
    assert tapes[0] == tapes[1]
    assert tapes[0] != tapes[2]


@pytest.mark.parametrize(("market", "symbol"), CASES)
def test_book_ticker_and_partial_depth_agree_with_the_truth(market, symbol):
    exchange = build(market, symbol)
    name = stream_symbol(exchange.listed(market)[symbol].spec)
    ticker, partial = f"{name}@bookTicker", f"{name}@depth5@100ms"
    recorder = Recorder(exchange, market, ticker, partial, f"{name}@depth@100ms")
    run(exchange, 10)
    diffs = {event["u"] for event in recorder.events[f"{name}@depth@100ms"]}
    assert recorder.events[ticker]
    assert recorder.events[partial]
    for event in recorder.events[ticker][-20:]:
        book = NaiveBook(truth_book(exchange, market, symbol, event["u"]))
        assert Decimal(event["b"]) == max(book.bids)
        assert Decimal(event["a"]) == min(book.asks)
        assert Decimal(event["B"]) == book.bids[Decimal(event["b"])]
    for event in recorder.events[partial][-20:]:
        last_id = event["lastUpdateId"] if market == "spot" else event["u"]
        bids = event["bids"] if market == "spot" else event["b"]
        book = NaiveBook(truth_book(exchange, market, symbol, last_id))
        assert last_id in diffs
        assert [Decimal(price) for price, _ in bids] == sorted(book.bids, reverse=True)[:5]


def test_wire_shapes_follow_the_captures():
    exchange = binance_exchange(SimSettings(**SMALL), START_MS)
    names = ("btcusdt@depth@100ms", "btcusdt@aggTrade", "btcusdt@trade", "btcusdt@bookTicker")
    spot, usdm = Recorder(exchange, "spot", *names), Recorder(exchange, "usdm", *names)
    cjk = Recorder(exchange, "usdm", "币安人生usdt@depth@100ms")
    run(exchange, 5)
    keys = [list(recorder.events[name][0]) for recorder in (spot, usdm) for name in names]
    assert keys == [
        ["e", "E", "s", "U", "u", "b", "a"],
        ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"],
        ["e", "E", "s", "t", "p", "q", "T", "m", "M"],
        ["u", "s", "b", "B", "a", "A"],
        ["e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "st"],
        ["e", "E", "a", "s", "p", "q", "nq", "f", "l", "T", "m", "st"],
        ["e", "E", "T", "s", "t", "p", "q", "X", "m", "st"],
        ["e", "u", "s", "ps", "b", "B", "a", "A", "T", "E", "st"],
    ]
    assert cjk.events["币安人生usdt@depth@100ms"][0]["s"] == "币安人生USDT"
    zeros = {
        market: {q for event in events for side in "ba" for _, q in event[side] if not Decimal(q)}
        for market, events in (("spot", spot.events[names[0]]), ("usdm", usdm.events[names[0]]))
    }
    assert zeros == {"spot": {"0.00000000"}, "usdm": {"0.000"}}
    price, quantity = spot.events[names[0]][0]["b"][0]
    assert len(price.partition(".")[2]) == len(quantity.partition(".")[2]) == 8


def test_pause_holds_the_market_and_resume_goes_on_with_the_chain():
    exchange = build("usdm", "BTCUSDT")
    recorder = Recorder(exchange, "usdm", "btcusdt@depth@100ms", "btcusdt@depth@500ms")
    run(exchange, 3)
    exchange.pause()
    last_id = exchange.listed("usdm")["BTCUSDT"].market.last_id
    run(exchange, 10)
    assert exchange.listed("usdm")["BTCUSDT"].market.last_id == last_id
    exchange.resume(exchange.now_ms)
    run(exchange, 3)
    for events in recorder.events.values():
        check_chain(events, "usdm")
        assert events[-1]["u"] > last_id


def test_a_long_stop_of_the_process_is_not_made_up_for():
    exchange = build("usdm", "BTCUSDT")
    recorder = Recorder(exchange, "usdm", "btcusdt@depth@100ms")
    run(exchange, 1)
    before = len(recorder.events["btcusdt@depth@100ms"])
    exchange.advance(exchange.now_ms + 3_600_000)
    run(exchange, 1)
    assert len(recorder.events["btcusdt@depth@100ms"]) < before + 30
    check_chain(recorder.events["btcusdt@depth@100ms"], "usdm")


def test_snapshot_lags_and_equals_the_truth():
    exchange = build("spot", "BTCUSDT", snapshot_lag_ms=200, snapshot_refresh_ms=300)
    feed = exchange.listed("spot")["BTCUSDT"]
    run(exchange, 5, 10)
    ids = []
    for _ in range(60):
        run(exchange, 0.02, 10)
        ids.append(feed.snapshot_id(exchange.now_ms))
        assert ids[-1] < feed.market.last_id
        assert feed.market.changes.book_at(ids[-1])[0] == ids[-1]
    assert ids == sorted(ids)
    assert 3 <= len(set(ids)) <= 6


def test_change_log_forgets_whole_blocks_and_says_so():
    log = ChangeLog(100, [(5, 1)], limit=20_000)
    for number in range(60_000):
        log.append(101 + number, 5, number + 1)
        if log.full:
            log.roll([(5, number + 1)])
    assert log.oldest_id > 100
    with pytest.raises(TruthTooOldError):
        log.book_at(log.oldest_id - 1)
    with pytest.raises(TruthNotReachedError):
        log.book_at(log.last_id + 1)
    for update_id in (log.oldest_id, log.oldest_id + 1, log.last_id - 20_000, log.last_id):
        assert log.book_at(update_id) == (update_id, {5: update_id - 100})
    assert log.since(log.position - 3) == {5: 60_000}


def test_unknown_symbols_get_plausible_parameters_from_the_seed():
    for number in range(200):
        spec = listed_symbol("usdm", f"SIM{number:03d}USDT", 3)
        assert spec == listed_symbol("usdm", f"SIM{number:03d}USDT", 3)
        assert spec.quote_asset == "USDT"
        assert Decimal(spec.tick_size) > 0
        assert 0.5 < spec.instants_per_s < 5
    assert listed_symbol("usdm", "SIM000USDT", 3) != listed_symbol("usdm", "SIM000USDT", 4)


def test_settings_refuse_unknown_keys_and_impossible_values():
    assert msgspec.convert({"seed": 4, "extra_usdm": 2}, SimSettings).listed("usdm")[-1] == "SIM001USDT"
    for wrong in ({"sede": 1}, {"rate_scale": 0.0}, {"levels_per_side": 3}, {"off_book_share": 2.0}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, SimSettings)
