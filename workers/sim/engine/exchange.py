"""The whole exchange without I/O: every symbol's feed on one schedule, driven by `advance(now)`.

Time is exchange time in ms and only moves when the caller says so. After `pause` nothing new happens and
everything generated has been sent; after `resume` the market goes on as if no time had passed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic

from workers.sim.engine import market_faults
from workers.sim.engine.event_faults import EventFaults
from workers.sim.engine.faults import ActiveFault, Fault, FaultBoard
from workers.sim.engine.feed import SymbolFeed
from workers.sim.engine.flavour import FeedOfFlavour, Flavour
from workers.sim.engine.topics import TopicRegistry
from workers.sim.settings import SimSettings

# A process that stood still for longer than this goes on from now instead of catching up.
LONGEST_CATCH_UP_MS = 5_000.0

Action = Callable[[float], None]


class Exchange(Generic[FeedOfFlavour]):
    """All markets. `topics` is where subscribers attach; events reach them from inside `advance`."""

    def __init__(self, flavour: Flavour[FeedOfFlavour], settings: SimSettings, start_ms: int) -> None:
        self.flavour = flavour
        self.settings = settings
        self.faults = FaultBoard(settings.seed)
        self.event_faults = EventFaults(self.faults, flavour.shape)
        self.topics = TopicRegistry(self.event_faults)
        flavour.begin(self.topics)
        self.now_ms = float(start_ms)
        self.begun: list[ActiveFault] = []  # for whoever holds the connections, which takes them out
        self.paused = False
        self._held: list[tuple[float, Action]] = []
        self._paused_at = 0.0
        self._schedule: list[tuple[float, int, Action]] = []
        self._sequence = 0
        self._feeds: dict[str, dict[str, FeedOfFlavour]] = {
            market: {
                symbol: flavour.feed(market, symbol, start_ms, self.topics, self._at)
                for symbol in flavour.listed(market)
            }
            for market in flavour.markets
        }
        for feed in self.feeds():
            feed.start(self.now_ms)
        for text in settings.faults:
            self.set_fault(Fault.parse(text))

    def feeds(self) -> Iterator[FeedOfFlavour]:
        """The feeds of all symbols of all markets."""
        for feeds in self._feeds.values():
            yield from feeds.values()

    def listed(self, market: str) -> dict[str, FeedOfFlavour]:
        """The feeds of one market by symbol."""
        return self._feeds[market]

    def _at(self, due_ms: float, action: Action) -> None:
        self._sequence += 1
        heapq.heappush(self._schedule, (due_ms, self._sequence, action))

    def advance(self, now_ms: float) -> None:
        """Do everything that is due by `now_ms`, in order of time."""
        if now_ms - self.now_ms > LONGEST_CATCH_UP_MS and not self.paused:
            self._shift(now_ms - self.now_ms)
        self.now_ms = max(self.now_ms, now_ms)
        if self.faults.waiting:
            self._switch_faults()
        schedule = self._schedule
        while schedule and schedule[0][0] <= self.now_ms:
            due_ms, _, action = heapq.heappop(schedule)
            action(due_ms)
        self.event_faults.advance(self.now_ms)

    def set_fault(self, fault: Fault) -> ActiveFault:
        """Set a fault; without a delay it is on at once."""
        active = self.faults.add(fault, self.now_ms)
        self._switch_faults()
        return active

    def remove_faults(self, number: int | None) -> list[ActiveFault]:
        """Take back one fault or all of them, and send what they held back."""
        removed = self.faults.remove(number)
        for active in removed:
            market_faults.end(self, active, self.now_ms)
        self.event_faults.release()
        return removed

    def _switch_faults(self) -> None:
        begun, ended = self.faults.advance(self.now_ms)
        self.begun += begun
        for active in begun:
            market_faults.begin(self, active, self.now_ms)
        for active in ended:
            market_faults.end(self, active, self.now_ms)

    def list_symbol(self, market: str, symbol: str, now_ms: float, pending_ms: float = 0) -> None:
        """List a symbol and let it trade, after some time if wanted; one that is listed already is left alone."""
        if market not in self._feeds or symbol in self._feeds[market]:
            return
        feed = self.flavour.feed(market, symbol, int(now_ms), self.topics, self._at)
        self._feeds[market][symbol] = feed
        feed.start(now_ms)
        if pending_ms:
            feed.halt("pending")
            self._at(now_ms + pending_ms, partial(self._open, feed))
        feed.announce(now_ms)

    def _open(self, feed: FeedOfFlavour, at_ms: float) -> None:
        feed.reopen(at_ms)
        feed.announce(at_ms)

    def unlist_symbol(self, feed: FeedOfFlavour, now_ms: float) -> None:
        """Take a symbol off the exchange: nothing knows it any more, what is pending is still sent."""
        feed.halt("closed")
        feed.announce(now_ms)
        del self._feeds[feed.spec.market][feed.spec.symbol]

    def _shift(self, by_ms: float) -> None:
        self._schedule = [(due_ms + by_ms, order, action) for due_ms, order, action in self._schedule]

    def pause(self) -> None:
        """Stop the markets and send everything that is pending."""
        if self.paused:
            return
        self.paused = True
        self._paused_at = self.now_ms
        self._held = [(due_ms, action) for due_ms, _, action in sorted(self._schedule, key=_order)]
        self._schedule = []
        for feed in self.feeds():
            feed.flush(self.now_ms)
        self.event_faults.release()

    def resume(self, now_ms: float) -> None:
        """Let the markets go on."""
        if not self.paused:
            return
        self.paused = False
        self.now_ms = max(self.now_ms, now_ms)
        for due_ms, action in self._held:
            self._at(due_ms + self.now_ms - self._paused_at, action)
        self._held = []

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per market and symbol: first and last id of everything and how many events there have been."""
        return {
            market: {symbol: _feed_summary(feed) for symbol, feed in feeds.items()}
            for market, feeds in self._feeds.items()
        }


def _order(entry: tuple[float, int, Action]) -> tuple[float, int]:
    return entry[0], entry[1]


def _feed_summary(feed: SymbolFeed) -> dict[str, Any]:
    tape, sent = feed.market.tape, feed.truth_trades(0, 0)
    return {
        "update_id": {
            "first": feed.first_id,
            "oldest_remembered": feed.market.changes.oldest_id,
            "last": feed.market.last_id,
        },
        "agg_trade_id": {
            "first": sent["first_id"],
            "next": sent["next_id"],
            "count": sent["next_id"] - sent["first_id"],
        },
        "trade_id": {
            "first": tape.first_trade_id,
            "next": tape.next_trade_id,
            "count": tape.next_trade_id - tape.first_trade_id,
        },
        **feed.summary(),
        "levels": [len(feed.market.book.bids.keys), len(feed.market.book.asks.keys)],
    }
