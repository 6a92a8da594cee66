"""The analytics of one owned symbol: its best levels, trades and single orders in, figures and events out. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from workers.analytics.orders import OrderInference, ToldIcebergs
from workers.model.analytics import figures
from workers.model.analytics.events import AnalyticsEvent
from workers.model.analytics.figures import FloatLevel, LiquidityScale
from workers.model.analytics.flicker import FlickerParameters, LevelFlicker
from workers.model.analytics.icebergs import IcebergParameters
from workers.model.analytics.level2_icebergs import Level2IcebergDetector, Level2IcebergParameters
from workers.model.analytics.quoting import QuoteParameters, suggest_quote
from workers.model.analytics.rolling import OrderFlowImbalance, Volatility, Vwap
from workers.model.analytics.walls import Wall, WallDetector, WallParameters
from workers.model.books.order_book import Side
from workers.model.books.top_of_book import TOP_LEVELS, TopOfBook
from workers.model.events import Level, Trade
from workers.settings.analytics import AnalyticsSettings
from workers.store.log.streams import Delivered
from workers.store.orders.rebuilding import OrderFold

OF_THE_BOOK: Final = (
    "spread", "spread_bps", "mid", "microprice", "depth_imbalance", "order_flow_imbalance", "liquidity",
    "volatility", "quote_bid", "quote_ask", "reservation", "walls", "icebergs",
)  # fmt: skip
"""Figures that are withheld with the book. VWAP is of trades alone."""
MOST_WAITING: Final = 500
"""Events that wait to be written while Redis refuses; of more the oldest go."""


def floats(levels: Sequence[Level]) -> list[FloatLevel]:
    return [(float(price), float(quantity)) for price, quantity in levels]


class SymbolAnalytics:
    """Folds tops and trades in the order of their times, and single orders in their own.

    Memory: that of the detectors, of the book of orders, and `MOST_WAITING` events.

    Args:
        told: icebergs of single orders that were told before.
    """

    def __init__(self, settings: AnalyticsSettings, told: ToldIcebergs | None = None) -> None:
        self._settings = settings
        self._window_ms = settings.window_s * 1000 // 60 * 60 or 60
        flicker = self._begin()
        self.orders = OrderInference(
            IcebergParameters(found=settings.iceberg_confidence), flicker, told or ToldIcebergs()
        )
        self._bids: list[FloatLevel] = []
        self._asks: list[FloatLevel] = []
        self.shown = False
        self.changed = False
        self._synced_at = 0
        self.events: list[AnalyticsEvent] = []

    def _begin(self) -> FlickerParameters:
        """Begin all that is of tops and trades, and of their time."""
        settings, window_ms = self._settings, self._window_ms
        self._flow = OrderFlowImbalance(window_ms)
        self._vwap = Vwap(window_ms)
        self._volatility = Volatility(window_ms)
        self._walls = WallDetector(
            WallParameters(ratio=settings.wall_ratio, levels=TOP_LEVELS, persist_ms=settings.wall_ms)
        )
        self._icebergs = Level2IcebergDetector(Level2IcebergParameters(found=settings.iceberg_confidence))
        flicker = FlickerParameters(lived_ms=settings.flicker_ms, window_ms=window_ms)
        self._flicker = LevelFlicker(flicker)
        self.now_us = 0
        """Exchange µs of the newest top or trade."""
        return flicker

    def on_top(self, top: TopOfBook) -> None:
        """The book as it was published. One that was lost meanwhile and synced anew is another book."""
        if top.synced_at != self._synced_at:
            self.withhold()
            self._synced_at = top.synced_at
        if self._is_late(top.E):  # a clock was set back, or one message was of a time to come
            self._begin()
        self.now_us = max(self.now_us, top.E * 1000)
        self._bids, self._asks = floats(top.b), floats(top.a)
        bids, asks, now = self._bids, self._asks, self.now_us
        self.shown = self.changed = True
        self._flow.on_top(bids, asks, now)
        if (middle := figures.mid(bids, asks)) is not None:
            self._volatility.on_mid(middle, now)
        walls = self._walls.on_levels(bids, asks, now)
        for event in walls:
            if (orders := self.orders.orders_at(event.side, event.price)) is not None:
                event.figures["orders"] = float(orders)
        self._tell(walls)
        if self.level == 2:
            self._tell(self._icebergs.on_levels(bids, asks, now))
            self._tell(self._flicker.on_levels(bids, asks, now))
        else:  # of what they do not see they know nothing
            self._icebergs.clear()
            self._flicker.clear()

    def on_trade(self, trade: Trade) -> None:
        """A trade of the market; one with what rests on a side."""
        if not trade.is_market or self._is_late(trade.trade_time):
            return
        price, quantity = float(trade.price), float(trade.quantity)
        self.now_us = max(self.now_us, trade.trade_time * 1000)
        resting: Side = "bid" if trade.is_buyer_maker else "ask"
        self.changed = True
        self._vwap.on_trade(price, quantity, self.now_us)
        self._walls.on_trade(resting, price, quantity)
        self._icebergs.on_trade(resting, price, quantity, self.now_us)
        self._flicker.on_trade(resting, price)

    def _is_late(self, at_ms: int) -> bool:
        """Whether a time is before the window of what was told last."""
        return at_ms <= self.now_us // 1000 - self._window_ms

    @property
    def level(self) -> int:
        """What icebergs and flicker are inferred from: 3, single orders, while their book is in sync; else 2."""
        return 3 if self.orders.in_sync else 2

    def begin_orders(self, fold: OrderFold) -> None:
        """There is a book of single orders."""
        self.orders.begin(fold)
        self.changed = True

    def on_orders(self, entries: Iterable[Delivered]) -> None:
        """Entries of the stream of orders."""
        before = self.level
        self._tell(self.orders.take(entries))
        self.changed = self.changed or 3 in (before, self.level)

    def end_orders(self) -> None:
        """There is no book of single orders any more."""
        self.changed = self.changed or self.level == 3
        self.orders.end()

    def _tell(self, events: Iterable[AnalyticsEvent]) -> None:
        self.events += events
        del self.events[:-MOST_WAITING]

    def withhold(self) -> None:
        """The book is not shown: what was inferred of it holds no more, and what comes next begins anew. A book of
        single orders is another, and stays."""
        if self.shown:
            self.shown, self.changed = False, True
        self._bids, self._asks = [], []
        self._flow.begin_anew()
        self._volatility.begin_anew()
        for detector in (self._walls, self._icebergs, self._flicker):
            detector.clear()

    def figures(self) -> dict[str, str]:
        """The fields of `analytics:{S}`: empty text where there is no such figure now."""
        values: dict[str, str] = dict.fromkeys(OF_THE_BOOK, "")
        values["state"] = "shown" if self.shown else "withheld"
        values["level"] = str(self.level)
        values["window_ms"] = str(self._settings.window_s * 1000)
        values["event_time"] = str(self.now_us // 1000)
        values["vwap"] = _price(self._vwap.value(self.now_us))
        if not self.shown:
            return values
        bids, asks = self._bids, self._asks
        scale = LiquidityScale(
            self._settings.band_bps, self._settings.half_spread_bps, self._settings.half_depth
        )
        micro, volatility = figures.microprice(bids, asks), self._volatility.value(self.now_us)
        values["spread"] = _text(figures.spread(bids, asks))
        values["spread_bps"] = _text(figures.spread_bps(bids, asks))
        values["mid"] = _price(figures.mid(bids, asks))
        values["microprice"] = _price(micro)
        values["depth_imbalance"] = _text(figures.depth_imbalance(bids, asks))
        values["order_flow_imbalance"] = _text(self._flow.value(self.now_us))
        values["liquidity"] = _text(figures.liquidity_score(bids, asks, scale))
        values["volatility"] = _text(volatility)
        if micro is not None and volatility is not None:
            quote = suggest_quote(micro, volatility, self._quoting())
            values["quote_bid"], values["quote_ask"] = _price(quote.bid), _price(quote.ask)
            values["reservation"] = _price(quote.reservation)
        values["walls"] = msgspec.json.encode([self._wall(wall) for wall in self._walls.walls()]).decode()
        values["icebergs"] = msgspec.json.encode(self._iceberg_rows()).decode()
        return values

    def _wall(self, wall: Wall) -> list[Any]:
        row = [wall.side, wall.price, wall.quantity, round(wall.ratio, 2)]
        orders = self.orders.orders_at(wall.side, wall.price)
        return row if orders is None else [*row, orders]

    def _iceberg_rows(self) -> list[list[Any]]:
        if self.level == 3:
            return [
                [chain.side, chain.price, chain.hidden, round(chain.confidence, 3), chain.order_id]
                for chain in self.orders.icebergs()
            ]
        return [
            [level.side, level.price, level.hidden, round(level.confidence, 3)]
            for level in self._icebergs.icebergs()
        ]

    def _quoting(self) -> QuoteParameters:
        settings = self._settings
        return QuoteParameters(
            settings.risk_aversion, settings.fill_decay, settings.horizon_s, settings.inventory
        )

    def check(self) -> None:
        """Assert the invariants of all that is held."""
        assert len(self.events) <= MOST_WAITING
        for part in (
            self._flow, self._vwap, self._volatility, self._walls, self._icebergs, self._flicker, self.orders,
        ):  # fmt: skip
            part.check()


def _price(value: float | None) -> str:
    """With as many digits as prices have."""
    return "" if value is None else f"{value:.15g}"


def _text(value: float | None) -> str:
    """With fewer: the difference of two prices, as doubles, has no more that are right."""
    return "" if value is None else f"{value:.10g}"
