"""The figures of the top against the formulas as they are printed, and rolling sums against lists."""

from __future__ import annotations

import math
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.model.analytics.figures import (
    LiquidityScale,
    depth_imbalance,
    liquidity_score,
    microprice,
    mid,
    spread,
    spread_bps,
)
from workers.model.analytics.quoting import QuoteParameters, suggest_quote
from workers.model.analytics.rolling import (
    BUCKETS,
    OrderFlowImbalance,
    RollingSums,
    Volatility,
    Vwap,
    step_flow,
)
from workers.model.analytics.walls import LEAST_NEIGHBOURS, ratio_to_others

BIDS = [(99.0, 3.0), (98.0, 1.0)]
ASKS = [(101.0, 1.0), (102.0, 5.0)]
SCALE = LiquidityScale(band_bps=150, half_spread_bps=200, half_depth=101)

quantities = st.integers(1, 50).map(float)
tops = st.tuples(st.integers(95, 100).map(float), quantities, st.integers(101, 105).map(float), quantities)
steps = st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 9).map(float), quantities), max_size=40)


def test_the_figures_of_a_book():
    assert (mid(BIDS, ASKS), spread(BIDS, ASKS), spread_bps(BIDS, ASKS)) == (100.0, 2.0, 200.0)
    assert microprice(BIDS, ASKS) == (99 * 1 + 101 * 3) / 4
    assert depth_imbalance(BIDS, ASKS, 1) == 0.5
    assert depth_imbalance(BIDS, ASKS, 2) == -0.2
    assert liquidity_score(BIDS, ASKS, SCALE) == 0.5  # both parts are a half: 101 within 1.5 of the mid


@pytest.mark.parametrize("figure", [mid, spread, spread_bps, microprice, depth_imbalance])
def test_a_side_that_is_empty_tells_nothing(figure):
    assert figure([], ASKS) is figure(BIDS, []) is None
    assert liquidity_score([], ASKS, SCALE) is None


@given(tops)
def test_microprice_stays_within_the_spread_and_leans_to_the_thinner_side(top):
    bid, bid_quantity, ask, ask_quantity = top
    price, middle = microprice([(bid, bid_quantity)], [(ask, ask_quantity)]), (bid + ask) / 2
    assert bid <= price <= ask
    assert math.isclose(price, middle) or (price > middle) == (bid_quantity > ask_quantity)


@given(tops, quantities, st.floats(0, 3))
def test_more_depth_and_less_spread_are_more_liquid(top, more, wider):
    bid, bid_quantity, ask, ask_quantity = top
    scale = LiquidityScale(band_bps=2000)
    now = liquidity_score([(bid, bid_quantity)], [(ask, ask_quantity)], scale)
    assert 0 <= now <= 1
    assert liquidity_score([(bid, bid_quantity + more)], [(ask, ask_quantity + more)], scale) > now
    assert liquidity_score([(bid - wider, bid_quantity)], [(ask + wider, ask_quantity)], scale) <= now + 1e-2


def paper_flow(before, top):
    """e_n of Cont, Kukanov and Stoikov, with its indicator functions."""
    return (
        (top[0] >= before[0]) * top[1]
        - (top[0] <= before[0]) * before[1]
        - (top[2] <= before[2]) * top[3]
        + (top[2] >= before[2]) * before[3]
    )


@settings(max_examples=40)
@given(st.lists(tops, min_size=2, max_size=20))
def test_order_flow_imbalance_is_the_papers_sum(told):
    flow = OrderFlowImbalance(60_000)
    for number, (bid, bid_quantity, ask, ask_quantity) in enumerate(told):
        flow.on_top([(bid, bid_quantity)], [(ask, ask_quantity)], number)
    expected = sum(paper_flow(before, top) for before, top in zip(told, told[1:], strict=False))
    assert flow.value(len(told)) == expected
    assert all(step_flow(a, b) == paper_flow(a, b) for a, b in zip(told, told[1:], strict=False))
    flow.check()


def test_a_flow_is_not_summed_across_a_time_without_a_book():
    flow = OrderFlowImbalance(60_000)
    flow.on_top([(99.0, 1.0)], [(100.0, 1.0)], 1)
    flow.on_top([], [(100.0, 1.0)], 2)
    assert flow.on_top([(99.0, 50.0)], [(100.0, 1.0)], 3) == 0


@settings(max_examples=40)
@given(steps)
def test_rolling_sums_and_vwap_are_those_of_all_that_is_in_the_window(told):
    window_ms, now = 6000, 1_700_000_000_000_000
    sums, vwap, all_told = RollingSums(window_ms, 2), Vwap(window_ms), []
    for pause, price, quantity in told:
        now += pause
        sums.add(now, price, quantity)
        vwap.on_trade(price, quantity, now)
        all_told.append((now, price, quantity))
        sums.check()
    step = window_ms * 1000 // BUCKETS
    inside = [row for row in all_told if row[0] // step > now // step - BUCKETS]
    assert sums.sums(now) == [sum(row[1] for row in inside), sum(row[2] for row in inside)]
    volume = sum(quantity for _, _, quantity in inside)
    expected = sum(price * quantity for _, price, quantity in inside) / volume if volume else None
    assert vwap.value(now) == (pytest.approx(expected) if volume else None)
    assert vwap.value(now + 10 * window_ms * 1000) is None
    vwap.check()


def test_time_that_goes_back_counts_as_now():
    sums = RollingSums(6000, 1)
    sums.add(10_000_000, 1.0)
    sums.add(9_000_000, 1.0)
    sums.check()
    assert sums.sums(10_000_000) == [2.0]


def test_volatility_is_by_root_second_and_ignores_the_bounce_within_a_sample():
    volatility = Volatility(60_000, sample_ms=1000)
    for number in range(41):
        volatility.on_mid(100.0 + number % 2 * (number % 4 == 1), number * 500_000)
    assert volatility.value(20_000_000) == 0
    volatility.begin_anew()
    for number in range(11):
        volatility.on_mid(100.0 + 3 * (number % 2), 100_000_000 + number * 4_000_000)
    assert volatility.value(140_000_000) == math.sqrt(9 / 4)
    volatility.check()


@given(st.lists(quantities, min_size=1, max_size=25))
def test_a_quantity_is_compared_with_the_median_of_the_others(sizes):
    for index, size in enumerate(sizes):
        others = sizes[:index] + sizes[index + 1 :]
        expected = size / median(others) if len(others) >= LEAST_NEIGHBOURS else 0
        assert ratio_to_others(sorted(sizes), size) == expected


@given(st.floats(-5, 5), st.floats(0.01, 3), st.floats(0.01, 2))
def test_quotes_stand_around_the_reservation_price_as_in_the_paper(inventory, volatility, risk):
    rules = QuoteParameters(risk_aversion=risk, fill_decay=1.5, horizon_s=30, inventory=inventory)
    quote = suggest_quote(100.0, volatility, rules)
    variance = volatility**2 * 30
    assert quote.reservation == pytest.approx(100 - inventory * risk * variance)
    assert quote.ask - quote.bid == pytest.approx(risk * variance + 2 / risk * math.log(1 + risk / 1.5))
    assert (quote.ask + quote.bid) / 2 == pytest.approx(quote.reservation)


def test_quotes_are_rounded_away_from_each_other_and_need_no_aversion():
    quote = suggest_quote(100.03, 0.0, QuoteParameters(risk_aversion=0, fill_decay=2, tick=0.25))
    assert (quote.bid, quote.ask, quote.reservation) == (99.5, 100.75, 100.03)
    quote = suggest_quote(0.6, 0.0, QuoteParameters(risk_aversion=0, fill_decay=1 / 0.3, tick=0.1))
    assert (quote.bid, quote.ask) == (pytest.approx(0.3), pytest.approx(0.9)), "what is on a tick stays there"
