"""Who is in the market: makers, takers, ordinary orders, large ones, and icebergs."""

from __future__ import annotations

from detection.market import SIDES, Market, Planted, Resting
from workers.model.books.order_book import Side

ROUND_SIZES = (0.05, 0.1, 0.1, 0.2, 0.25, 0.5, 0.5, 1.0)


class Participants(Market):
    """A market and who is in it. Rates are of what a busy minute of a large market looks like, near its top."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        for side in SIDES:
            for distance in range(1, 40):
                self.add(side, self.ticks_at(side, distance), self.size())
        self.every(20_000, self.ordinary_order)
        self.every(120_000, self.taker)
        self.every(500_000, self.drift)
        self.every(2_500_000, self.start_iceberg)
        self.every(4_000_000, self.start_large)
        for _ in range(6):
            self.start_maker()

    def ticks_at(self, side: Side, distance: float) -> int:
        return round(self.fair - distance if side == "bid" else self.fair + distance)

    def size(self) -> float:
        rng = self.rng
        return rng.choice(ROUND_SIZES) if rng.random() < 0.4 else rng.lognormvariate(-1.5, 1.0)

    def drift(self) -> None:
        self.fair += self.rng.gauss(0, 0.7)

    def ordinary_order(self) -> None:
        rng, side = self.rng, self.rng.choice(SIDES)
        order = self.add(side, self.ticks_at(side, 0.5 + rng.expovariate(1 / 7)), self.size())
        life_us = rng.choice((80_000, 800_000, 6_000_000, 25_000_000))
        self.after(rng.expovariate(1 / life_us), lambda: self.cancel(order))

    def taker(self) -> None:
        """One trade, or a slicer's series of equal ones."""
        rng, side = self.rng, self.rng.choice(SIDES)
        quantity = self.size() * (8 if rng.random() < 0.05 else 1)
        for number in range(rng.randint(5, 15) if rng.random() < 0.15 else 1):
            self.after(number * rng.uniform(20_000, 300_000), lambda: self.take(side, quantity))

    def on_trade(self, side: Side, ticks: int) -> None:
        """Fast others join a price that was traded at: some within a millisecond, some of a common size."""
        if self.rng.random() < 0.15:
            delay = self.rng.choice((self.rng.uniform(200, 3_000), self.rng.uniform(5_000, 60_000)))
            self.after(delay, lambda: self.join(side, ticks))

    def join(self, side: Side, ticks: int) -> None:
        order = self.add(side, ticks, self.size())
        self.after(self.rng.expovariate(1 / 1_500_000), lambda: self.cancel(order))

    def start_maker(self) -> None:
        """Quotes both sides; when filled it quotes again at the same price, mostly as much as before, after a latency
        of its own; when the market has moved it withdraws and quotes elsewhere."""
        size, same_size = self.rng.choice(ROUND_SIZES), self.rng.random() < 0.6
        median_us = self.rng.choice((4_000, 12_000, 40_000, 120_000))
        for side in SIDES:
            self.maker_quotes(side, size, median_us, same_size=same_size)

    def maker_quotes(
        self, side: Side, size: float, median_us: float, *, same_size: bool, ticks: int | None = None
    ) -> None:
        rng = self.rng
        at = self.ticks_at(side, rng.uniform(0.6, 3)) if ticks is None else ticks
        order = self.add(side, at, size if same_size else size * rng.uniform(0.5, 1.5))

        def quote_again(after_us: float, ticks: int | None) -> None:
            self.after(
                after_us,
                lambda: self.maker_quotes(side, size, median_us, same_size=same_size, ticks=ticks),
            )

        def filled(order: Resting) -> None:
            if order.quantity <= 0:
                same_price = rng.random() < 0.7
                quote_again(median_us * rng.lognormvariate(0, 0.5), order.ticks if same_price else None)

        def withdraw() -> None:
            if self.rests(order):
                self.cancel(order)
                quote_again(rng.uniform(1_000, 20_000), None)

        order.after_fill = filled
        self.after(rng.expovariate(1 / 4_000_000), withdraw)

    def start_large(self) -> None:
        """A wall that stays, or a large order that is gone before it is one."""
        rng, side = self.rng, self.rng.choice(SIDES)
        stays = rng.random() < 0.6
        order = self.add(side, self.ticks_at(side, rng.uniform(2, 14)), rng.uniform(8, 30))
        plant = Planted("wall" if stays else "decoy", side, order.ticks / 100, self.now)
        self.planted.append(plant)

        def end() -> None:
            self.cancel(order)
            plant.until_us = min(plant.until_us, self.now)

        def filled(order: Resting) -> None:
            if order.quantity <= 0:
                plant.until_us = self.now

        order.after_fill = filled
        self.after(rng.uniform(6e6, 40e6) if stays else rng.uniform(1e5, 1.5e6), end)

    def start_iceberg(self) -> None:
        rng, side = self.rng, self.rng.choice(SIDES)
        kind = rng.choice(("native", "topped up", "new id", "new id", "broker"))
        at = self.ticks_at(side, rng.uniform(0.5, 2.5))
        IcebergOwner(self, kind, side, at, rng.choice(ROUND_SIZES), rng.randint(3, 25))


class IcebergOwner:
    """An iceberg: `parts` of a size, one after the other. One in five varies its size."""

    def __init__(
        self, market: Participants, kind: str, side: Side, ticks: int, size: float, parts: int
    ) -> None:
        rng = market.rng
        self.market, self.kind, self.size, self.left = market, kind, size, size * parts
        self.varies = 0.2 if kind != "topped up" and rng.random() < 0.2 else 0.0
        self.order = market.add(side, ticks, self.next_part())
        self.order.after_fill = self.after_fill
        self.plant = Planted(f"iceberg, {kind}", side, self.order.ticks / 100, market.now)
        market.planted.append(self.plant)
        self.plant.order_ids.add(self.order.order_id)
        self.tell_hidden()
        market.after(rng.uniform(10e6, 60e6), self.withdraw)

    def next_part(self) -> float:
        part = min(self.left, self.size * self.market.rng.uniform(1 - self.varies, 1 + self.varies))
        self.left = max(0.0, self.left - part)
        return part

    def tell_hidden(self) -> None:
        self.plant.hidden_at.append((self.market.now, self.left))

    def after_fill(self, order: Resting) -> None:
        rng = self.market.rng
        if order.quantity > 0:
            if self.kind == "topped up" and self.left > 1e-6:
                more = min(self.left, self.size - order.quantity)
                self.left -= more
                self.plant.refills += 1
                self.market.top_up(order, order.quantity + more)
                self.tell_hidden()
            return
        if self.left <= 1e-6:
            self.plant.until_us = min(self.plant.until_us, self.market.now)
        elif self.kind in ("native", "topped up"):
            self.refill()
        elif self.kind == "new id":
            self.market.after(rng.choice((0, 0, rng.uniform(0, 1500))), self.refill)
        else:
            self.market.after(rng.uniform(2_000, 25_000), self.refill)

    def refill(self) -> None:
        if self.market.now >= self.plant.until_us:
            return
        native = self.kind in ("native", "topped up")
        order_id = self.order.order_id if native else ""
        self.order = self.market.add(self.order.side, self.order.ticks, self.next_part(), order_id)
        self.order.after_fill = self.after_fill
        self.plant.order_ids.add(self.order.order_id)
        self.plant.refills += self.order.ticks / 100 == self.plant.price
        self.tell_hidden()

    def withdraw(self) -> None:
        self.plant.until_us = min(self.plant.until_us, self.market.now)
        self.market.cancel(self.order)
