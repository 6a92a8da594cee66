"""Coinbase's products, which we spell as it does: `BTC-USD`."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite

import msgspec

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.names import symbol_problem
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.coinbase import wire
from workers.venues.interface import BadListing, ExchangeInfo, Tickers
from workers.venues.tolerant_json import UNUSABLE

_advanced = msgspec.json.Decoder(wire.AdvancedProduct)
_exchange = msgspec.json.Decoder(wire.ExchangeProduct)
_stats = msgspec.json.Decoder(wire.Stats)


@lru_cache(4096)
def symbol_of(product: str) -> str:
    """The product itself.

    Raises:
        ValueError: no product is spelled like that.
    """
    if problem := symbol_problem(product):
        raise ValueError(f"{plain(product, 40)} is no product: {problem}")
    return product


def advanced_info(products: list[msgspec.Raw]) -> ExchangeInfo:
    """Spot products of Advanced; one that cannot be used costs no other. O(elements).

    A product with an alias has the book of another one, under whose name it comes: it is not to be followed.
    """
    found = ExchangeInfo({}, 0, [])
    for element in products:
        try:
            product = _advanced.decode(element)
            symbol = symbol_of(product.product_id)
        except (*UNUSABLE, ValueError) as error:
            found.bad.append(BadListing("", str(error)))
            continue
        if product.product_type != "SPOT":
            continue
        status = f"alias of {product.alias}" if product.alias else product.status
        closed = bool(product.is_disabled or product.trading_disabled or product.alias)
        found.symbols[symbol] = SymbolInfo(
            symbol,
            plain(status),
            plain(product.base_currency_id or symbol.partition("-")[0]),
            plain(product.quote_currency_id or symbol.partition("-")[2]),
            plain(product.price_increment),
            plain(product.base_increment),
            _phase(product.status, closed),
        )
    return found


def exchange_info(products: list[msgspec.Raw]) -> ExchangeInfo:
    """Products of Exchange, in the same way."""
    found = ExchangeInfo({}, 0, [])
    for element in products:
        try:
            product = _exchange.decode(element)
            symbol = symbol_of(product.id)
        except (*UNUSABLE, ValueError) as error:
            found.bad.append(BadListing("", str(error)))
            continue
        found.symbols[symbol] = SymbolInfo(
            symbol,
            plain(product.status),
            plain(product.base_currency),
            plain(product.quote_currency),
            plain(product.quote_increment),
            plain(product.base_increment),
            _phase(product.status, product.trading_disabled),
        )
    return found


def _phase(status: str, closed: bool) -> Phase:
    if status == "delisted":
        return "ended"
    return "trading" if status in ("online", "") and not closed else "paused"


def advanced_tickers(products: list[msgspec.Raw]) -> Tickers:
    """What the list of products says of the last 24 h."""
    found = Tickers([], [])
    for element in products:
        try:
            product = _advanced.decode(element)
            symbol, price = symbol_of(product.product_id), float(product.price or 0)
            value = float(product.approximate_quote_24h_volume or 0) or float(product.volume_24h or 0) * price
            found.rows.append(_ticker(symbol, value, price))
        except (*UNUSABLE, ValueError) as error:
            found.bad.append(BadListing("", str(error)))
    return found


def exchange_tickers(products: dict[str, msgspec.Raw]) -> Tickers:
    """`products/stats`: volumes are in the base asset."""
    found = Tickers([], [])
    for name, element in products.items():
        try:
            day = _stats.decode(element).stats_24hour
            price = float(day.last or 0)
            found.rows.append(_ticker(symbol_of(name), float(day.volume or 0) * price, price))
        except (*UNUSABLE, ValueError) as error:
            found.bad.append(BadListing(plain(name, 64), str(error)))
    return found


def _ticker(symbol: str, value: float, price: float) -> Ticker:
    if not (isfinite(value) and isfinite(price)):
        raise ValueError(f"{symbol} has a number that is not finite")
    return Ticker(symbol, value, price)
