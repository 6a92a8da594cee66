"""What is listed: price and quantity grids, typical sizes and rates of every symbol.

A flavour gives its well-known symbols parameters like their captured originals; any other name gets plausible
ones from a seeded hash of the name, so a list of 200 names is enough to have 200 markets.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

NumberStyle = Literal["eight", "fixed", "plain"]
"""How an exchange spells decimals: padded to eight places, with the symbol's places, or without zeros at the end."""
EIGHT_DECIMALS = 8
PRICE_TEXT_CACHE = 4096


@dataclass(frozen=True, slots=True)
class MarketKind:
    """What the engine must know of a market.

    contiguous: every change of a level takes the next update id; else ids are shared with more than the book and
    have holes. ids_per_ms: how fast update ids rise, above the fastest symbol. hidden_trades: some trades leave
    the visible book alone.
    """

    name: str
    contiguous: bool
    ids_per_ms: int
    numbers: NumberStyle
    hidden_trades: bool = False


class Assets(NamedTuple):
    """Base and quote asset, and the pair that contracts of several dates share."""

    base: str
    quote: str
    pair: str


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """One listed symbol.

    Prices are counted in ticks and quantities in steps; `tick_units` ticks of 10^-price_decimals make one
    tick (0.10 at two decimals is 10 units). Rates are per second at rate scale 1.

    instants_per_s: moments at which the book changes; changes_per_instant: levels touched at each.
    orders_per_s: market orders. volatility: standard deviation of the price in ticks after one second.
    quantity_steps, order_steps: typical level and market order, in steps.
    """

    kind: MarketKind
    symbol: str
    base_asset: str
    quote_asset: str
    pair: str
    start_price_ticks: int
    price_decimals: int
    tick_units: int
    quantity_decimals: int
    instants_per_s: float
    changes_per_instant: float
    orders_per_s: float
    volatility: float
    spread_ticks: int
    quantity_steps: float
    order_steps: float

    @property
    def market(self) -> str:
        """The name of its market."""
        return self.kind.name

    @property
    def tick_size(self) -> str:
        """Price of one tick as the filters spell it."""
        return PriceText(self).of(1)

    @property
    def step_size(self) -> str:
        """Quantity of one step as the filters spell it."""
        return QuantityText(self).of(1)


def _decimal_text(units: int, decimals: int, style: NumberStyle) -> str:
    """`units` of 10^-decimals as an exchange of that style spells it."""
    if not decimals:
        return f"{units}.{'0' * EIGHT_DECIMALS}" if style == "eight" else str(units)
    whole, part = divmod(units, 10**decimals)
    text = f"{whole}.{part:0{decimals}d}"
    if style == "eight":
        return text + "0" * (EIGHT_DECIMALS - decimals)
    return text.rstrip("0").rstrip(".") if style == "plain" else text


class PriceText:
    """Ticks to price text in the style of the market."""

    def __init__(self, spec: SymbolSpec) -> None:
        self._units = spec.tick_units
        self._decimals = spec.price_decimals
        self._style = spec.kind.numbers
        self._cache: dict[int, str] = {}

    def of(self, ticks: int) -> str:
        """The text of a price; the few thousand prices in use are remembered."""
        text = self._cache.get(ticks)
        if text is None:
            text = _decimal_text(ticks * self._units, self._decimals, self._style)
            if len(self._cache) >= PRICE_TEXT_CACHE:
                self._cache.clear()
            self._cache[ticks] = text
        return text


class QuantityText:
    """Steps to quantity text in the style of the market: a zero may be `0`, `0.000` or `0.00000000`."""

    def __init__(self, spec: SymbolSpec) -> None:
        self._decimals = spec.quantity_decimals
        self._style = spec.kind.numbers
        self._zero = _decimal_text(0, self._decimals, self._style)

    def of(self, steps: int) -> str:
        """The text of a quantity."""
        return _decimal_text(steps, self._decimals, self._style) if steps else self._zero


class Spelling:
    """Spells prices, quantities and levels of one symbol."""

    def __init__(self, spec: SymbolSpec) -> None:
        self.spec = spec
        self.price = PriceText(spec).of
        self.quantity = QuantityText(spec).of

    def levels(self, levels: Iterable[tuple[int, int]]) -> str:
        """`[["price","quantity"],…]` of (ticks, steps) pairs."""
        price, quantity = self.price, self.quantity
        return "[" + ",".join([f'["{price(p)}","{quantity(q)}"]' for p, q in levels]) + "]"


@dataclass(frozen=True, slots=True)
class Parameters:
    """Hand-set parameters of a well-known symbol: price in ticks, grid, rates, typical sizes in steps."""

    price_ticks: int
    price_decimals: int
    tick_units: int
    quantity_decimals: int
    instants: float
    changes: float
    orders: float
    spread: int
    quantity: float
    order: float


def specification(kind: MarketKind, symbol: str, assets: Assets, known: Parameters) -> SymbolSpec:
    """A listed symbol from its parameters."""
    return SymbolSpec(
        kind=kind,
        symbol=symbol,
        base_asset=assets.base,
        quote_asset=assets.quote,
        pair=assets.pair,
        start_price_ticks=known.price_ticks,
        price_decimals=known.price_decimals,
        tick_units=known.tick_units,
        quantity_decimals=known.quantity_decimals,
        instants_per_s=known.instants,
        changes_per_instant=known.changes,
        orders_per_s=known.orders,
        # 0.3 basis points a second, but never so little that a coarse grid stands still
        volatility=max(0.4, known.price_ticks * 0.3e-4),
        spread_ticks=known.spread,
        quantity_steps=known.quantity,
        order_steps=known.order,
    )


def drawn_parameters(market: str, symbol: str, seed: int) -> Parameters:
    """Plausible parameters of any name, from a hash of seed, market and name."""
    draw = random.Random(f"{seed}/{market}/{symbol}/specification")  # noqa: S311 - reproducible, not secret
    price_decimals = draw.randint(2, 5)
    quantity_decimals = draw.randint(0, 3)
    quantity = draw.uniform(2_000, 200_000)
    return Parameters(
        price_ticks=draw.randint(4_000, 60_000),
        price_decimals=price_decimals,
        tick_units=1,
        quantity_decimals=quantity_decimals,
        instants=draw.uniform(1.2, 4.0),
        changes=draw.uniform(3, 6),
        orders=draw.uniform(0.1, 0.9),
        spread=draw.choice((1, 1, 1, 2, 3)),
        quantity=quantity,
        order=quantity / draw.uniform(8, 25),
    )
