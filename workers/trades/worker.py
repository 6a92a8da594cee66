"""The trades role: reads the trade streams of the symbols it owns and folds them into windows and bars."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial

import structlog
from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError

from workers.errors import BadNumber, FleetError, LeaseLost, StateUnreadable
from workers.model.events import Trade
from workers.model.trades.exchange_clock import ExchangeClock
from workers.model.trades.fold import Applied, Hole
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.backoff import MOST_PAUSE_S, Backoff
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.deadlines import Deadlines
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.quarantine import Quarantine
from workers.runtime.rest import RestClient
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
from workers.trades.backfill import Backfill
from workers.trades.log_holes import LogHoles
from workers.trades.lost_data import LostData
from workers.trades.reading import TapeReading
from workers.trades.repair import Repair
from workers.trades.restarts import Restarts
from workers.trades.tape import OwnedTape, monotonic_ms

log = structlog.get_logger()

GROUP = "trades"
APPLY, CLOSE = "apply", "close"
"""The works, as the quarantine knows them."""
APPLIED_AT_ONCE = 1_000
"""Trades of one symbol in one call: Redis serves nobody else meanwhile, for some three milliseconds."""
CAPPED_TOLD_EVERY_S = 60.0
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
CAPPED = Counter(
    "fleet_trades_capped_total",
    "Trades taken out of the latest set before their time because it held too many",
    ["venue"],
)
BARS = Counter("fleet_bars_closed_by_clock_total", "Windows closed because they were over", ["venue"])
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
        rest = {
            context.name: RestClient(sessions.rest(context), process.client, context)
            for context in self._contexts
        }
        self._repairs = {
            name: Repair(rest[name], store, process.client, process.settings)
            for name, store in self._stores.items()
        }
        self._log_holes = {
            context.name: LogHoles(
                (store := self._stores[context.name]),
                Backfill(rest[context.name], store, process.client, context.keys, process.settings),
            )
            for context in self._contexts
        }
        self._restarts = {
            name: Restarts(
                rest[name],
                store,
                process.settings.ingest.id_reset_ms,
                process.settings.trades.repair_timeout_s,
            )
            for name, store in self._stores.items()
        }
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
        self._is_behind = False
        """Whether a symbol has more waiting than one round applies."""
        self._deadlines = Deadlines()
        self._deadlines.set(ALL, 0.0)
        self._unfinished: set[str] = set()
        """The tapes that the next round sees to whenever it comes."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lost_data = LostData(process.client, self._stores, self._repairs)
        self._cancelled: set[asyncio.Task[None]] = set()
        """Repairs of symbols given up: a cancellation may get lost (see `end`), the end of the worker is not."""
        self._reread = False
        self._applying, self._closing = Backoff("apply"), Backoff("close")
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
            await self._close_last(tape, 0)

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
        if is_over and tape.caught_up and tape.next_end_ms and self._settings.trades.close_by_clock:
            day_ms = INTERVALS_MS["1d"]
            await self._close_last(tape, (tape.next_end_ms // day_ms + 1) * day_ms)
        elif self._stores[claim.context.name].may_lag(claim.symbol):
            await self._close_last(tape, 0)

    async def _catch_up(self, tape: OwnedTape) -> None:
        """Let the rounds, which may be reading or applying now, come to the end of a stream, but not for long."""
        until = time.monotonic() + CATCH_UP_S
        while not tape.caught_up and self.tapes.get(tape.key) is tape and time.monotonic() < until:
            if self._process.stop.is_set():
                return  # there are no more rounds
            await asyncio.sleep(AGAIN_S)

    async def _close_last(self, tape: OwnedTape, over_ms: int) -> None:
        name, symbol = tape.claim.context.name, tape.claim.symbol
        results = await self._stores[name].close_many([symbol], over_ms, 0, {symbol: tape.token})
        closed = results[symbol]
        if isinstance(closed, Exception):
            log.error("close_failed", venue=name, symbol=symbol, error=str(closed))
        else:
            BARS.labels(name).inc(closed.bars)

    def forget(self, claim: Claim) -> None:
        """Drop a symbol."""
        key = claim.context.keys.raw(claim.symbol, TRADES)
        tape = self.tapes.pop(key, None)
        self._deadlines.drop(key)
        if tape is not None:
            self._lost_data.left(tape)
            tape.figures.remove()
            self.quarantine.forget(*claim)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)

    def retired(self, claim: Claim) -> None:
        """Forget how far the fold had come: if the symbol is listed again, that is no loss of data."""
        self._lost_data.retired(claim.context.keys.raw(claim.symbol, TRADES))

    def _may(self, tape: OwnedTape, work: str) -> bool:
        """Whether the lease surely holds (else it would be another's work), and nothing holds the work back."""
        return self.ownership.safe(tape.claim) and self.quarantine.due(*tape.claim, work)

    async def _apply(self, context: VenueContext, concerned: Iterable[OwnedTape]) -> None:
        tapes = {
            tape.claim.symbol: tape
            for tape in concerned
            if tape.claim.context.name == context.name
            and tape.waiting
            and not tape.repairing
            and self._applying.due(context.name, tape.claim.symbol)
            and self._may(tape, APPLY)
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
        restarts = self._restarts[tape.claim.context.name]
        run = restarts.run_of(tape, APPLIED_AT_ONCE)
        if run is not None and restarts.is_enough(tape, run):
            self._start(tape, partial(restarts.settle, tape, run))
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
            self._tell_capped(tape, result.capped)
            if result.applied or tape.lost_after is None:
                self._lost_data.applied(tape, result.last_id)
            tape.applied_to(result.last_id, result.last_trade_time, taken)
            if result.hole:
                self._start(tape, partial(self._repair, tape, result.hole))

    def _tell_capped(self, tape: OwnedTape, capped: int) -> None:
        """Count what the cap of the latest set took out; say so when it begins to, and once a minute while it does."""
        if not capped:
            return
        CAPPED.labels(tape.claim.context.name).inc(capped)
        if (now := time.monotonic()) >= tape.capped_told_s + CAPPED_TOLD_EVERY_S:
            tape.capped_told_s = now
            log.warning("trades_capped", venue=tape.claim.context.name, symbol=tape.claim.symbol, trades=capped,
                        latest_max=self._settings.trades.latest_max)  # fmt: skip

    def _start(self, tape: OwnedTape, mending: Callable[[], Awaitable[None]]) -> None:
        tape.repairing = True
        self._tasks[tape.key] = asyncio.create_task(
            self._mend(tape, mending), name=f"trades: repair of {tape.claim.symbol}"
        )

    async def _repair(self, tape: OwnedTape, hole: Hole) -> None:
        if await self._reading.read_elsewhere(tape, hole):
            return
        if tape.is_numbered:
            await self._log_holes[tape.claim.context.name].pass_over(tape, hole.expected, hole.seen)
        else:
            await self._repairs[tape.claim.context.name].fill(tape, hole.expected, hole.seen)

    async def _mend(self, tape: OwnedTape, mending: Callable[[], Awaitable[None]]) -> None:
        try:
            await mending()
        except LeaseLost:
            self.ownership.lost(tape.claim, int(tape.token))
        except RedisError as error:
            await self._repair_refused(tape, error)
        except (OSError, FleetError) as error:
            log.warning("repair_interrupted", symbol=tape.claim.symbol, error=str(error))
            await asyncio.sleep(0.5)
        except Exception as error:  # a page, or a tape, that nobody foresaw
            self.quarantine.stumbled(*tape.claim, APPLY, error)
        finally:
            tape.repairing = False
            self._rounds.touch(tape.key)
            if self._tasks.get(tape.key) is asyncio.current_task():
                del self._tasks[tape.key]

    async def _repair_refused(self, tape: OwnedTape, error: RedisError) -> None:
        if refusal_of(error).of_server:
            log.warning("repair_interrupted", symbol=tape.claim.symbol, error=str(error))
            await asyncio.sleep(0.5)
        else:  # a key of the symbol cannot be written: what waits would come upon the hole at once again
            await self.quarantine.failed(*tape.claim, APPLY, error)

    async def _close_quiet(self, context: VenueContext, concerned: Iterable[OwnedTape], read_ms: int) -> None:
        """Close what was over when the streams were read (monotonic), of the symbols that had nothing more."""
        now_ms = self._clocks[context.name].now(read_ms)
        if now_ms is None:
            return
        grace_ms = self._settings.trades.close_grace_ms
        due = {
            tape.claim.symbol: tape
            for tape in concerned
            if tape.claim.context.name == context.name
            and tape.next_end_ms
            and tape.caught_up
            and tape.next_end_ms + grace_ms <= now_ms
            and self._closing.due(context.name, tape.claim.symbol)
            and self._may(tape, CLOSE)
        }
        if not due:
            return
        tokens: Mapping[str, str] = {symbol: tape.token for symbol, tape in due.items()}
        results = await self._stores[context.name].close_many(due, now_ms, grace_ms, tokens)
        for symbol, closed in results.items():
            if isinstance(closed, LeaseLost):
                self.ownership.lost(due[symbol].claim, int(due[symbol].token))
            elif isinstance(closed, Exception):
                if isinstance(closed, RedisError) and refusal_of(closed).of_server:
                    self._closing.refused(closed, context.name, symbol)
                else:
                    await self.quarantine.failed(context, symbol, CLOSE, closed)
            else:
                self._closing.accepted(context.name, symbol)
                self.quarantine.worked(context, symbol, CLOSE)
                due[symbol].next_end_ms = closed.next_end
                self._tell_capped(due[symbol], closed.capped)
                BARS.labels(context.name).inc(closed.bars)

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
                await self._close_quiet(context, concerned, read_ms)
        await self._reading.discard(concerned)
        for tape in concerned:
            if tape.remarks:
                await self._repairs[tape.claim.context.name].record_remarks(tape)
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
                may = self._may(tape, APPLY) and self._applying.due(
                    tape.claim.context.name, tape.claim.symbol
                )
                if may:
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
                "repairing": len(self._tasks),
            }
            self.ownership.progress.made()

    async def run(self) -> None:
        """Serve until told to stop; then give everything back."""
        showing = seen(asyncio.create_task(self._show_figures(), name="trades: figures"))
        try:
            await self.ownership.guard(self._go_round())
        finally:
            await end([showing, *self._tasks.values(), *self._cancelled])
            await self.ownership.release_all()
            await self._rounds.close()
            await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    async with Sessions(limit=4) as sessions:
        await TradeWorker(process, sessions).run()
