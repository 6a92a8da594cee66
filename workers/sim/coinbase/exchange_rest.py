"""Exchange's public REST (Coinbase docs): lists and objects without an envelope, pages named by headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from workers.sim.coinbase.feed import CoinbaseFeed, ExchangeFeed
from workers.sim.coinbase.rest import CoinbaseRest
from workers.sim.coinbase.wire import maker_side, matched_at, rfc3339
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.rest_faults import RestFaults
from workers.sim.engine.rest_routes import Answer, Query, RestRefusal, WithHeaders, whole

REQUESTS: Final = 15
MOST_TRADES: Final = 1000
LARGEST_ID: Final = 2**63
LEVELS: Final = {"1": 1, "2": 10**9}
NOT_FOUND: Final = RestRefusal(404, {"message": "NotFound"})


class ExchangeRest(CoinbaseRest):
    """Products, their day, books, trades and the time."""

    def __init__(self, exchange: Exchange[CoinbaseFeed], clock_ms: Callable[[], float]) -> None:
        super().__init__(exchange, clock_ms, "exchange", REQUESTS, "id")

    def routes(self) -> list[web.RouteDef]:
        """All share the limit of an address."""
        answers: dict[str, Answer] = {
            "time": self._time,
            "products": self._products,
            "products/stats": self._stats,
            "products/{id}/book": self._book,
            "products/{id}/trades": self._trades,
        }
        return [self.plain.route(f"/{path}", self.pool, answer) for path, answer in answers.items()]

    def _time(self, _query: Query, _faults: RestFaults) -> dict[str, Any]:
        now_ms = int(self.clock_ms())
        return {"iso": rfc3339(now_ms * 10**6), "epoch": now_ms / 1000}

    def _products(self, _query: Query, faults: RestFaults) -> list[Any]:
        return faults.listing([product(feed) for feed in self.feeds()], "quote_increment")

    def _stats(self, _query: Query, _faults: RestFaults) -> dict[str, Any]:
        now_ms = int(self.clock_ms())
        return {feed.spec.symbol: stats(feed, now_ms) for feed in self.feeds()}

    def _book(self, query: Query, faults: RestFaults) -> object:
        """Levels 1 and 2 of the cached copy; level 3 has the orders of now."""
        feed = self.named(query, NOT_FOUND)
        if query.get("level") == "3" and isinstance(feed, ExchangeFeed):
            stale = faults.strike("snapshot_stale") is not None
            return msgspec.Raw(feed.orders.book(stale=stale).encode())
        count = LEVELS.get(query.get("level", "1"))
        if count is None:
            raise RestRefusal(400, {"message": "Invalid level"})
        bids, asks, sequence = self.book(feed, faults, count)
        sides = {
            side: [[feed.wire.price(p), feed.wire.quantity(q), 1] for p, q in levels]
            for side, levels in (("bids", bids), ("asks", asks))
        }
        moment = matched_at(int(self.clock_ms()))
        return {**sides, "sequence": sequence, "auction_mode": False, "auction": None, "time": moment}

    def _trades(self, query: Query, _faults: RestFaults) -> WithHeaders:
        """The newest first: ids below `after`; `before` gives the newest page above an id, not the next one."""
        feed = self.named(query, NOT_FOUND)
        refusal = RestRefusal(400, {"message": "Invalid cursor"})
        limit = min(MOST_TRADES, whole(query, "limit", MOST_TRADES, refusal))
        above = whole(query, "before", -1, refusal)
        fills = [
            fill
            for fill in self.newest(feed, whole(query, "after", LARGEST_ID, refusal), limit)
            if fill.trade_id > above
        ]
        rows = [
            {
                "trade_id": fill.trade_id,
                "side": maker_side(fill),
                "size": feed.wire.of_trades.quantity(fill.quantity),
                "price": feed.wire.of_trades.price(fill.price),
                "time": matched_at(fill.time, fill.trade_id),
            }
            for fill in fills
        ]
        cursors = {"CB-BEFORE": fills[0].trade_id, "CB-AFTER": fills[-1].trade_id} if fills else {}
        return WithHeaders(rows, {name: str(number) for name, number in cursors.items()})


def product(feed: CoinbaseFeed) -> dict[str, Any]:
    """A row of `products`."""
    spec = feed.spec
    return {
        "id": spec.symbol,
        "base_currency": spec.base_asset,
        "quote_currency": spec.quote_asset,
        "quote_increment": feed.wire.price(feed.market.grid),
        "base_increment": spec.step_size,
        "display_name": spec.symbol.replace("-", "/"),
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": feed.status,
        "status_message": "",
        "trading_disabled": feed.trading_disabled,
        "auction_mode": False,
    }


def stats(feed: CoinbaseFeed, now_ms: int) -> dict[str, Any]:
    """What was traded in the last day; as much in 30, as there is no more here."""
    wire = feed.wire
    day = feed.market.tape.day(now_ms)
    volume = wire.quantity(day.quantity)
    prices = {name: wire.price(getattr(day, name)) for name in ("open", "high", "low")}
    return {
        "stats_30day": {"volume": volume},
        "stats_24hour": {**prices, "volume": volume, "last": wire.price(day.close)},
    }
