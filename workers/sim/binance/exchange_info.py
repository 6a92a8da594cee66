"""`exchangeInfo` of both markets: limits, and per symbol status, assets and filters (Binance docs)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from workers.sim.binance.feed import BinanceFeed
from workers.sim.binance.symbols import Market
from workers.sim.binance.wire import ONBOARD_MS, contract
from workers.sim.engine.limits import WeightPool

SPOT_RAW_REQUESTS: Final = 300_000
ORDER_TYPES: Final = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]


def exchange_info(
    market: Market, feeds: Iterable[BinanceFeed], pool: WeightPool, server_time: int, query: Mapping[str, str]
) -> dict[str, Any]:
    """The answer for the chosen symbols."""
    limits = [_limit("REQUEST_WEIGHT", pool.window_s, pool.limit)]
    if market == "spot":
        limits.append(_limit("RAW_REQUESTS", 300, SPOT_RAW_REQUESTS))
        with_permissions = query.get("showPermissionSets", "true") != "false"
        symbols = [_spot_symbol(feed, with_permissions) for feed in feeds]
    else:
        symbols = [_usdm_symbol(feed) for feed in feeds]
    return {
        "timezone": "UTC",
        "serverTime": server_time,
        "rateLimits": limits,
        "exchangeFilters": [],
        "symbols": symbols,
    }


def _limit(kind: str, seconds: int, limit: int) -> dict[str, Any]:
    interval, number = ("MINUTE", seconds // 60) if seconds % 60 == 0 else ("SECOND", seconds)
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _filters(feed: BinanceFeed, notional: dict[str, Any]) -> list[dict[str, Any]]:
    wire, spec = feed.wire, feed.spec
    largest = wire.quantity(int(spec.quantity_steps) * 100_000)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": wire.price(1),
            "maxPrice": wire.price(spec.start_price_ticks * 100),
            "tickSize": wire.price(feed.market.grid),
        },
        {"filterType": "LOT_SIZE", "minQty": spec.step_size, "maxQty": largest, "stepSize": spec.step_size},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": spec.step_size,
            "maxQty": largest,
            "stepSize": spec.step_size,
        },
        notional,
    ]


def _spot_symbol(feed: BinanceFeed, with_permissions: bool) -> dict[str, Any]:
    spec = feed.spec
    notional = {
        "filterType": "NOTIONAL",
        "minNotional": "5.00000000",
        "applyMinToMarket": True,
        "maxNotional": "9000000.00000000",
        "applyMaxToMarket": False,
        "avgPriceMins": 5,
    }
    symbol: dict[str, Any] = {
        "symbol": spec.symbol,
        "status": feed.status,
        "baseAsset": spec.base_asset,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ORDER_TYPES,
        "icebergAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(feed, notional),
        "permissions": [],
    }
    if with_permissions:
        symbol["permissionSets"] = [["SPOT"]]
    return symbol


def _usdm_symbol(feed: BinanceFeed) -> dict[str, Any]:
    spec = feed.spec
    kind, delivery_ms = contract(spec)
    return {
        "symbol": spec.symbol,
        "pair": spec.pair,
        "contractType": kind,
        "deliveryDate": delivery_ms,
        "onboardDate": ONBOARD_MS,
        "status": feed.status,
        "baseAsset": spec.base_asset,
        "quoteAsset": spec.quote_asset,
        "marginAsset": spec.quote_asset,
        "pricePrecision": spec.price_decimals,
        "quantityPrecision": spec.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT"],
        "filters": _filters(feed, {"filterType": "MIN_NOTIONAL", "notional": "5"}),
    }
