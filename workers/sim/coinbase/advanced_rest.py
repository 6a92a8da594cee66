"""Advanced's public REST under `/api/v3/brokerage` (Coinbase docs)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from aiohttp import web

from workers.sim.coinbase.feed import CoinbaseFeed
from workers.sim.coinbase.rest import CoinbaseRest
from workers.sim.coinbase.symbols import alias_of
from workers.sim.coinbase.wire import maker_side, matched_at, rfc3339
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.history import Fill
from workers.sim.engine.rest_faults import RestFaults
from workers.sim.engine.rest_routes import Answer, Query, RestRefusal, whole

REQUESTS: Final = 10
MOST_TRADES: Final = 1000
MOST_LEVELS: Final = 1000
NEVER_S: Final = 10**10


class AdvancedRest(CoinbaseRest):
    """Products, books, trades and the time."""

    def __init__(self, exchange: Exchange[CoinbaseFeed], clock_ms: Callable[[], float]) -> None:
        super().__init__(exchange, clock_ms, "advanced", REQUESTS, "product_id")

    def routes(self) -> list[web.RouteDef]:
        """All share the limit of an address."""
        answers: dict[str, Answer] = {
            "time": self._time,
            "market/products": self._products,
            "market/product_book": self._book,
            "market/products/{product_id}/ticker": self._trades,
        }
        return [
            self.plain.route(f"/api/v3/brokerage/{path}", self.pool, answer)
            for path, answer in answers.items()
        ]

    def _time(self, _query: Query, _faults: RestFaults) -> dict[str, Any]:
        now_ms = int(self.clock_ms())
        return {
            "iso": rfc3339(now_ms // 1000 * 10**9),
            "epochSeconds": str(now_ms // 1000),
            "epochMillis": str(now_ms),
        }

    def _products(self, query: Query, faults: RestFaults) -> dict[str, Any]:
        """Spot products, an alias behind the product whose other name it is; `limit` and `offset` cut a page."""
        now_ms = int(self.clock_ms())
        rows: list[dict[str, Any]] = []
        for feed in self.feeds() if query.get("product_type", "SPOT") == "SPOT" else ():
            rows.append(product(feed, now_ms))
            name = alias_of(feed.spec.symbol)
            if name:
                quote = {"quote_currency_id": "USDC", "quote_name": "USDC"}
                alias = {"product_id": name, "alias": feed.spec.symbol, "alias_to": []}
                rows[-1] |= {"alias_to": [name]}
                rows.append(rows[-1] | quote | alias)
        refusal = _invalid("limit and offset must be whole numbers")
        start = whole(query, "offset", 0, refusal)
        page = rows[start : start + whole(query, "limit", len(rows), refusal)]
        return {"products": faults.listing(page, "price_increment"), "num_products": len(page)}

    def _book(self, query: Query, faults: RestFaults) -> dict[str, Any]:
        feed = self.named(query, _unknown())
        limit = whole(query, "limit", MOST_LEVELS, _invalid("limit must be a whole number"))
        bids, asks, _ = self.book(feed, faults, limit or MOST_LEVELS)
        sides = {
            side: [{"price": feed.wire.price(p), "size": feed.wire.quantity(q)} for p, q in levels]
            for side, levels in (("bids", bids), ("asks", asks))
        }
        moment = matched_at(int(self.clock_ms()))
        return {"pricebook": {"product_id": feed.spec.symbol, **sides, "time": moment}}

    def _trades(self, query: Query, _faults: RestFaults) -> dict[str, Any]:
        """The newest of a time from `start` to `end`, UNIX seconds, the newest first."""
        feed = self.named(query, _unknown())
        refusal = _invalid("limit, start and end must be whole numbers")
        limit = min(MOST_TRADES, whole(query, "limit", 100, refusal))
        start, end = (whole(query, name, then, refusal) for name, then in (("start", 0), ("end", NEVER_S)))
        tape = feed.market.tape
        fills = [
            fill
            for fill in self.newest(feed, tape.next_trade_id, 10**9)
            if start * 1000 <= fill.time <= end * 1000
        ][:limit]
        bid, _, ask, _ = feed.market.book.best()
        return {
            "trades": [trade(feed, fill) for fill in fills],
            "best_bid": feed.wire.price(bid),
            "best_ask": feed.wire.price(-ask),
        }


def trade(feed: CoinbaseFeed, fill: Fill) -> dict[str, str]:
    """A trade with the maker's side, as on sockets."""
    return {
        "trade_id": str(fill.trade_id),
        "product_id": feed.spec.symbol,
        "price": feed.wire.of_trades.price(fill.price),
        "size": feed.wire.of_trades.quantity(fill.quantity),
        "time": matched_at(fill.time, fill.trade_id),
        "side": maker_side(fill).upper(),
        "exchange": "CBE",
    }


def product(feed: CoinbaseFeed, now_ms: int) -> dict[str, Any]:
    """A row of `products`, with what was traded in 24 h."""
    wire, spec = feed.wire, feed.spec
    day = feed.market.tape.day(now_ms)
    places = spec.price_decimals + spec.quantity_decimals
    return {
        "product_id": spec.symbol,
        "price": wire.price(day.close),
        "volume_24h": wire.quantity(day.quantity),
        "base_increment": spec.step_size,
        "quote_increment": wire.price(feed.market.grid),
        "price_increment": wire.price(feed.market.grid),
        "base_min_size": spec.step_size,
        "base_name": spec.base_asset,
        "quote_name": spec.quote_asset,
        "is_disabled": feed.phase == "delisted",
        "new": False,
        "status": feed.status,
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": feed.trading_disabled,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": spec.quote_asset,
        "base_currency_id": spec.base_asset,
        "alias": "",
        "alias_to": [],
        "approximate_quote_24h_volume": f"{Decimal(day.notional * spec.tick_units).scaleb(-places):f}",
    }


def _unknown() -> RestRefusal:
    text = "valid product_id is required"
    return RestRefusal(404, {"error": "NOT_FOUND", "error_details": text, "message": text})


def _invalid(text: str) -> RestRefusal:
    return RestRefusal(400, {"error": "INVALID_ARGUMENT", "error_details": text, "message": text})
