"""What the REST sides of both ways have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from workers.sim.coinbase.feed import CoinbaseFeed
from workers.sim.engine.book import Levels, sides_of
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.history import Fill
from workers.sim.engine.limits import WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults
from workers.sim.engine.rest_routes import Query, RestRefusal, RestRoutes

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
        self.pool = WeightPool(requests, WINDOW_S)
        self._symbol_key = symbol_key
        self.plain = RestRoutes(
            exchange.faults, clock_ms, RestErrors(BUSY, FAILED), lambda _query: market, symbol_key
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

    def book(self, feed: CoinbaseFeed, faults: RestFaults, count: int) -> tuple[Levels, Levels, int]:
        """The best bids and asks of the cached copy, best first, and its update id."""
        update_id = faults.copy_id(feed, self.clock_ms())
        bids, asks = sides_of(feed.market.changes.book_at(update_id)[1].items())
        if faults.strike("snapshot_empty") is not None:
            return [], [], update_id
        return bids[:count], asks[:count], update_id

    @staticmethod
    def newest(feed: CoinbaseFeed, end: int, limit: int) -> list[Fill]:
        """Up to `limit` trades with ids below `end`, the newest first."""
        tape = feed.market.tape
        end = min(end, tape.next_trade_id)
        start = max(tape.first_trade_id, end - limit)
        return tape.trades(start, end - start)[::-1] if end > start else []
