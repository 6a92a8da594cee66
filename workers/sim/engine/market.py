"""One symbol's market: a seeded random order flow against a book, without I/O and without a clock.

At random moments the fair price walks, quotes follow it, levels near and far change and market orders
eat levels. Every changed level takes an update id; every fill takes a trade id. What happens depends only
on the seed and the start time, not on how often the caller looks.
"""

from __future__ import annotations

import random
from typing import Final

from workers.sim.engine.book import Ladder, MatchingBook
from workers.sim.engine.history import ChangeLog, Fill, TradeTape
from workers.sim.engine.symbols import EIGHT_DECIMALS, SymbolSpec
from workers.sim.settings import SimSettings

# Ids start from the time of the start, so that an exchange that is restarted does not issue ids again.
ID_EPOCH_MS: Final = 1_577_836_800_000
TRADE_IDS_PER_MS: Final = 0.5
AGGREGATE_IDS_PER_MS: Final = 0.25

NEAR_LEVELS: Final = 10  # mean distance in levels of changes near the best price
FAR_SHARE: Final = 0.08  # share of changes anywhere in the book, mostly deep
SWEEP_SHARE: Final = 0.3  # share of price moves that come with trades; the others are cancellations
SWEEP_LEVELS: Final = 12  # levels a price move trades through before the rest is cancelled
MOVE_SHARE: Final = 0.2  # share of moments at which the fair price moves
LARGEST_QUANTITY: Final = 2**63 - 1  # of the eighth decimal: 92,233,720,368.54775807 (captured)
ENLARGED_LEVEL: Final = 6  # counted from the best
LARGEST_TRADE: Final = 10**12  # steps: of the largest quantity hardly anything is ever traded
QUANTITY_DRAWS: Final = 4096


def _quantity_draws() -> tuple[float, ...]:
    draw = random.Random("level quantities")  # noqa: S311 - a fixed table, not a secret
    return tuple(draw.lognormvariate(-0.7, 1.2) for _ in range(QUANTITY_DRAWS))


_QUANTITIES: Final = _quantity_draws()


class SymbolMarket:
    """The book, the changes and the trades of one symbol.

    `act(at_ms)` runs one moment of the market; `next_moment(at_ms)` says when the next one is. After
    `act`, `fills` has the trades of that moment, grouped by order.
    """

    def __init__(self, spec: SymbolSpec, settings: SimSettings, start_ms: int) -> None:
        self.spec = spec
        self._random = random.Random(f"{settings.seed}/{spec.market}/{spec.symbol}")  # noqa: S311 - not a secret
        self._draw = self._random.random
        self._settings = settings
        self.rate_factor = 1.0  # of everything
        self.drift = 0.0  # ticks a second
        self.grid = 1  # new prices are multiples of so many ticks
        self._fair = float(spec.start_price_ticks)
        self._centre = self._fair
        self._acted_ms = float(start_ms)
        self._emptied: Ladder | None = None
        self._deep: dict[Ladder, int] = {}  # levels at the far end of a side that nobody touches
        self._levels = max(20, min(settings.levels_per_side, int(spec.start_price_ticks * 0.6)))
        self._rate_per_ms = spec.instants_per_s * settings.rate_scale / 1000
        self._order_share = spec.orders_per_s / spec.instants_per_s
        self._move = spec.volatility / (MOVE_SHARE * spec.instants_per_s) ** 0.5
        self._burst_until = 0.0
        self.book = MatchingBook(self._initial_side(1), self._initial_side(-1))

        elapsed = max(1, start_ms - ID_EPOCH_MS) * max(1.0, settings.rate_scale)
        offset = self._random.randrange(1_000_000)
        self.last_id = int(elapsed * spec.kind.ids_per_ms) + offset
        self.changes = ChangeLog(self.last_id, self.book.levels(), settings.truth_changes)
        self.tape = TradeTape(
            int(elapsed * TRADE_IDS_PER_MS) + offset, int(elapsed * AGGREGATE_IDS_PER_MS) + offset
        )
        self.fills: list[list[Fill]] = []
        self._contiguous = spec.kind.contiguous

    def _initial_side(self, sign: int) -> Ladder:
        # The gap between levels grows with depth, so that 1,000 levels reach a few percent from the mid.
        price = self.spec.start_price_ticks
        widest = min(0.05 * price, 60.0 * self._levels)
        growth = max(0.0, (widest / self._levels - 1) * 2 / self._levels)
        ticks = float(price if sign < 0 else price - self.spec.spread_ticks)
        levels: dict[int, int] = {}
        for depth in range(self._levels):
            key = sign * int(ticks)
            if int(ticks) < 1:
                break
            levels[key] = self._quantity(1 + depth / 200)
            ticks -= sign * (1 + int(self._random.expovariate(1) * depth * growth))
        return Ladder(levels)

    def _quantity(self, scale: float = 1.0) -> int:
        draw = _QUANTITIES[int(self._draw() * QUANTITY_DRAWS)]
        return max(1, int(draw * scale * self.spec.quantity_steps))

    def next_moment(self, at_ms: float) -> float:
        """When the market acts next, ms: random moments, denser in a burst."""
        rate = self._rate_per_ms * self.rate_factor
        if at_ms < self._burst_until:
            rate *= self._settings.burst_factor
        gap = self._random.expovariate(rate)
        every_ms = self._settings.burst_every_s * 1000
        if every_ms and at_ms >= self._burst_until and self._draw() < gap / every_ms:
            self._burst_until = at_ms + gap + self._settings.burst_length_s * 1000
        return at_ms + gap

    def act(self, at_ms: float) -> None:
        """Run one moment: the price walks, quotes follow, levels change, orders trade."""
        self.fills = []
        self._walk(at_ms)
        if self._emptied is None:
            self._quote(at_ms)
        count = 1 + int(self._random.expovariate(1 / self.spec.changes_per_instant))
        for _ in range(count):
            side = self.book.bids if self._draw() < 0.5 else self.book.asks
            if side is self._emptied:
                side = self.book.opposite(side)
            size = len(side.keys)
            deep = min(self._deep.get(side, 0), size - 1)
            if self._draw() < FAR_SHARE:
                self._touch(side, deep + int(self._draw() * self._draw() * (size - deep)))
            else:
                depth = int(self._random.expovariate(1 / NEAR_LEVELS))
                self._touch(side, max(deep, size - 1 - depth))
        if self._draw() < self._order_share and self._emptied is None:
            self._market_order(at_ms)

    def _walk(self, at_ms: float) -> None:
        self._fair += self.drift * (at_ms - self._acted_ms) / 1000
        self._acted_ms = at_ms
        jump_every = self._settings.jump_every_s * self.spec.instants_per_s
        if jump_every and self._draw() < 1 / jump_every:
            self._fair *= 1 + self._random.choice((-1, 1)) * self._random.uniform(0.0005, 0.002)
        elif self._draw() < MOVE_SHARE:
            self._fair += self._random.gauss(0, self._move)
        self._fair = min(max(self._fair, self._centre * 0.5), self._centre * 2.0)

    @property
    def acted_ms(self) -> float:
        """When the market last acted, ms."""
        return self._acted_ms

    def move_to(self, price: float) -> None:
        """Let the fair price be `price` from the next moment on."""
        self._fair = max(50.0, price * 10**self.spec.price_decimals / self.spec.tick_units)
        self._centre = self._fair

    def empty(self, bids: bool) -> None:
        """Take away one side of the book; it stays away until `refill`."""
        self.refill()
        side = self.book.bids if bids else self.book.asks
        while side.keys:
            self._set(side, side.keys[-1], 0)
        self._deep.pop(side, None)
        self._emptied = side

    def refill(self) -> None:
        """Bring back the side that was taken away, around the fair price."""
        side, self._emptied = self._emptied, None
        if side is None:
            return
        best = int(self._fair) - self.spec.spread_ticks if side is self.book.bids else -int(self._fair)
        self._ladder(side, min(best, -self.book.opposite(side).keys[-1] - 1))

    def _ladder(self, side: Ladder, best: int) -> None:
        """Levels from `best` on into the depth, where there are none."""
        key = best
        for depth in range(200):
            if key <= 0 and side is self.book.bids:
                break
            self._set(side, key - key % self.grid, self._quantity(1 + depth / 200))
            key -= self.grid + int(self._random.expovariate(1) * depth / 4)

    def add_deep(self, count: int) -> None:
        """Add `count` levels a side beyond the farthest ones, out to twice or half their price; they stay."""
        for side in (self.book.bids, self.book.asks):
            farthest = side.keys[0]
            step = abs(farthest) // (2 * count)
            for place in range(1, count + 1 if step else 0):
                self._set(side, farthest - place * step, self._quantity())
                self._deep[side] = self._deep.get(side, 0) + 1

    def enlarge(self) -> None:
        """Give a level of each side the largest quantity the exchange shows."""
        steps = LARGEST_QUANTITY // 10 ** (EIGHT_DECIMALS - self.spec.quantity_decimals)
        for side in (self.book.bids, self.book.asks):
            if side.keys:
                self._set(side, side.keys[max(0, len(side.keys) - ENLARGED_LEVEL)], steps)

    def _quote(self, at_ms: float) -> None:
        """Move both best prices to the fair price, first clearing what stands in the way."""
        spread = self.spec.spread_ticks
        bid = int(self._fair - spread / 2)
        ask = bid + spread
        self._clear(self.book.asks, -bid, at_ms)
        self._clear(self.book.bids, ask, at_ms)
        self._improve(self.book.bids, bid)
        self._improve(self.book.asks, -ask)

    def _clear(self, side: Ladder, key: int, at_ms: float) -> None:
        """Trade or cancel away the levels at `key` and better, leaving a thin side its last levels."""
        if side.keys[-1] < key:
            return
        if side.keys[min(20, len(side.keys) - 1)] >= key:
            self._ladder(side, key - 1)
        fills: list[Fill] = []
        traded = SWEEP_LEVELS if self._draw() < SWEEP_SHARE else 0
        taken = 0
        while side.keys[-1] >= key and len(side.keys) > 10:
            best = side.keys[-1]
            if taken < traded and taken % 3 == 0:
                sold = min(side.levels[best], LARGEST_TRADE)
                self._fill(best, sold, side is self.book.bids, at_ms, fills)
            self._set(side, best, 0)
            taken += 1
        if fills:
            self.fills.append(fills)

    def _improve(self, side: Ladder, key: int) -> None:
        """Quote at `key` if that beats the best, with a few levels in the gap behind it."""
        best = side.keys[-1]
        key -= key % self.grid
        gap = key - best
        if gap <= 0 or key >= -self.book.opposite(side).keys[-1]:
            return
        for _ in range(min(8, gap // 2)):
            between = best + 1 + int(self._draw() * (gap - 1))
            self._set(side, between - between % self.grid, self._quantity())
        self._set(side, key, self._quantity())

    def _touch(self, side: Ladder, index: int) -> None:
        """Change one level: its quantity, or its existence, or a new one in the gap behind it."""
        keys = side.keys
        key = keys[index]
        deep = self._deep.get(side, 0)
        size = len(keys) - deep
        index -= deep
        roll = self._draw()
        if roll < 0.55:
            self._set(side, key, self._quantity(1 + (size - index) / 200))
        elif (roll < 0.775 and size < self._levels * 1.05) or size < self._levels * 0.95:
            lower = keys[deep + index - 1] if deep + index else key - 2 * max(1, (keys[-1] - key) // size)
            between = key - lower - 1
            new = lower + 1 + int(self._draw() * between) if between else key
            new -= new % self.grid
            if new > 0 or side is self.book.asks:
                self._set(side, new, self._quantity(1 + (size - index) / 200))
        elif size > 20:
            self._set(side, key, 0)

    def _market_order(self, at_ms: float) -> None:
        """One taker eats levels until its quantity is done."""
        side = self.book.bids if self._draw() < 0.5 else self.book.asks
        wanted = max(1, int(_QUANTITIES[int(self._draw() * QUANTITY_DRAWS)] * 2 * self.spec.order_steps))
        fills: list[Fill] = []
        while wanted and len(side.keys) > 10:
            best = side.keys[-1]
            there = side.levels[best]
            taken = min(wanted, there)
            self._fill(best, taken, side is self.book.bids, at_ms, fills)
            self._set(side, best, there - taken)
            wanted -= taken
        if fills and self.spec.kind.hidden_trades:
            self._print_hidden(side, at_ms, fills)
        if fills:
            self.fills.append(fills)

    def _print_hidden(self, side: Ladder, at_ms: float, fills: list[Fill]) -> None:
        """Trades that leave the visible book alone: retail price improvement, and off-book ones."""
        maker = side is self.book.bids
        price = fills[-1].price
        if self._draw() < 0.06:
            self._record(price, max(1, int(self.spec.order_steps / 4)), maker, at_ms, fills, retail=True)
        if self._settings.off_book_share and self._draw() < self._settings.off_book_share:
            category = "ADL" if self._draw() < 0.3 else "INSURANCE_FUND"
            self._record(price, max(1, int(self.spec.order_steps)), maker, at_ms, fills, category=category)

    def _fill(self, key: int, quantity: int, maker: bool, at_ms: float, fills: list[Fill]) -> None:
        """Split a quantity taken from one level over one to a few resting orders."""
        parts = min(quantity, 1 + int(self._random.expovariate(1.1)))
        for left in range(parts, 1, -1):
            part = max(1, int(quantity * self._draw() * 2 / left))
            part = min(part, quantity - left + 1)
            self._record(abs(key), part, maker, at_ms, fills)
            quantity -= part
        self._record(abs(key), quantity, maker, at_ms, fills)

    def _record(
        self,
        price: int,
        quantity: int,
        maker: bool,
        at_ms: float,
        fills: list[Fill],
        *,
        category: str = "MARKET",
        retail: bool = False,
    ) -> None:
        trade = Fill(self.tape.next_trade_id, price, quantity, int(at_ms), maker, category, retail)
        self.tape.add_trade(trade)
        fills.append(trade)

    def _set(self, side: Ladder, key: int, quantity: int) -> None:
        if not side.set(key, quantity):
            return
        # Where the ids are shared with more than this book, they have holes.
        self.last_id += 1 if self._contiguous else 1 + int(self._draw() * 39)
        self.changes.append(self.last_id, key, quantity)
        if self.changes.full:
            self.changes.roll(self.book.levels())
