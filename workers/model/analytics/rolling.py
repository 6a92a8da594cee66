"""Sums over the last seconds, in a bounded number of buckets: flows, VWAP, volatility.

Time only moves forward: what comes with an earlier time counts as of the newest bucket.
"""

from __future__ import annotations

from collections import deque

from workers.model.analytics.figures import FloatLevels

BUCKETS = 60
"""Of a window: what is summed reaches back over the window, rounded to a sixtieth of it."""


class RollingSums:
    """Sums of `width` figures over the newest `BUCKETS` buckets of a window.

    Memory: at most `BUCKETS` rows, whatever comes. Bucket n is the time from n · window / BUCKETS on.
    """

    __slots__ = ("_rows", "_width", "step_us", "window_ms")

    def __init__(self, window_ms: int, width: int) -> None:
        if window_ms < BUCKETS or window_ms % BUCKETS:
            raise ValueError(f"a window is a multiple of {BUCKETS} ms, not {window_ms} ms")
        self.window_ms = window_ms
        self.step_us = window_ms * 1000 // BUCKETS
        self._width = width
        self._rows: deque[tuple[int, list[float]]] = deque(maxlen=BUCKETS)

    def add(self, now_us: int, *figures: float) -> None:
        """O(width)."""
        bucket = now_us // self.step_us
        if not self._rows or bucket > self._rows[-1][0]:
            self._rows.append((bucket, [0.0] * self._width))
        sums = self._rows[-1][1]
        for index, figure in enumerate(figures):
            sums[index] += figure

    def sums(self, now_us: int) -> list[float]:
        """Of the bucket of now_us and the `BUCKETS` - 1 before it. Summed anew: no error piles up. O(BUCKETS)."""
        oldest = now_us // self.step_us - BUCKETS + 1
        while self._rows and self._rows[0][0] < oldest:
            self._rows.popleft()
        return [sum(row[1][index] for row in self._rows) for index in range(self._width)]

    def check(self) -> None:
        """Assert what must hold of the rows."""
        buckets = [bucket for bucket, _ in self._rows]
        assert len(buckets) <= BUCKETS
        assert buckets == sorted(set(buckets)), "each bucket once, ascending"
        assert all(len(sums) == self._width for _, sums in self._rows)


class Vwap:
    """Volume-weighted average price of the trades of a window, in the quote currency."""

    __slots__ = ("_sums",)

    def __init__(self, window_ms: int) -> None:
        self._sums = RollingSums(window_ms, 2)

    def on_trade(self, price: float, quantity: float, now_us: int) -> None:
        self._sums.add(now_us, price * quantity, quantity)

    def value(self, now_us: int) -> float | None:
        """None where nothing was traded in the window."""
        money, volume = self._sums.sums(now_us)
        return money / volume if volume > 0 else None

    def check(self) -> None:
        self._sums.check()


class OrderFlowImbalance:
    """What was added to the best bid and taken from the best ask, less the reverse, in the base currency, of a window.

    Cont, Kukanov and Stoikov, "The Price Impact of Order Book Events" (2014), eq. 4.
    """

    __slots__ = ("_last", "_sums")

    def __init__(self, window_ms: int) -> None:
        self._sums = RollingSums(window_ms, 1)
        self._last: tuple[float, float, float, float] | None = None

    def on_top(self, bids: FloatLevels, asks: FloatLevels, now_us: int) -> float:
        """The contribution of the step from the top before to this one; 0 for the first one and without a side."""
        if not bids or not asks:
            self.begin_anew()
            return 0.0
        top = *bids[0], *asks[0]
        flow = 0.0 if self._last is None else step_flow(self._last, top)
        self._last = top
        self._sums.add(now_us, flow)
        return flow

    def begin_anew(self) -> None:
        """There was no book meanwhile: what comes next is compared with nothing."""
        self._last = None

    def value(self, now_us: int) -> float:
        return self._sums.sums(now_us)[0]

    def check(self) -> None:
        self._sums.check()


def step_flow(before: tuple[float, float, float, float], top: tuple[float, float, float, float]) -> float:
    """e_n of eq. 4; both are best bid, its quantity, best ask, its quantity."""
    bid_before, bid_quantity_before, ask_before, ask_quantity_before = before
    bid, bid_quantity, ask, ask_quantity = top
    flow = 0.0
    if bid >= bid_before:
        flow += bid_quantity
    if bid <= bid_before:
        flow -= bid_quantity_before
    if ask <= ask_before:
        flow -= ask_quantity
    if ask >= ask_before:
        flow += ask_quantity_before
    return flow


class Volatility:
    """The standard deviation of the mid of one second, in the quote currency by root second, from its squared steps.

    A step is taken when the mid is told `sample_ms` or more after the one before: closer ones measure the bounce
    between the best prices, not how far the market moves.
    """

    __slots__ = ("_last", "_last_us", "_sums", "sample_us")

    def __init__(self, window_ms: int, sample_ms: int = 1000) -> None:
        self._sums = RollingSums(window_ms, 2)
        self.sample_us = sample_ms * 1000
        self._last: float | None = None
        self._last_us = 0

    def on_mid(self, price: float, now_us: int) -> None:
        elapsed = now_us - self._last_us
        if self._last is not None and elapsed < self.sample_us:
            return
        if self._last is not None:
            self._sums.add(now_us, (price - self._last) ** 2, elapsed / 1e6)
        self._last, self._last_us = price, now_us

    def begin_anew(self) -> None:
        """There was no book meanwhile."""
        self._last = None

    def value(self, now_us: int) -> float | None:
        """None before the first step."""
        squares, seconds = self._sums.sums(now_us)
        return float((squares / seconds) ** 0.5) if seconds > 0 else None

    def check(self) -> None:
        self._sums.check()
