"""Coinbase's products, which we spell as it does: `BTC-USD`."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.names import symbol_problem
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.coinbase import wire
from workers.venues.interface import BadListing, ExchangeInfo, Tickers
from workers.venues.tolerant_json import UNUSABLE, each, finite, listing

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
    return listing(products, _advanced, "product_id", _advanced_product)


def _advanced_product(product: wire.AdvancedProduct) -> SymbolInfo | None:
    symbol = symbol_of(product.product_id)
    if product.product_type != "SPOT":
        return None
    status = f"alias of {product.alias}" if product.alias else product.status
    closed = bool(product.is_disabled or product.trading_disabled or product.alias)
    return SymbolInfo(
        symbol,
        plain(status),
        plain(product.base_currency_id or symbol.partition("-")[0]),
        plain(product.quote_currency_id or symbol.partition("-")[2]),
        plain(product.price_increment),
        plain(product.base_increment),
        _phase(product.status, closed),
    )


def exchange_info(products: list[msgspec.Raw]) -> ExchangeInfo:
    """Products of Exchange, in the same way."""
    return listing(products, _exchange, "id", _exchange_product)


def _exchange_product(product: wire.ExchangeProduct) -> SymbolInfo:
    return SymbolInfo(
        symbol_of(product.id),
        plain(product.status),
        plain(product.base_currency),
        plain(product.quote_currency),
        plain(product.quote_increment),
        plain(product.base_increment),
        _phase(product.status, product.trading_disabled),
    )


def _phase(status: str, closed: bool) -> Phase:
    if status == "delisted":
        return "ended"
    return "trading" if status in ("online", "") and not closed else "paused"


def advanced_tickers(products: list[msgspec.Raw]) -> Tickers:
    """What the list of products says of the last 24 h."""
    return Tickers(*each(products, _advanced, "product_id", _advanced_ticker))


def _advanced_ticker(product: wire.AdvancedProduct) -> Ticker:
    price = finite(product.price)
    value = finite(product.approximate_quote_24h_volume) or finite(finite(product.volume_24h) * price)
    return Ticker(symbol_of(product.product_id), value, price)


def exchange_tickers(products: dict[str, msgspec.Raw]) -> Tickers:
    """`products/stats`: volumes are in the base asset."""
    found = Tickers([], [])
    for name, element in products.items():
        try:
            day = _stats.decode(element).stats_24hour
            price = finite(day.last)
            found.rows.append(Ticker(symbol_of(name), finite(finite(day.volume) * price), price))
        except (*UNUSABLE, ValueError) as error:
            found.bad.append(BadListing(plain(name, 64), str(error)))
    return found
