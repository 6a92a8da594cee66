"""Faults of the market itself: what happens to a symbol when one is switched on and off.

These change what is true; the ground truth follows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Protocol

from workers.sim.engine.faults import MARKET_KINDS, ActiveFault
from workers.sim.engine.flavour import FeedOfFlavour


class Listing(Protocol[FeedOfFlavour]):
    """Whose market it is."""

    def feeds(self) -> Iterator[FeedOfFlavour]:
        """The feeds of all symbols of all markets."""

    def list_symbol(self, market: str, symbol: str, now_ms: float, pending_ms: float = 0) -> None:
        """List a symbol and let it trade, after some time if wanted."""

    def unlist_symbol(self, feed: FeedOfFlavour, now_ms: float) -> None:
        """Take a symbol off the exchange."""


def begin(exchange: Listing[FeedOfFlavour], active: ActiveFault, now_ms: float) -> None:
    """Apply a market fault that has just been switched on; other kinds are left alone."""
    fault = active.fault
    if fault.kind not in MARKET_KINDS:
        return
    if fault.kind == "list":
        exchange.list_symbol(fault.market, fault.symbol, now_ms, fault.value * 1000)
        active.hits += 1
        return
    for feed in _covered(exchange, active):
        active.hits += 1
        market = feed.market
        if fault.kind == "burst":
            market.rate_factor = max(0.001, fault.value)
        elif fault.kind == "drift":
            market.drift = fault.value
        elif fault.kind == "price":
            market.move_to(fault.value)
        elif fault.kind == "tick_size":
            market.grid = max(1, int(fault.value))
        elif fault.kind in ("empty_bids", "empty_asks"):
            feed.change(now_ms, partial(market.empty, fault.kind == "empty_bids"))
        elif fault.kind == "deep_levels":
            feed.change(now_ms, partial(market.add_deep, max(1, int(fault.value))))
        elif fault.kind == "largest_quantity":
            feed.change(now_ms, market.enlarge)
        elif fault.kind == "trade_ids":
            feed.begin_trade_ids(max(1, int(fault.value)), now_ms)
        elif fault.kind == "book_ids":
            feed.begin_book_ids(max(1, int(fault.value)), now_ms)
        elif fault.kind == "unlist":
            exchange.unlist_symbol(feed, now_ms)
        else:
            feed.halt("delisted" if fault.kind == "delist" else "halted")
            feed.announce(now_ms)


def end(exchange: Listing[FeedOfFlavour], active: ActiveFault, now_ms: float) -> None:
    """Take back a market fault that has just been switched off."""
    fault = active.fault
    if fault.kind not in MARKET_KINDS or fault.kind == "list":
        return
    for feed in _covered(exchange, active):
        market = feed.market
        if fault.kind == "burst":
            market.rate_factor = 1.0
        elif fault.kind == "drift":
            market.drift = 0.0
        elif fault.kind == "tick_size":
            market.grid = 1
        elif fault.kind in ("empty_bids", "empty_asks"):
            feed.change(now_ms, market.refill)
        elif fault.kind in ("halt", "delist"):
            feed.reopen(now_ms)
            feed.announce(now_ms)


def _covered(exchange: Listing[FeedOfFlavour], active: ActiveFault) -> list[FeedOfFlavour]:
    return [feed for feed in exchange.feeds() if active.fault.covers(feed.spec.market, feed.spec.symbol)]
