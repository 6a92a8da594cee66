"""What is listed: price and quantity grids, typical sizes and rates of every symbol.

Well-known symbols have parameters like their captured originals; any other name gets plausible ones from
a seeded hash of the name, so a list of 200 names is enough to have 200 markets.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

Market = Literal["spot", "usdm"]
MARKETS: Final[tuple[Market, ...]] = ("spot", "usdm")

QUOTE_ASSETS = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
SPOT_DECIMALS = 8
PRICE_TEXT_CACHE = 4096


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """One listed symbol.

    Prices are counted in ticks and quantities in steps; `tick_units` ticks of 10^-price_decimals make one
    tick (0.10 at two decimals is 10 units). Rates are per second at rate scale 1.

    instants_per_s: moments at which the book changes; changes_per_instant: levels touched at each.
    orders_per_s: market orders. volatility: standard deviation of the price in ticks after one second.
    quantity_steps, order_steps: typical level and market order, in steps.
    """

    market: Market
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
    def stream_symbol(self) -> str:
        """The symbol as stream names spell it: only ASCII letters change case."""
        return "".join(letter.lower() if letter.isascii() else letter for letter in self.symbol)

    @property
    def dated(self) -> bool:
        """A delivery contract such as `BTCUSDT_261225`, not a perpetual."""
        return "_" in self.symbol

    @property
    def tick_size(self) -> str:
        """Price of one tick as the filters spell it."""
        return PriceText(self).of(1)

    @property
    def step_size(self) -> str:
        """Quantity of one step as the filters spell it."""
        return QuantityText(self).of(1)


class PriceText:
    """Ticks to price text; spot pads to eight decimals, USD-M has the symbol's price precision."""

    def __init__(self, spec: SymbolSpec) -> None:
        self._units = spec.tick_units
        self._decimals = spec.price_decimals
        self._divisor = 10**spec.price_decimals
        self._padding = "0" * (SPOT_DECIMALS - spec.price_decimals) if spec.market == "spot" else ""
        self._cache: dict[int, str] = {}

    def of(self, ticks: int) -> str:
        """The text of a price; the few thousand prices in use are remembered."""
        text = self._cache.get(ticks)
        if text is None:
            whole, part = divmod(ticks * self._units, self._divisor)
            text = f"{whole}.{part:0{self._decimals}d}{self._padding}" if self._decimals else str(whole)
            if len(self._cache) >= PRICE_TEXT_CACHE:
                self._cache.clear()
            self._cache[ticks] = text
        return text


class QuantityText:
    """Steps to quantity text: spot has eight decimals, USD-M those of the step size (so `0.000` or `0`)."""

    def __init__(self, spec: SymbolSpec) -> None:
        self._decimals = spec.quantity_decimals
        self._divisor = 10**spec.quantity_decimals
        self._padding = "0" * (SPOT_DECIMALS - spec.quantity_decimals) if spec.market == "spot" else ""
        if self._padding and not self._decimals:
            self._padding = "." + self._padding
        self._zero = self._spell(0)

    def of(self, steps: int) -> str:
        """The text of a quantity."""
        return self._spell(steps) if steps else self._zero

    def _spell(self, steps: int) -> str:
        if not self._decimals:
            return f"{steps}{self._padding}"
        whole, part = divmod(steps, self._divisor)
        return f"{whole}.{part:0{self._decimals}d}{self._padding}"


@dataclass(frozen=True, slots=True)
class _Known:
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


# Rates are fitted to captures: 9.8 depth messages a second at 100 ms need about 39 moments of change, and
# 1.6 kB a message about 50 changed levels.
_KNOWN: Final[dict[tuple[Market, str], _Known]] = {
    ("usdm", "BTCUSDT"): _Known(845_511, 2, 10, 3, 39, 13, 10, 1, 900, 60),
    ("usdm", "ETHUSDT"): _Known(280_114, 2, 1, 3, 39, 14, 12, 1, 9_000, 800),
    ("usdm", "SOLUSDT"): _Known(13_522, 4, 100, 2, 25, 7, 5, 1, 12_000, 900),
    ("usdm", "1000SHIBUSDT"): _Known(9_081, 6, 1, 0, 4, 5, 0.7, 1, 900_000, 90_000),
    ("usdm", "币安人生USDT"): _Known(12_034, 5, 1, 0, 3, 4, 0.5, 2, 30_000, 2_500),
    ("usdm", "BTCUSDT_261225"): _Known(851_203, 1, 1, 3, 2, 4, 0.1, 12, 400, 20),
    ("spot", "BTCUSDT"): _Known(8_454_102, 2, 1, 5, 39, 13, 8, 1, 30_000, 2_500),
    ("spot", "ETHUSDT"): _Known(280_031, 2, 1, 4, 30, 11, 6, 1, 60_000, 4_000),
    ("spot", "BNBBTC"): _Known(10_512, 6, 1, 3, 3, 5, 0.5, 1, 8_000, 400),
    ("spot", "PEPEUSDT"): _Known(1_234, 8, 1, 0, 5, 6, 1.0, 1, 2_000_000_000, 60_000_000),
    ("spot", "币安人生USDT"): _Known(1_203, 4, 1, 0, 2.5, 4, 0.5, 1, 20_000, 1_500),
}


def specification(market: Market, symbol: str, seed: int) -> SymbolSpec:
    """Parameters of a symbol: hand-set ones where known, else drawn from a hash of seed, market and name."""
    known = _KNOWN.get((market, symbol)) or _drawn(market, symbol, seed)
    base, quote, pair = _assets(symbol)
    return SymbolSpec(
        market=market,
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        pair=pair,
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


def _drawn(market: Market, symbol: str, seed: int) -> _Known:
    draw = random.Random(f"{seed}/{market}/{symbol}/specification")  # noqa: S311 - reproducible, not secret
    price_decimals = draw.randint(2, 5)
    quantity_decimals = draw.randint(0, 3)
    quantity = draw.uniform(2_000, 200_000)
    return _Known(
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


def _assets(symbol: str) -> tuple[str, str, str]:
    """Base asset, quote asset and pair; the pair of a dated contract is its part before `_`."""
    pair = symbol.partition("_")[0]
    for quote in QUOTE_ASSETS:
        if pair.endswith(quote) and len(pair) > len(quote):
            return pair[: -len(quote)], quote, pair
    return pair, "USDT", pair
