"""What is published of a symbol against its definitions in docs/analytics.md, computed anew from all that was told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.analytics.symbol import SymbolAnalytics
from workers.model.books.top_of_book import TopOfBook
from workers.model.events import Trade
from workers.settings.analytics import AnalyticsSettings

SETTINGS = AnalyticsSettings(
    window_s=60, risk_aversion=0.2, fill_decay=1.5, horizon_s=30, inventory=-2, half_depth=500
)
BEGAN_MS = 1_787_620_344_000
WINDOW_MS, STEP_MS = 60_000, 1_000

PRICES = {"mid", "microprice", "vwap", "quote_bid", "quote_ask", "reservation"}

Levels = list[tuple[float, float]]


@dataclass
class Twin:
    """All tops and trades, with the time at which they count."""

    tops: list[tuple[int, Levels, Levels]] = field(default_factory=list)
    trades: list[tuple[int, float, float]] = field(default_factory=list)
    now_ms: int = 0

    def inside(self, at_ms: int) -> bool:
        """A window is kept in sixtieths of it."""
        return at_ms // STEP_MS > self.now_ms // STEP_MS - WINDOW_MS // STEP_MS

    def vwap(self) -> float | None:
        traded = [(price, quantity) for at, price, quantity in self.trades if self.inside(at)]
        volume = sum(quantity for _, quantity in traded)
        return sum(price * quantity for price, quantity in traded) / volume if volume else None

    def flow(self) -> float:
        total = 0.0
        for (_, bids0, asks0), (at, bids, asks) in pairwise(self.tops):
            if not (bids0 and asks0 and bids and asks) or not self.inside(at):
                continue
            (b0, B0), (a0, A0), (b, B), (a, A) = bids0[0], asks0[0], bids[0], asks[0]  # noqa: N806 -- as in the doc
            total += (b >= b0) * B - (b <= b0) * B0 - (a <= a0) * A + (a >= a0) * A0
        return total

    def volatility(self) -> float | None:
        squares = seconds = 0.0
        last: tuple[int, float] | None = None
        for at, bids, asks in self.tops:
            if not (bids and asks):
                continue
            mid = (bids[0][0] + asks[0][0]) / 2
            if last is None:
                last = at, mid
            elif at - last[0] >= 1_000:
                if self.inside(at):
                    squares, seconds = squares + (mid - last[1]) ** 2, seconds + (at - last[0]) / 1_000
                last = at, mid
        return math.sqrt(squares / seconds) if seconds else None

    def figures(self) -> dict[str, float | None]:
        _, bids, asks = self.tops[-1]
        found: dict[str, float | None] = {"vwap": self.vwap(), "order_flow_imbalance": self.flow()}
        volatility = found["volatility"] = self.volatility()
        names = "spread spread_bps mid microprice depth_imbalance liquidity quote_bid quote_ask reservation"
        found |= dict.fromkeys(names.split())
        if not (bids and asks):
            return found
        (b, B), (a, A) = bids[0], asks[0]  # noqa: N806 -- as in the doc
        mid = (a + b) / 2
        micro = (b * A + a * B) / (A + B)
        sums = [sum(quantity for _, quantity in side[:5]) for side in (bids, asks)]
        reach = mid * SETTINGS.band_bps / 10_000 * (1 + 1e-12)
        depth = min(
            sum(price * quantity for price, quantity in side if abs(price - mid) <= reach)
            for side in (bids, asks)
        )
        bps = (a - b) / mid * 10_000
        tightness = SETTINGS.half_spread_bps / (SETTINGS.half_spread_bps + bps) if bps >= 0 else None
        found |= {"spread": a - b, "spread_bps": bps, "mid": mid, "microprice": micro}
        found["depth_imbalance"] = (sums[0] - sums[1]) / sum(sums)
        if tightness is not None:
            found["liquidity"] = math.sqrt(tightness * depth / (depth + SETTINGS.half_depth))
        if volatility is not None:
            risk, variance = SETTINGS.risk_aversion, volatility**2 * SETTINGS.horizon_s
            reservation = micro - SETTINGS.inventory * risk * variance
            half = risk * variance / 2 + math.log(1 + risk / SETTINGS.fill_decay) / risk
            found |= {
                "reservation": reservation,
                "quote_bid": reservation - half,
                "quote_ask": reservation + half,
            }
        return found


sizes = st.one_of(
    st.integers(1, 1_000).map(lambda parts: f"{parts / 128}"),  # sums of these are exact in any order
    st.sampled_from(["0.000000000000000001", "900000000000"]),
)
scales = st.sampled_from([0.01, 1, 12_345_678])
ladders = st.lists(sizes, max_size=10)
tops = st.tuples(
    st.just("top"), st.integers(-200, 9_000), st.integers(990, 1_000), ladders, st.integers(-3, 4), ladders
)
trades = st.tuples(st.just("trade"), st.integers(-200, 9_000), st.integers(990, 1_004), sizes, st.booleans())


@settings(max_examples=60, deadline=None)
@given(scales, st.lists(tops | trades, min_size=1, max_size=60))
def test_each_figure_is_that_of_its_definition(scale, told):
    analytics, twin, clock = SymbolAnalytics(SETTINGS), Twin(), BEGAN_MS
    twin.now_ms = clock
    for number, (kind, later, ticks, *rest) in enumerate(told):
        clock = max(BEGAN_MS, clock + later)
        twin.now_ms = max(twin.now_ms, clock)
        if kind == "trade":
            quantity, is_buyer_maker = rest
            price = f"{ticks * scale:.2f}"
            analytics.on_trade(
                Trade("S", number, price, quantity, number, number, clock, clock, is_buyer_maker)
            )
            twin.trades.append((twin.now_ms, float(price), float(quantity)))
        else:
            bid_sizes, gap, ask_sizes = rest
            bids = [(f"{(ticks - n) * scale:.2f}", size) for n, size in enumerate(bid_sizes)]
            asks = [(f"{(ticks + gap + n) * scale:.2f}", size) for n, size in enumerate(ask_sizes)]
            analytics.on_top(TopOfBook("S", bids, asks, number, clock, 0, 1, 0, 0))
            floats = [[(float(price), float(size)) for price, size in side] for side in (bids, asks)]
            twin.tops.append((twin.now_ms, *floats))
        analytics.check()
        if not twin.tops:
            assert analytics.figures()["state"] == "withheld"
            continue
        published = analytics.figures()
        for name, expected in twin.figures().items():
            if expected is None:
                assert published[name] == "", name
            else:
                rel = 1e-12 if name in PRICES else 1e-9
                assert float(published[name]) == pytest.approx(expected, rel=rel, abs=1e-12), name


def shown(analytics: SymbolAnalytics, at_ms: int, size: str = "2") -> dict[str, str]:
    analytics.on_top(TopOfBook("S", [("99", size)], [("101", "3")], 1, at_ms, 0, 1, 0, 0))
    return analytics.figures()


def test_a_time_to_come_and_a_clock_that_is_set_back_do_not_stay():
    analytics = SymbolAnalytics(SETTINGS)
    shown(analytics, BEGAN_MS)
    analytics.on_trade(Trade("S", 1, "500", "9", 1, 1, BEGAN_MS + 10 * 365 * 86_400_000, BEGAN_MS, False))
    found = shown(analytics, BEGAN_MS + 1_000, "4")
    assert (found["event_time"], found["vwap"], found["order_flow_imbalance"]) == (
        f"{BEGAN_MS + 1_000}",
        "",
        "0",
    )
    analytics.on_trade(Trade("S", 2, "100", "1", 2, 2, BEGAN_MS + 2_000, BEGAN_MS, False))
    assert shown(analytics, BEGAN_MS + 3_000)["vwap"] == "100"
    assert shown(analytics, BEGAN_MS + 70_000)["vwap"] == ""


def test_a_trade_from_before_the_window_is_not_of_it():
    analytics = SymbolAnalytics(SETTINGS)
    shown(analytics, BEGAN_MS + 60_000)
    analytics.on_trade(Trade("S", 1, "500", "9", 1, 1, BEGAN_MS, BEGAN_MS, False))
    assert analytics.figures()["vwap"] == ""
    analytics.on_trade(Trade("S", 1, "500", "9", 1, 1, BEGAN_MS + 1, BEGAN_MS, False))
    assert analytics.figures()["vwap"] == "500"


def test_the_difference_of_two_prices_shows_no_digits_that_are_none():
    analytics = SymbolAnalytics(SETTINGS)
    analytics.on_top(TopOfBook("S", [("84557.0", "1")], [("84557.1", "1")], 1, BEGAN_MS, 0, 1, 0, 0))
    found = analytics.figures()
    assert (found["spread"], found["mid"]) == ("0.1", "84557.05")
