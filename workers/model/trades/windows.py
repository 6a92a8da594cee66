"""One trade window, and what a trade must be to enter it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from workers.errors import BadNumber
from workers.model.events import Trade
from workers.model.trades.decimals import FINE, is_fine

Interval = Literal["100ms", "1m", "5m", "15m", "1h", "4h", "1d"]
INTERVALS_MS: Final[dict[str, int]] = {
    "100ms": 100,
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
"""The windows of the fold by name, in ms, shortest first."""

EARLIEST_MS: Final = 86_400_000
LATEST_MS: Final = 10**14
"""Trade times outside these are no milliseconds of our era (the second is exceeded by any time in µs)."""


def check(trade: Trade, before_ms: int = LATEST_MS) -> None:
    """Raise if the fold cannot take this trade.

    Args:
        before_ms: its time must be earlier.

    Raises:
        BadNumber: price, quantity or trade time is out of range or no plain decimal.
    """
    try:
        FINE.price_units(trade.price)
        FINE.quantity_units(trade.quantity)
    except BadNumber as bad:
        raise BadNumber(bad.text, f"{bad.place} of trade {trade.trade_id} of {trade.symbol}") from None
    if not EARLIEST_MS <= trade.trade_time < before_ms:
        place = f"time of trade {trade.trade_id} of {trade.symbol}"
        raise BadNumber(str(trade.trade_time), place)


def needs_fine(trade: Trade) -> bool:
    """Whether a trade has more decimals than the coarse scale."""
    return is_fine(trade.price) or is_fine(trade.quantity)


Reason = Literal["", "unproven", "missing", "began", "late"]
"""Why a window is not complete; empty: it is."""

NOT_PROVABLE: Final = "not provable"
"""What the reason says of a window that lacks nothing known, where the venue's ids cannot prove it."""
GRADES: Final[dict[Reason, int]] = {"missing": 0, "": 1, "unproven": 2, "began": 3, "late": 4}
"""As the state hash holds it."""


class Window(msgspec.Struct):
    """One window of one interval; sums are integers in units of 1e-18 (volumes) and 1e-36 (quote volume)."""

    start: int
    last_update_time: int
    open_price: str
    high_price: str
    low_price: str
    close_price: str
    volume: int
    quote_volume: int
    buy_volume: int
    trades_count: int
    is_buyer_maker_count: int
    first_trade_id: int
    last_trade_id: int
    first_agg_trade_id: int
    last_agg_trade_id: int
    skipped_count: int = 0
    closed: bool = False
    reason: Reason = ""
    revision: int = 0

    @classmethod
    def of(cls, trade: Trade, start: int) -> Window:
        """The window that begins at `start` ms and holds this one trade."""
        price, quantity = FINE.price_units(trade.price), FINE.quantity_units(trade.quantity)
        return cls(
            start=start,
            last_update_time=trade.trade_time,
            open_price=trade.price,
            high_price=trade.price,
            low_price=trade.price,
            close_price=trade.price,
            volume=quantity,
            quote_volume=price * quantity,
            buy_volume=0 if trade.is_buyer_maker else quantity,
            trades_count=1,
            is_buyer_maker_count=int(trade.is_buyer_maker),
            first_trade_id=trade.first_trade_id,
            last_trade_id=trade.last_trade_id,
            first_agg_trade_id=trade.trade_id,
            last_agg_trade_id=trade.trade_id,
        )

    def add(self, trade: Trade) -> None:
        """Take one more trade, with a higher id than all the window holds."""
        price, quantity = FINE.price_units(trade.price), FINE.quantity_units(trade.quantity)
        if price > FINE.price_units(self.high_price):
            self.high_price = trade.price
        if price < FINE.price_units(self.low_price):
            self.low_price = trade.price
        self.close_price = trade.price
        self.last_update_time = max(self.last_update_time, trade.trade_time)
        self.volume += quantity
        self.quote_volume += price * quantity
        self.buy_volume += 0 if trade.is_buyer_maker else quantity
        self.trades_count += 1
        self.is_buyer_maker_count += trade.is_buyer_maker
        self.last_trade_id = trade.last_trade_id
        self.last_agg_trade_id = trade.trade_id

    def skip(self, trade: Trade) -> None:
        """Pass over a trade outside the market that belongs to the window."""
        self.skipped_count += 1
        self.last_agg_trade_id = trade.trade_id

    @property
    def complete(self) -> bool:
        """Whether the ids prove that no trade is missing (of an open window: so far)."""
        return not self.reason

    def bar(self, *, provable: bool = True) -> dict[str, str]:
        """The fields of the window's bar, in the order they are written.

        Args:
            provable: whether ids prove anything: whether they are the venue's own, and consecutive.
        """
        return {
            "start": str(self.start),
            "revision": str(self.revision),
            "complete": str(int(self.complete and provable)),
            "reason": self.reason if provable or self.reason else NOT_PROVABLE,
            "last_update_time": str(self.last_update_time),
            "open_price": self.open_price,
            "high_price": self.high_price,
            "low_price": self.low_price,
            "close_price": self.close_price,
            "volume": FINE.plain_quantity(self.volume),
            "quote_volume": FINE.plain_product(self.quote_volume),
            "buy_volume": FINE.plain_quantity(self.buy_volume),
            "trades_count": str(self.trades_count),
            "skipped_count": str(self.skipped_count),
            "is_buyer_maker_count": str(self.is_buyer_maker_count),
            "first_trade_id": str(self.first_trade_id),
            "last_trade_id": str(self.last_trade_id),
            "first_agg_trade_id": str(self.first_agg_trade_id),
            "last_agg_trade_id": str(self.last_agg_trade_id),
        }

    def state(self, bar_ms: int, bar_sequence: int, digits: int) -> str:
        """The window as the state hash holds it.

        Args:
            bar_ms, bar_sequence: the id of its interval's last bar; 0, 0: there is none.
            digits: decimals of the volumes there; the quote volume has twice as many.
        """
        unit = 10 ** (FINE.digits - digits)
        fixed = (
            self.start,
            int(self.closed),
            GRADES[self.reason],
            self.revision,
            bar_ms,
            bar_sequence,
            self.open_price,
            self.first_trade_id,
            self.first_agg_trade_id,
        )
        changing = (
            self.last_update_time,
            self.high_price,
            self.low_price,
            self.close_price,
            self.volume // unit,
            self.quote_volume // unit**2,
            self.buy_volume // unit,
            self.trades_count,
            self.skipped_count,
            self.is_buyer_maker_count,
            self.last_trade_id,
            self.last_agg_trade_id,
        )
        return " ".join(map(str, fixed)) + "|" + " ".join(map(str, changing))
