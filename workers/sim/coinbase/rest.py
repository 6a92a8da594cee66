"""What the REST sides of both ways have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from workers.sim.coinbase.feed import CoinbaseFeed
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.history import Fill
from workers.sim.engine.limits import Verdict, WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults
from workers.sim.engine.rest_routes import Query, RestRefusal, RestRoutes

DAY_MS: Final = 86_400_000
NEVER: Final = 10**9
WINDOW_S: Final = 1
BUSY: Final = {"message": "Public rate limit exceeded"}
FAILED: Final = {"message": "Internal server error"}


class CoinbaseRest:
    """Public market data of one way.

    Args:
        requests: an address may make so many in a second.
        symbol_key: what a product is called in the paths and rows of this way.
    """

    def __init__(
        self,
        exchange: Exchange[CoinbaseFeed],
        clock_ms: Callable[[], float],
        market: str,
        requests: int,
        symbol_key: str,
    ) -> None:
        self._feeds = exchange.listed(market)
        self.clock_ms = clock_ms
        self.pool = WeightPool(requests, WINDOW_S, NEVER, 1.0)
        self._symbol_key = symbol_key
        self.plain = RestRoutes(
            exchange.faults, clock_ms, RestErrors(BUSY, FAILED), _too_many, lambda _query: market, symbol_key
        )

    def feeds(self) -> list[CoinbaseFeed]:
        """All that is listed."""
        return list(self._feeds.values())

    def named(self, query: Query, refusal: RestRefusal) -> CoinbaseFeed:
        """The product of a request; the refusal is raised when there is none."""
        feed = self._feeds.get(query.get(self._symbol_key, ""))
        if feed is None:
            raise refusal
        return feed

    def book(
        self, feed: CoinbaseFeed, faults: RestFaults, count: int
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]], int]:
        """The best bids and asks of the cached copy, best first, and its update id."""
        stale = faults.strike("snapshot_stale")
        update_id = feed.snapshot_id(self.clock_ms(), stale.value if stale else 0.0)
        ordered = sorted(feed.market.changes.book_at(update_id)[1].items(), reverse=True)
        bids = [level for level in ordered if level[0] > 0][:count]
        asks = [(-key, steps) for key, steps in ordered if key < 0][:count]
        if faults.strike("snapshot_empty") is not None:
            return [], [], update_id
        return bids, asks, update_id

    @staticmethod
    def newest(feed: CoinbaseFeed, end: int, limit: int) -> list[Fill]:
        """Up to `limit` trades with ids below `end`, the newest first."""
        tape = feed.market.tape
        end = min(end, tape.next_trade_id)
        start = max(tape.first_trade_id, end - limit)
        return tape.trades(start, end - start)[::-1] if end > start else []


def _too_many(_verdict: Verdict) -> web.Response:
    return web.json_response(BUSY, status=429)
