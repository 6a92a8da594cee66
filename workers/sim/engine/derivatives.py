"""What the exchange says of a contract besides its book and its trades, from the state of its market alone.

Each second there is a quote: the mark price is the middle of the book, the index lies a few ticks off, funding follows
the price, and the open interest the takers. Every so many fills one is called a liquidation. Nothing here draws random
numbers, so a market is the same with it and without.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from workers.sim.engine.book import MatchingBook
from workers.sim.engine.history import Fill
from workers.sim.engine.symbols import Spelling

QUOTE_MS: Final = 1_000
FUNDING_MS: Final = 8 * 3_600_000
LIQUIDATED: Final = 23
"""One fill in so many is a liquidation."""
REMEMBERED: Final = 20_000


class Quote(NamedTuple):
    """What is so at a time, in texts; time and next funding in ms."""

    time: int
    mark_price: str
    index_price: str
    funding_rate: str
    next_funding_time: int
    open_interest: str


class Derivative:
    """The figures and liquidations of one contract.

    Args:
        book: of its market.
        quoted: sends a quote.
        liquidated: sends a liquidation; whether it did (an exchange may tell only some of them).
    """

    def __init__(
        self,
        spelling: Spelling,
        book: MatchingBook,
        quoted: Callable[[Quote], None],
        liquidated: Callable[[Fill, int], bool],
    ) -> None:
        self._spelling = spelling
        self._book = book
        self._quoted = quoted
        self._liquidated = liquidated
        self._interest = int(spelling.spec.quantity_steps * 1_000)
        self._due_ms = 0.0
        self.quotes: deque[Quote] = deque(maxlen=REMEMBERED)
        self._liquidations: deque[tuple[Fill, int]] = deque(maxlen=REMEMBERED)

    def note(self, orders: Iterable[list[Fill]], at_ms: float) -> None:
        """A moment of the market has passed."""
        for fill in (fill for fills in orders for fill in fills):
            self._interest = max(
                0, self._interest + (-fill.quantity if fill.buyer_is_maker else fill.quantity)
            )
            if fill.trade_id % LIQUIDATED == 0 and self._liquidated(fill, int(at_ms)):
                self._liquidations.append((fill, int(at_ms)))
        bid, _, ask, _ = self._book.best()
        if at_ms >= self._due_ms and bid and ask:
            self._due_ms = at_ms - at_ms % QUOTE_MS + QUOTE_MS
            self.quotes.append(self._quote((bid - ask) // 2, int(at_ms)))
            self._quoted(self.quotes[-1])

    def _quote(self, middle: int, at_ms: int) -> Quote:
        rate = middle * 7_919 % 40_000 - 10_000
        return Quote(
            at_ms,
            self._spelling.price(middle),
            self._spelling.price(max(1, middle - at_ms // QUOTE_MS % 5)),
            f"{'-' if rate < 0 else ''}0.{abs(rate):08d}",
            at_ms - at_ms % FUNDING_MS + FUNDING_MS,
            self.open_interest,
        )

    @property
    def open_interest(self) -> str:
        """As it is now."""
        return self._spelling.quantity(self._interest)

    def truth(self) -> dict[str, Any]:
        """Every quote and liquidation that was sent, as far as they are remembered."""
        price, quantity = self._spelling.price, self._spelling.quantity
        return {
            "open_interest": self.open_interest,
            "quotes": [quote._asdict() for quote in self.quotes],
            "liquidations": [
                {
                    "side": "sell" if fill.buyer_is_maker else "buy",
                    "price": price(fill.price),
                    "quantity": quantity(fill.quantity),
                    "time": fill.time,
                    "event_time": sent_ms,
                }
                for fill, sent_ms in self._liquidations
            ],
        }
