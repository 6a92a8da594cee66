"""The trades role: reads the trade streams of the symbols it owns and folds them into windows and bars."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Iterable
from contextlib import suppress

import structlog
from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError

from workers.errors import BadNumber, LeaseLost, StateUnreadable
from workers.model.events import Trade
from workers.model.trades.exchange_clock import ExchangeClock
from workers.model.trades.fold import Applied
from workers.runtime.backoff import MOST_PAUSE_S, Backoff
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.deadlines import Deadlines
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.quarantine import Quarantine
from workers.runtime.rounds import Rounds
from workers.runtime.stream_places import StreamPlaces
from workers.runtime.tasks import end, seen
from workers.store.connection import connect_reader
from workers.store.keys import TRADES
from workers.store.log.streams import GroupReader
from workers.store.refusals import refusal_of
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore
from workers.trades import figures
from workers.trades.closing import Closing
from workers.trades.lost_data import LostData
from workers.trades.mending import APPLY, Mending, mending_of
from workers.trades.reading import TapeReading
from workers.trades.tape import OwnedTape, monotonic_ms

log = structlog.get_logger()

GROUP = "trades"
APPLIED_AT_ONCE = 1_000
"""Trades of one symbol in one call: Redis serves nobody else meanwhile, for some three milliseconds."""
AGAIN_S = 0.01
"""Pause before what could not be done, or not all at once, is tried again."""
CLOSED_EVERY_S = 0.05
"""Quiet windows are closed so often at most, those of all symbols together: a call and a round fewer for each."""
LOOK_ALL_S = 0.5
"""Longest pause between two rounds over all symbols."""
ALL = " all"
"""Those rounds, among the keys of single symbols, in the schedule."""
CATCH_UP_S = 5.0
"""How long a symbol that the exchange has ended may take to be folded to its end: the other symbols wait meanwhile."""
FIGURES_EVERY_S = 5.0
LONG_WINDOWS_S = 1.0
"""How far the windows of 5 m and longer may lag. The clock brings them up to date where no more trades come."""
APPLIED = Counter("fleet_trades_applied_total", "Trades folded into the windows", ["venue"])
REPEATED = Counter("fleet_trades_repeated_total", "Trades that had been applied before", ["venue"])
LATE = Counter("fleet_trades_late_total", "Trades that came after one of their windows was over", ["venue"])
NOT_MARKET = Counter(
    "fleet_trades_not_market_total", "Insurance-fund, ADL and other off-book fills", ["venue"]
)
DELAY = Histogram(
    "fleet_trade_apply_seconds",
    "From a trade's time to its place in the windows (newest of a batch)",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


class TradeWorker:
    """The tapes this process owns, and the loop over them."""

    def __init__(self, process: Process, sessions: Sessions) -> None:
        self._process = process
        self._settings = process.settings
        self._contexts = [
            context for context in venue_contexts(process.settings) if context.settings.trades != "none"
        ]
        self._reader_client = connect_reader(process.url)
        self._stores = {context.name: self._store(context) for context in self._contexts}
        self._venues = mending_of(process, sessions, self._contexts, self._stores)
        self._clocks = {context.name: ExchangeClock() for context in self._contexts}
        self.tapes: dict[str, OwnedTape] = {}
        """The tapes owned and recovered, by raw stream key."""
        self.quarantine = Quarantine(process.client, GROUP)
        self.ownership = Ownership(process, GROUP, self._contexts, self, self.quarantine, TRADES)
        self._reading = TapeReading(
            GroupReader(self._reader_client, GROUP), self.tapes, self.ownership, self.quarantine,
            process.settings.trades.read_count, StreamPlaces(process.client, GROUP, self.quarantine),
        )  # fmt: skip
        self._rounds = Rounds(
            self._reader_client, process.stop, GROUP, self.tapes, process.settings.trades.gather_ms, math.inf
        )
        self._mending = Mending(
            self._venues, self._reading, self.ownership, self.quarantine, self._rounds.touch
        )
        self._closing = Closing(
            self._stores, self._clocks, self.ownership, self.quarantine, process.settings.trades
        )
        self._lost_data = LostData(
            process.client, self._stores, {name: venue.repair for name, venue in self._venues.items()}
        )
        self._is_behind = False
        """Whether a symbol has more waiting than one round applies."""
        self._deadlines = Deadlines()
        self._deadlines.set(ALL, 0.0)
        self._unfinished: set[str] = set()
        """The tapes that the next round sees to whenever it comes."""
        self._reread = False
        self._applying = Backoff(APPLY)
        self._applied = 0
        self.batches = 0
        """Calls of the fold so far: one for each symbol and round."""

    def _store(self, context: VenueContext) -> TradeStore:
        trades, provable = self._settings.trades, context.venue.facts.trade_ids == "consecutive"
        return TradeStore(
            self._process.client,
            context.keys,
            Scripts(self._process.client),
            retention_ms=trades.retention_ms,
            latest_max=trades.latest_max,
            member=trades.member,
            bar_retention=trades.bars_kept,
            gaps_kept=self._settings.streams.gaps,
            group=GROUP,
            event_type="trade" if context.settings.trades == "trade" or not provable else "aggTrade",
            provable=provable,
            long_windows_s=LONG_WINDOWS_S if trades.close_by_clock else 0.0,
        )

    async def recover(self, claim: Claim, token: int) -> None:
        """Take up a symbol: what was read by an earlier owner and not applied comes first."""
        tape = OwnedTape(claim, token, self._clocks[claim.context.name])
        await self._reading.take_up(tape)
        await self._restore(tape)
        self.tapes[tape.key] = tape
        self._rounds.touch(tape.key)

    async def _restore(self, tape: OwnedTape) -> None:
        """Learn how far the fold has come; while that cannot be read nothing is applied, and what was read waits."""
        claim = tape.claim
        store = self._stores[claim.context.name]
        try:
            state = await store.state(claim.symbol)
        except StateUnreadable as error:
            await self.quarantine.failed(*claim, APPLY, error)
            return
        tape.begin_after(await store.fills(claim.symbol))
        tape.restored = True
        tape.applied_to(state.last_id, state.last_trade_time)
        tape.ids_since = state.ids_since
        self._lost_data.restored(tape, state)
        if state.long_windows_lag:  # its last owner ended before it brought them up to date
            await self._closing.bring_up_to_date(tape)

    async def hand_over(self, claim: Claim) -> None:
        """Give a symbol up: everything applied is acknowledged, the rest is pending for the next owner.

        Of a symbol that the exchange has ended the last windows are closed: no trade will come, and no owner. Of the
        others all windows are brought up to date.
        """
        is_over = claim.symbol in claim.context.symbols.ended
        tape = self.tapes.get(claim.context.keys.raw(claim.symbol, TRADES))
        if tape is not None and is_over:
            await self._catch_up(tape)
        self.forget(claim)
        if tape is None:
            return
        await self._closing.close_last(tape, is_over=is_over)

    async def _catch_up(self, tape: OwnedTape) -> None:
        """Let the rounds, which may be reading or applying now, come to the end of a stream, but not for long."""
        until = time.monotonic() + CATCH_UP_S
        while not tape.caught_up and self.tapes.get(tape.key) is tape and time.monotonic() < until:
            if self._process.stop.is_set():
                return  # there are no more rounds
            await asyncio.sleep(AGAIN_S)

    def forget(self, claim: Claim) -> None:
        """Drop a symbol."""
        key = claim.context.keys.raw(claim.symbol, TRADES)
        tape = self.tapes.pop(key, None)
        self._deadlines.drop(key)
        if tape is not None:
            self._lost_data.left(tape)
            tape.figures.remove()
            self.quarantine.forget(*claim)
        self._mending.forget(key)

    def retired(self, claim: Claim) -> None:
        """Forget how far the fold had come: if the symbol is listed again, that is no loss of data."""
        self._lost_data.retired(claim.context.keys.raw(claim.symbol, TRADES))

    def _may_apply(self, tape: OwnedTape) -> bool:
        """Whether the lease surely holds (else it would be another's work), and nothing holds the work back."""
        return (
            self._applying.due(tape.claim.context.name, tape.claim.symbol)
            and self.ownership.safe(tape.claim)
            and self.quarantine.due(*tape.claim, APPLY)
        )

    async def _apply(self, context: VenueContext, concerned: Iterable[OwnedTape]) -> None:
        tapes = {
            tape.claim.symbol: tape
            for tape in concerned
            if tape.claim.context.name == context.name
            and tape.waiting
            and not tape.repairing
            and self._may_apply(tape)
        }
        for symbol, tape in list(tapes.items()):
            if not tape.restored:
                await self._restore(tape)
            if not (tape.restored and tape.waiting):
                del tapes[symbol]
        batches = {symbol: batch for symbol, tape in tapes.items() if (batch := self._batch(tape))}
        if not batches:
            return
        tokens = {symbol: tape.token for symbol, tape in tapes.items()}
        results = await self._stores[context.name].apply_many(batches, tokens)
        self.batches += len(batches)
        for symbol, result in results.items():
            await self._settle(tapes[symbol], len(batches[symbol]), result)
            self.ownership.progress.made()

    def _batch(self, tape: OwnedTape) -> list[tuple[bytes, Trade]]:
        """What is to be applied next: no trade with a lower id that is no repeat; the exchange is asked of those."""
        restarts = self._venues[tape.claim.context.name].restarts
        run = restarts.run_of(tape, APPLIED_AT_ONCE)
        if run is not None and restarts.is_enough(tape, run):
            self._mending.follow(tape, run)
        return tape.waiting[: APPLIED_AT_ONCE if run is None else run.at]

    async def _settle(self, tape: OwnedTape, taken: int, result: Applied | Exception) -> None:
        name = tape.claim.context.name
        if isinstance(result, LeaseLost):
            self.ownership.lost(tape.claim, int(tape.token))
        elif isinstance(result, BadNumber):
            tape.discard_bad_numbers()
        elif isinstance(result, Exception):
            if isinstance(result, RedisError) and refusal_of(result).of_server:
                self._applying.refused(result, name, tape.claim.symbol)
            else:
                tape.restored = False  # what the state holds may be another's
                await self.quarantine.failed(*tape.claim, APPLY, result)
        else:
            self._applying.accepted(name, tape.claim.symbol)
            self.quarantine.worked(*tape.claim, APPLY)
            self._applied += result.applied
            APPLIED.labels(name).inc(result.applied)
            REPEATED.labels(name).inc(result.repeated)
            LATE.labels(name).inc(result.late)
            NOT_MARKET.labels(name).inc(result.not_market)
            if result.applied:
                DELAY.observe(max(0.0, time.time() - result.last_trade_time / 1e3))
            tape.figures.applied(result)
            tape.count_capped(result.capped, self._settings.trades.latest_max)
            if result.applied or tape.lost_after is None:
                self._lost_data.applied(tape, result.last_id)
            tape.applied_to(result.last_id, result.last_trade_time, taken)
            if result.hole:
                self._mending.fill(tape, result.hole)

    async def _tell(self) -> None:
        """Say which symbols are not folded now, and why."""
        for tape in list(self.tapes.values()):
            unreadable = self.quarantine.reason(*tape.claim)
            trouble, state = (unreadable, "unreadable") if unreadable else (tape.hole_reason, "repairing")
            if trouble != tape.told_trouble and self.ownership.safe(tape.claim):
                await self._stores[tape.claim.context.name].tell(tape.claim.symbol, trouble, state)
                tape.told_trouble = trouble

    async def _show_figures(self) -> None:
        waits = Backoff("figures")
        while True:
            await asyncio.sleep(FIGURES_EVERY_S)
            for context in self._contexts:
                shown = {
                    tape.claim.symbol: tape.figures
                    for tape in self.tapes.values()
                    if tape.claim.context.name == context.name
                }
                now_ms = self._clocks[context.name].now(monotonic_ms())
                try:
                    await figures.refresh(self._stores[context.name], shown, now_ms)
                    waits.accepted(context.name)
                except (RedisError, OSError) as error:
                    figures.UNREADABLE.labels(context.name).inc()
                    waits.refused(error, context.name)
            with suppress(RedisError, OSError):  # it looks again
                await self._lost_data.look()

    async def step(self, ready: Collection[str] | None = None) -> int:
        """One round: read, apply, close what is over; how many symbols had new trades.

        Args:
            ready: the streams to be read; None: all. Symbols are also seen to that something is due for, and now and
                then all of them.
        """
        read_ms = monotonic_ms()
        due = set(self._deadlines.due(time.monotonic()))
        at_all = ALL in due or self._reread
        if at_all:
            self._deadlines.set(ALL, time.monotonic() + LOOK_ALL_S)
        # what is closed by the clock must have been read now
        reads = None if at_all or ready is None else due.union(ready, self._unfinished)
        reread, self._reread = self._reread, False
        taken = await self._reading.read(reads, reread=reread)
        keys = self.tapes.keys() if at_all else due.union(ready or (), taken, self._unfinished)
        concerned = [self.tapes[key] for key in keys if key in self.tapes]
        for context in self._contexts:
            await self._apply(context, concerned)
            if self._settings.trades.close_by_clock:
                await self._closing.close_quiet(context, concerned, read_ms)
        await self._reading.discard(concerned)
        for tape in concerned:
            if tape.remarks:
                await self._venues[tape.claim.context.name].repair.record_remarks(tape)
        if at_all:
            await self._tell()
        self._schedule(concerned)
        return len(taken)

    def _schedule(self, tapes: Iterable[OwnedTape]) -> None:
        """Go on soon with what waits, and see to windows when they are over."""
        now, grace_ms = time.monotonic(), self._settings.trades.close_grace_ms
        self._unfinished.clear()
        self._is_behind = False
        for tape in tapes:
            if self.tapes.get(tape.key) is not tape:
                continue
            exchange_ms = tape.exchange_ms()
            if tape.waiting and not tape.repairing:
                if may := self._may_apply(tape):
                    self._unfinished.add(tape.key)
                    self._is_behind |= len(tape.waiting) >= APPLIED_AT_ONCE
                self._deadlines.set(tape.key, now + (AGAIN_S if may else LOOK_ALL_S))
            elif tape.next_end_ms and exchange_ms is not None and tape.key not in self._deadlines:
                # one set before comes first, and is followed by another
                over_s = (tape.next_end_ms + grace_ms - exchange_ms) / 1000
                if over_s <= 0:
                    self._unfinished.add(tape.key)
                at = now + max(over_s, AGAIN_S)
                self._deadlines.set(tape.key, math.ceil(at / CLOSED_EVERY_S) * CLOSED_EVERY_S)

    @property
    def settled(self) -> bool:
        """Whether nothing read is waiting and no hole is being filled."""
        return not any(tape.waiting or tape.repairing for tape in self.tapes.values())

    async def _go_round(self) -> None:
        waits = Backoff("round")
        while not self._process.stop.is_set():
            ready = await self._rounds.next(self._deadlines.next)
            try:
                taken = await self.step(ready)
                self._rounds.took(taken, more=self._reading.has_more or self._is_behind)
                waits.accepted()
            except (RedisError, OSError) as error:
                self._reread = True  # a lost reply may have carried entries: they are pending now
                self._deadlines.set(ALL, 0.0)
                await asyncio.sleep(min(waits.refused(error), MOST_PAUSE_S))
            self._process.details = {
                "symbols": len(self.tapes),
                "applied": self._applied,
                "repairing": self._mending.under_way,
            }
            self.ownership.progress.made()

    async def run(self) -> None:
        """Serve until told to stop; then give everything back."""
        showing = seen(asyncio.create_task(self._show_figures(), name="trades: figures"))
        try:
            await self.ownership.guard(self._go_round())
        finally:
            await end([showing])
            await self._mending.close()
            await self.ownership.release_all()
            await self._rounds.close()
            await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    async with Sessions(limit=4) as sessions:
        await TradeWorker(process, sessions).run()
