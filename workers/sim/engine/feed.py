"""One symbol on the exchange: its market, its streams and what has been sent on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from workers.sim.binance.depth_chain import DepthChain
from workers.sim.binance.wire import DepthIds, Wire
from workers.sim.engine.history import AggregateTrade, Fill
from workers.sim.engine.market import SymbolMarket
from workers.sim.engine.symbols import SymbolSpec
from workers.sim.engine.topics import StreamClass, Topic, TopicRegistry
from workers.sim.settings import SimSettings

# Suffix and interval of every depth speed. `@depth@0ms` is undocumented and works on USD-M only.
SPEEDS: Final = {
    "spot": (("", 1000), ("@100ms", 100)),
    "usdm": (("", 250), ("@500ms", 500), ("@100ms", 100), ("@0ms", 0)),
}
PARTIAL_DEPTHS: Final = (5, 10, 20)
STALEST_SNAPSHOT_MS: Final = 10_000  # how far back a snapshot made stale on purpose can be
AGGREGATION_MS: Final = 100  # USD-M sends aggregate trades in batches of this length

Schedule = Callable[[float, Callable[[float], None]], None]


class SymbolFeed:
    """Runs a symbol's market and turns what happens into events.

    `schedule(due_ms, action)` is called for everything that must happen later; `action(due_ms)` is then
    due. Times are exchange time in ms.
    """

    def __init__(
        self,
        spec: SymbolSpec,
        settings: SimSettings,
        start_ms: int,
        topics: TopicRegistry,
        schedule: Schedule,
    ) -> None:
        self.spec = spec
        self.status = "TRADING"
        self._halted = False
        self._idle = False
        self.wire = Wire(spec)
        self.market = SymbolMarket(spec, settings, start_ms)
        self.first_id = self.market.last_id
        self._schedule = schedule
        self._contiguous = spec.market == "spot"
        # Spread over the interval, and the same in every run.
        self._phase_ms = sum(spec.symbol.encode()) * 7 % 100
        self.chains = [
            DepthChain(suffix, interval, self._phase_ms, self.first_id)
            for suffix, interval in SPEEDS[spec.market]
        ]
        self._pending_fills: list[Fill] = []
        self._best = self.market.book.best()
        self._engine_time = start_ms
        self._snapshot_times: deque[tuple[float, int]] = deque([(0.0, self.first_id)])
        self._snapshot_window_ms = (
            settings.snapshot_lag_ms + settings.snapshot_refresh_ms + STALEST_SNAPSHOT_MS
        )
        self._snapshot_lag_ms = settings.snapshot_lag_ms
        self._snapshot_refresh_ms = settings.snapshot_refresh_ms
        self.counts = {"bookTicker": 0, "trade": 0, "aggTrade": 0}
        self._create_topics(topics)

    def _create_topics(self, topics: TopicRegistry) -> None:
        market, symbol = self.spec.market, self.spec.stream_symbol
        market_class: StreamClass = "public" if market == "spot" else "market"
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

    def start(self, at_ms: float) -> None:
        """Begin trading."""
        self._schedule(self.market.next_moment(at_ms), self.act)

    def act(self, at_ms: float) -> None:
        """Run one moment of the market and note what has to be sent when."""
        if self._halted:
            self._idle = True
            return
        self.change(at_ms, partial(self.market.act, at_ms))
        if self.market.fills:
            self._note_fills(at_ms)
        self._schedule(self.market.next_moment(at_ms), self.act)

    def change(self, at_ms: float, alter: Callable[[], None]) -> None:
        """Let something alter the book and note what has to be sent when."""
        before, position = self.market.last_id, self.market.changes.position
        alter()
        if self.market.last_id != before:
            self._engine_time = int(at_ms)
            self._note_changes(position, at_ms)

    def halt(self, status: str) -> None:
        """Stop trading; what is pending is still sent."""
        self.status = status
        self._halted = True

    def reopen(self, status: str, at_ms: float) -> None:
        """Trade again."""
        self.status = status
        self._halted = False
        if self._idle:
            self._idle = False
            self.start(at_ms)

    def _note_changes(self, position: int, at_ms: float) -> None:
        first_id: int | None = None
        for chain in self.chains:
            if chain.pending:
                continue
            if first_id is None:
                first_id = self.market.changes.id_at(position)
            due = chain.begin(first_id, position, at_ms)
            self._schedule(due, partial(self.flush_depth, chain))
        self._remember_snapshot(at_ms)
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
            chain.diff.publish(self.wire.depth(ids, bids, asks, event_time, self._engine_time))
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
            topic.publish(self.wire.partial(ids, *texts, event_time, self._engine_time))

    def _note_fills(self, at_ms: float) -> None:
        event_time = int(at_ms)
        for fills in self.market.fills:
            self.counts["trade"] += len(fills)
            if self._trades.subscribers:
                for trade in fills:
                    self._trades.publish(self.wire.trade(trade, event_time))
            if self._contiguous:
                self._aggregate(fills, event_time)
                continue
            if not self._pending_fills:
                windows = (at_ms - self._phase_ms) // AGGREGATION_MS + 1
                self._schedule(windows * AGGREGATION_MS + self._phase_ms, self.flush_trades)
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

    def _remember_snapshot(self, at_ms: float) -> None:
        times = self._snapshot_times
        times.append((at_ms, self.market.last_id))
        while len(times) > 1 and times[1][0] < at_ms - self._snapshot_window_ms:
            times.popleft()

    def snapshot_id(self, now_ms: float, older_ms: float = 0.0) -> int:
        """The last update id in the cached copy that REST serves at `now_ms`, or one so much older."""
        refresh = self._snapshot_refresh_ms
        copied_at = (now_ms - self._snapshot_lag_ms) // refresh * refresh - older_ms
        visible = self._snapshot_times[0][1]
        for at_ms, update_id in self._snapshot_times:
            if at_ms > copied_at:
                break
            visible = update_id
        return visible

    @property
    def engine_time(self) -> int:
        """Time of the last change, ms."""
        return self._engine_time
