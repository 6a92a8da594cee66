"""One symbol on Binance: its depth, trade and ticker streams, and what has been sent on them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from workers.sim.binance.depth_chain import DepthChain
from workers.sim.binance.symbols import stream_symbol
from workers.sim.binance.wire import DepthIds, Wire
from workers.sim.engine.derivatives import Derivative, Quote
from workers.sim.engine.feed import FeedParts, Phase, SymbolFeed
from workers.sim.engine.history import AggregateTrade, Fill
from workers.sim.engine.topics import Topic, TopicRegistry

# Suffix and interval of every depth speed. `@depth@0ms` is undocumented and works on USD-M only.
SPEEDS: Final = {
    "spot": (("", 1000), ("@100ms", 100)),
    "usdm": (("", 250), ("@500ms", 500), ("@100ms", 100), ("@0ms", 0)),
}
PARTIAL_DEPTHS: Final = (5, 10, 20)
MARK_PRICES: Final = (("", 3_000), ("@1s", 1_000))
LIQUIDATIONS_MS: Final = 1_000
AGGREGATION_MS: Final = 100  # USD-M sends aggregate trades in batches of this length
STATUSES: Final[dict[str, dict[Phase, str]]] = {
    "spot": {
        "pending": "BREAK",
        "trading": "TRADING",
        "halted": "HALT",
        "delisted": "BREAK",
        "closed": "BREAK",
    },
    "usdm": {
        "pending": "PENDING_TRADING",
        "trading": "TRADING",
        "halted": "TRADING_HALT",
        "delisted": "SETTLING",
        "closed": "CLOSE",
    },
}


class BinanceFeed(SymbolFeed):
    """The streams of one symbol.

    Args:
        contracts: the topic of `!contractInfo`, which USD-M announces itself on.
        liquidations: the topic of `!forceOrder@arr`.
    """

    def __init__(self, parts: FeedParts, contracts: Topic, liquidations: Topic) -> None:
        spec, settings, start_ms, topics, schedule = parts
        self.wire = Wire(spec)
        super().__init__(self.wire, settings, start_ms, schedule)
        self._contracts = contracts
        self._liquidations = [liquidations]
        self._liquidated_ms = self._marked_ms = 0
        self._contiguous = spec.kind.contiguous
        # Spread over the interval, and the same in every run.
        self._phase_ms = sum(spec.symbol.encode()) * 7 % 100
        self.chains = [
            DepthChain(suffix, interval, self._phase_ms, self.first_id)
            for suffix, interval in SPEEDS[spec.market]
        ]
        self._pending_fills: list[Fill] = []
        self._best = self.market.book.best()
        self.counts = {"bookTicker": 0, "trade": 0, "aggTrade": 0}
        self._create_topics(topics)

    def _create_topics(self, topics: TopicRegistry) -> None:
        market, symbol = self.spec.market, stream_symbol(self.spec)
        market_class: str = "public" if market == "spot" else "market"
        for chain in self.chains:
            chain.diff = topics.create(market, "public", self.spec.symbol, f"{symbol}@depth{chain.suffix}")
            if chain.interval_ms:
                chain.partials = {
                    count: topics.create(
                        market, "public", self.spec.symbol, f"{symbol}@depth{count}{chain.suffix}"
                    )
                    for count in PARTIAL_DEPTHS
                }
        self._book_ticker: Topic = topics.create(market, "public", self.spec.symbol, f"{symbol}@bookTicker")
        self._trades: Topic = topics.create(market, "public", self.spec.symbol, f"{symbol}@trade")
        self._aggregates: Topic = topics.create(market, market_class, self.spec.symbol, f"{symbol}@aggTrade")
        if market == "usdm":
            self._marks = {
                every_ms: topics.create(market, market_class, self.spec.symbol, f"{symbol}@markPrice{suffix}")
                for suffix, every_ms in MARK_PRICES
            }
            self._liquidations.append(
                topics.create(market, market_class, self.spec.symbol, f"{symbol}@forceOrder")
            )
            self.derivative = Derivative(self.wire, self.market.book, self._quoted, self._liquidated)

    def _quoted(self, quote: Quote) -> None:
        payload = self.wire.mark_price(quote)
        for every_ms, topic in self._marks.items():
            if quote.time // every_ms != self._marked_ms // every_ms:
                topic.publish(payload)
        self._marked_ms = quote.time

    def _liquidated(self, fill: Fill, at_ms: int) -> bool:
        """At most one a second is told."""
        if at_ms < self._liquidated_ms + LIQUIDATIONS_MS:
            return False
        self._liquidated_ms = at_ms
        payload = self.wire.force_order(fill, at_ms)
        for topic in self._liquidations:
            topic.publish(payload)
        return True

    @property
    def status(self) -> str:
        """`TRADING`, `BREAK`, `SETTLING`, …"""
        return STATUSES[self.spec.market][self.phase]

    def note_changes(self, position: int, at_ms: float) -> None:
        """Begin an event of every speed that has none pending, and send the best levels where they changed."""
        first_id: int | None = None
        for chain in self.chains:
            if chain.pending:
                continue
            if first_id is None:
                first_id = self.market.changes.id_at(position)
            due = chain.begin(first_id, position, at_ms)
            self.schedule(due, partial(self.flush_depth, chain))
        best = self.market.book.best()
        if best != self._best:
            self._best = best
            self.counts["bookTicker"] += 1
            if self._book_ticker.subscribers:
                self._book_ticker.publish(self.wire.book_ticker(self.market.last_id, best, int(at_ms)))

    def flush_depth(self, chain: DepthChain, due_ms: float) -> None:
        """Send the pending event of one speed, if there is one."""
        if not chain.pending:
            return
        position = chain.position
        ids = chain.close(self.market.last_id, self._contiguous)
        event_time = int(due_ms)
        if chain.diff is not None and chain.diff.subscribers:
            bids, asks = self.wire.changes(self.market.changes.since(position))
            chain.diff.publish(self.wire.depth(ids, bids, asks, event_time, self.engine_time))
        for count, topic in chain.partials.items():
            if topic.subscribers:
                self._send_partial(chain, count, topic, ids, event_time)

    def _send_partial(
        self, chain: DepthChain, count: int, topic: Topic, ids: DepthIds, event_time: int
    ) -> None:
        bids, asks = self.market.book.top(count)
        texts = self.wire.levels(bids), self.wire.levels(asks)
        if chain.last_partials.get(count) != texts:
            chain.last_partials[count] = texts
            topic.publish(self.wire.partial(ids, *texts, event_time, self.engine_time))

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Send single fills at once; aggregate trades at once or with the batch they belong to."""
        event_time = int(at_ms)
        for fills in orders:
            self.counts["trade"] += len(fills)
            if self._trades.subscribers:
                for trade in fills:
                    self._trades.publish(self.wire.trade(trade, event_time))
            if self._contiguous:
                self._aggregate(fills, event_time)
                continue
            if not self._pending_fills:
                windows = (at_ms - self._phase_ms) // AGGREGATION_MS + 1
                self.schedule(windows * AGGREGATION_MS + self._phase_ms, self.flush_trades)
            self._pending_fills += fills

    def flush_trades(self, due_ms: float) -> None:
        """Send the aggregate trades of the pending USD-M batch, if there is one."""
        fills, self._pending_fills = self._pending_fills, []
        self._aggregate(fills, int(due_ms))

    def _aggregate(self, fills: list[Fill], event_time: int) -> None:
        """Merge neighbouring fills of the same price and taker side into aggregate trades."""
        run: list[Fill] = []
        for trade in fills:
            if trade.category != "MARKET":
                continue
            last = run[-1] if run else trade
            # A run ends where an off-book trade stood between, so that `f..l` names only its own fills.
            if (trade.price, trade.buyer_is_maker) != (last.price, last.buyer_is_maker) or (
                run and trade.trade_id != last.trade_id + 1
            ):
                self._send_aggregate(run, event_time)
                run = []
            run.append(trade)
        if run:
            self._send_aggregate(run, event_time)

    def _send_aggregate(self, run: list[Fill], event_time: int) -> None:
        tape = self.market.tape
        trade = AggregateTrade(
            tape.next_aggregate_id,
            run[0].price,
            sum(fill.quantity for fill in run),
            sum(fill.quantity for fill in run if not fill.retail),
            run[0].trade_id,
            run[-1].trade_id,
            run[-1].time,
            run[0].buyer_is_maker,
        )
        tape.add_aggregate(trade)
        self.counts["aggTrade"] += 1
        if self._aggregates.subscribers:
            self._aggregates.publish(self.wire.aggregate(trade, event_time))

    def flush(self, at_ms: float) -> None:
        """Send everything pending now instead of when it is due."""
        for chain in self.chains:
            self.flush_depth(chain, at_ms)
        self.flush_trades(at_ms)

    def announce(self, now_ms: float) -> None:
        """Send `contractInfo` for a USD-M symbol; spot has no such stream."""
        if self.spec.market == "usdm":
            self._contracts.publish(self.wire.contract_info(self.status, int(now_ms)))

    def begin_trade_ids(self, first_id: int, at_ms: float) -> None:
        """Let the ids of aggregate trades begin anew; the tape remembers the former ones."""
        self.flush_trades(at_ms)
        self.market.tape = self.market.tape.begun_anew(first_id)

    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """Aggregate trades, also those from before their ids began anew."""
        tape = self.market.tape
        rows = tape.aggregates_ever(from_id, limit)
        return {
            "first_id": tape.first_aggregate_id,
            "next_id": tape.next_aggregate_id,
            "trades": [self.wire.rest_aggregate(trade) for trade in rows],
        }

    def summary(self) -> dict[str, Any]:
        """Per depth speed and stream."""
        return {
            "depth": {
                f"depth{chain.suffix}": {
                    "events": chain.events,
                    "first_u": chain.first_event.last if chain.first_event else None,
                    "last_u": chain.previous_id if chain.events else None,
                }
                for chain in self.chains
            },
            "events": dict(self.counts),
        }
