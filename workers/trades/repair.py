"""Filling a hole in the trade ids from the exchange's REST history, within the fleet's budget."""

from __future__ import annotations

import asyncio
import time

import structlog
from prometheus_client import Counter
from redis.exceptions import ResponseError

from workers.errors import BadNumber, MalformedFrame, NotServed, RateLimited, RequestRefused, RestError
from workers.model.events import Trade
from workers.model.pauses import Pauses
from workers.model.trades.windows import check
from workers.runtime.rest import RestClient
from workers.runtime.steady_clock import steady_ms
from workers.settings.schema import Settings
from workers.store.fleet.budget import Urgency
from workers.store.keys import TRADES
from workers.store.log.streams import GapRecord, record_gap
from workers.store.refusals import refusal_of
from workers.store.trades.fold import NOT_HAD, TradeStore
from workers.trades.restarts import refute
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

HOLES = Counter("fleet_trade_holes_total", "Holes in the trade ids", ["venue"])
REPAIRED = Counter("fleet_trades_repaired_total", "Trades filled in over REST", ["venue"])
MISSING = Counter("fleet_trades_missing_total", "Trades the exchange did not give", ["venue"])
FAILED = Counter("fleet_repair_failed_total", "Requests for missing trades that failed", ["venue"])
REFUSED = Counter("fleet_repair_refused_total", "Requests for trades the exchange calls too old", ["venue"])
LAGGING = Counter("fleet_repair_behind_total", "Answers of a REST that was behind the stream", ["venue"])
BEHIND = "the exchange has nothing from there on"
FIRST_PAUSE_S = 0.5
"""Before missing trades are asked for again; each further pause is twice as long."""
LONGEST_PAUSE_S = 15.0
URGENT_ATTEMPTS = 3
"""After so many failures in a row a hole leaves the last part of the limit to books and to holes that are new."""
CONFIRM_PAUSE_S = 1.0
"""Between the refusal of a trade as too old and the request that shall confirm it."""
BAD_REQUEST = 400
"""The status that comes with the code for a trade that is too old; any other refusal is not about the trade."""
EARLIER_MS = 1_000
"""Where REST goes by time: how much before the last known trade a page begins, as ids and times may be crossed."""


def usable(tape: OwnedTape, trade: Trade, ahead_ms: int) -> bool:
    """Whether the fold can hold this trade; one of a time to come would end all windows before it.

    Args:
        ahead_ms: how far ahead of the time now its own may be, as ingest has it.
    """
    try:
        check(trade, max(tape.exchange_ms() or 0, steady_ms()) + ahead_ms)
    except BadNumber as bad:
        log.warning("trade_unusable", symbol=trade.symbol, trade_id=trade.trade_id, error=str(bad))
        return False
    return True


class _Filled:
    """How far a repair has come."""

    def __init__(self, next_id: int, from_ms: int) -> None:
        self.next_id = next_id
        """The first id that is neither applied nor accepted as missing."""
        self.from_ms = from_ms
        """Where REST goes by time: from when on the trades that are known do not reach."""
        self.trades = 0


class Patience:
    """How often and since when one id is asked for in vain.

    Args:
        attempts, for_s: both must be over before what proves nothing counts as the truth.
    """

    def __init__(self, attempts: int, for_s: float) -> None:
        self._most, self._for_s = attempts, for_s
        self.begin()

    def begin(self) -> None:
        """There was an answer: what comes is asked for anew."""
        self.attempts = 0
        self.pauses = Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._began = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether it was asked for often and long enough."""
        return self.attempts >= self._most and time.monotonic() - self._began >= self._for_s

    @property
    def urgency(self) -> Urgency:
        """How much of the limit the next request may draw on."""
        return Urgency.BROKEN if self.attempts < URGENT_ATTEMPTS else Urgency.START


def tell_failed(tape: OwnedTape, first: int, attempt: int, problem: str) -> None:
    """Count and log a request in vain; from the second on the status of the trades says so, too."""
    name, symbol = tape.claim.context.name, tape.claim.symbol
    if problem == BEHIND:
        LAGGING.labels(name).inc()
        log.warning("repair_behind", venue=name, symbol=symbol, attempt=attempt, first=first)
    else:
        FAILED.labels(name).inc()
        log.warning("repair_failed", venue=name, symbol=symbol, attempt=attempt, error=problem)
    if attempt > 1:
        tape.hole_reason = f"The trades from {first} on are missing and cannot be had yet: {problem}"


class Repair:
    """Fills holes for one venue.

    Args:
        client: for the gaps stream.
    """

    def __init__(self, rest: RestClient, store: TradeStore, client: object, settings: Settings) -> None:
        self._rest = rest
        self._store = store
        self._client = client
        self._settings = settings

    async def fill(self, tape: OwnedTape, expected: int, seen: int) -> None:
        """Apply the trades `expected`..`seen - 1`, and accept as missing what the exchange does not have.

        Raises:
            LeaseLost: the symbol is another worker's.
            RedisError: Redis went away; the hole is found again by the next batch.
        """
        context, symbol = tape.claim.context, tape.claim.symbol
        HOLES.labels(context.name).inc()
        log.warning("trade_hole", venue=context.name, symbol=symbol, first=expected, last=seen - 1)
        filled = _Filled(expected, max(0, tape.last_trade_time - EARLIER_MS))
        tape.figures.hole(is_open=True)
        try:
            await self._fill(tape, filled, seen)
        finally:
            tape.hole_reason = ""
            tape.figures.hole(is_open=False)
            if filled.trades:  # those before an interruption, too
                REPAIRED.labels(context.name).inc(filled.trades)
                told = f"{filled.trades} over REST"
                await self.record(tape, expected, filled.next_id - 1, "sequence", told)
        log.info("trade_hole_closed", venue=context.name, symbol=symbol, repaired=filled.trades)

    async def _fill(self, tape: OwnedTape, filled: _Filled, seen: int) -> None:
        """What closes a hole for ever is an answer that proves it, or time; a refusal proves nothing."""
        settings = self._settings
        for_s = min(settings.trades.repair_for_s, settings.streams.trades_ms / 2000)
        patience = Patience(settings.trades.repair_attempts, for_s)
        while filled.next_id < seen:
            first = filled.next_id
            try:
                found = await self._usable(tape, filled, seen, patience.urgency)
            except RateLimited:
                continue  # the budget makes the next request wait until it may be sent
            except NotServed as error:
                found, problem = error.problem, ""
            except (RestError, MalformedFrame) as error:
                found, problem = [], str(error)
            else:
                problem = BEHIND if found == BEHIND else ""
            if problem:
                patience.attempts += 1
                tell_failed(tape, first, patience.attempts, problem)
                if patience.over:
                    await self._accept(tape, first, seen - 1, problem)
                    return
                await asyncio.sleep(patience.pauses.take())
                continue
            if isinstance(found, str):
                await self._accept(tape, first, seen - 1, found)
                return
            if found[0].trade_id > first:
                await self._accept(tape, first, found[0].trade_id - 1, NOT_HAD)
            done = await self._store.apply(tape.claim.symbol, [(b"", trade) for trade in found], tape.token)
            filled.trades += done.applied
            tape.figures.applied(done)
            tape.figures.repaired(done.applied)
            filled.next_id = done.last_id + 1
            filled.from_ms = max(filled.from_ms, found[-1].trade_time - EARLIER_MS)
            for trade in found:
                if trade.trade_id <= done.last_id:
                    tape.judge(trade)
            patience.begin()
            if self._refuted(tape, seen, found[-1]):
                return
            if len(found) < tape.claim.context.venue.trades_span and filled.next_id < seen:
                await asyncio.sleep(patience.pauses.take())  # there is no more yet

    def _refuted(self, tape: OwnedTape, seen: int, newest: Trade) -> bool:
        """Whether the exchange went on with lower ids after the trade behind the hole: its id was absurd, and it goes.

        If it was its time that was absurd, the next hole is filled with it.
        """
        later_ms = newest.trade_time - self._settings.ingest.id_reset_ms
        for at, (_, trade) in enumerate(tape.waiting):
            if trade.trade_id == seen and trade.trade_time <= later_ms:
                refute(tape, at, at + 1)
                return True
        return False

    async def _usable(
        self, tape: OwnedTape, filled: _Filled, seen: int, urgency: Urgency
    ) -> list[Trade] | str:
        """Trades from the oldest on that can be had of `filled.next_id`..`seen - 1`, or why there are none.

        Raises:
            RestError, MalformedFrame: ask again later.
        """
        first = filled.next_id
        try:
            page = await self._page(tape, first, urgency, filled.from_ms)
            while self._is_before(tape, page, first) and page[-1].trade_time > filled.from_ms:
                filled.from_ms = page[-1].trade_time
                page = await self._page(tape, first, urgency, filled.from_ms)
        except RequestRefused as refused:
            if not await self._may_be_too_old(tape, refused):
                raise
            page = await self._oldest(tape, first, seen, refused)
        ahead_ms = self._settings.ingest.max_clock_ahead_ms
        found = [row for row in page if first <= row.trade_id < seen and usable(tape, row, ahead_ms)]
        return found or (NOT_HAD if any(trade.trade_id >= seen for trade in page) else BEHIND)

    @staticmethod
    def _is_before(tape: OwnedTape, page: list[Trade], first: int) -> bool:
        """Whether a page ends before an id because no more fits: where REST goes by time others come first."""
        return len(page) >= tape.claim.context.venue.trades_span and page[-1].trade_id < first

    async def _may_be_too_old(self, tape: OwnedTape, refused: RequestRefused) -> bool:
        """Whether the trade before the hole is so old that those which follow may be, too: else it is not their age."""
        horizon_ms, now_ms = tape.claim.context.venue.trades_horizon_ms, tape.exchange_ms()
        if refused.status != BAD_REQUEST or not horizon_ms or now_ms is None:
            return False
        before = (await self._store.state(tape.claim.symbol)).last_trade_time
        return 0 < before < now_ms - horizon_ms

    async def _oldest(self, tape: OwnedTape, first: int, seen: int, refused: RequestRefused) -> list[Trade]:
        """The page of the oldest id that is not too old, from `first`, which was refused, to `seen`.

        Futures give aggregate trades of the last 48 h and refuse older ids, so a refusal of the first id says nothing
        of the others: the oldest that is not refused is found by halving. It counts only while a new one is answered,
        and if the newest refused one is refused again.

        Raises:
            RestError: a refusal that is not about age, or one that had passed.
        """
        name, symbol = tape.claim.context.name, tape.claim.symbol
        page = await self._page(tape, seen)
        below, above, guess = first, seen, seen - 1
        while above - below > 1:
            try:
                page, above = await self._page(tape, guess), guess
            except RequestRefused as again:
                if again.status != BAD_REQUEST:
                    raise
                below = guess
            guess = (below + above) // 2
        await asyncio.sleep(CONFIRM_PAUSE_S)
        try:
            await self._page(tape, below)
        except RequestRefused as again:
            if again.status != BAD_REQUEST:
                raise
        else:
            raise refused
        REFUSED.labels(name).inc()
        log.warning("repair_refused", venue=name, symbol=symbol, first=first, last=below, error=str(refused))
        return page

    async def _page(
        self, tape: OwnedTape, first: int, urgency: Urgency = Urgency.BROKEN, from_ms: int = 0
    ) -> list[Trade]:
        venue, symbol = tape.claim.context.venue, tape.claim.symbol
        timeout_s = self._settings.trades.repair_timeout_s
        body = await self._rest.get(venue.trades_request(symbol, first, from_ms), urgency, timeout_s)
        return venue.trades(symbol, body)

    async def _accept(self, tape: OwnedTape, first: int, last: int, reason: str) -> None:
        done = await self._store.skip(tape.claim.symbol, first, last, tape.token, reason=reason)
        MISSING.labels(tape.claim.context.name).inc(done.missing)
        tape.figures.missing(done.missing)
        log.error("trades_missing", venue=tape.claim.context.name, symbol=tape.claim.symbol, first=first,
                  last=last, reason=reason)  # fmt: skip

    async def record(self, tape: OwnedTape, first: int, last: int, reason: str, repaired: str) -> None:
        """Write a hole to the symbol's gaps stream."""
        key = tape.claim.context.keys.gaps(tape.claim.symbol)
        record = GapRecord(TRADES, first, last, reason, repaired)
        await record_gap(self._client, key, record, self._settings.streams.gaps)

    async def record_remarks(self, tape: OwnedTape) -> None:
        """Write what is to be said of trades that were applied to the symbol's gaps stream.

        Raises:
            RedisError, OSError: the server did not answer, or refuses; what is left can be recorded later.
        """
        key, kept = tape.claim.context.keys.gaps(tape.claim.symbol), self._settings.streams.gaps
        while tape.remarks:
            try:
                await record_gap(self._client, key, tape.remarks[0], kept)
            except ResponseError as error:
                if refusal_of(error).of_server:
                    raise
                log.error(
                    "gap_not_recorded",
                    symbol=tape.claim.symbol,
                    first=tape.remarks[0].first,
                    error=str(error),
                )
            del tape.remarks[0]
