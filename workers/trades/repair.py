"""Filling a hole in the trade ids from the exchange's REST history, within the fleet's budget."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import Counter

from workers.errors import BadNumber, MalformedFrame, RateLimited, RequestRefused, RestError
from workers.model.events import Trade
from workers.model.windows import check
from workers.rest import RestClient
from workers.settings import Settings
from workers.store.budget import Urgency
from workers.store.keys import TRADES
from workers.store.streams import GapRecord, record_gap
from workers.store.trades import NOT_HAD, TradeStore
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

HOLES = Counter("fleet_trade_holes_total", "Holes in the trade ids", ["venue"])
REPAIRED = Counter("fleet_trades_repaired_total", "Trades filled in over REST", ["venue"])
MISSING = Counter("fleet_trades_missing_total", "Trades the exchange did not give", ["venue"])
FAILED = Counter("fleet_repair_failed_total", "Requests for missing trades that failed", ["venue"])
REFUSED = Counter("fleet_repair_refused_total", "Requests for trades the exchange calls too old", ["venue"])
LAGGING = Counter("fleet_repair_behind_total", "Answers of a REST that was behind the stream", ["venue"])
BEHIND = "the exchange has nothing from there on"
BEHIND_ATTEMPTS = 6
BEHIND_PAUSE_S = 0.5
"""The first pause before it is asked again; each further one is twice as long."""


def usable(trade: Trade) -> bool:
    """Whether the fold can hold this trade."""
    try:
        check(trade)
    except BadNumber as bad:
        log.warning("trade_unusable", symbol=trade.symbol, trade_id=trade.trade_id, error=str(bad))
        return False
    return True


class _Filled:
    """How far a repair has come."""

    def __init__(self, next_id: int) -> None:
        self.next_id = next_id
        """The first id that is neither applied nor accepted as missing."""
        self.trades = 0


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
        filled = _Filled(expected)
        try:
            await self._fill(tape, filled, seen)
        finally:
            if filled.trades:  # those before an interruption, too
                REPAIRED.labels(context.name).inc(filled.trades)
                told = f"{filled.trades} over REST"
                await self.record(tape, expected, filled.next_id - 1, "sequence", told)
        log.info("trade_hole_closed", venue=context.name, symbol=symbol, repaired=filled.trades)

    async def _fill(self, tape: OwnedTape, filled: _Filled, seen: int) -> None:
        context, symbol, attempts = tape.claim.context, tape.claim.symbol, 0
        while filled.next_id < seen:
            first = filled.next_id
            try:
                found = await self._certain(tape, first, seen)
            except RateLimited:
                continue  # the budget makes the next request wait until it may be sent
            except (RestError, MalformedFrame) as error:
                attempts += 1
                FAILED.labels(context.name).inc()
                log.warning(
                    "repair_failed", venue=context.name, symbol=symbol, attempt=attempts, error=str(error)
                )
                if attempts >= self._settings.trades.repair_attempts:
                    await self._accept(tape, first, seen - 1, str(error))
                    return
                await asyncio.sleep(min(2.0**attempts, 30.0) * 0.5)
                continue
            if isinstance(found, str):
                await self._accept(tape, first, seen - 1, found)
                return
            if found[0].trade_id > first:
                await self._accept(tape, first, found[0].trade_id - 1, NOT_HAD)
            done = await self._store.apply(symbol, [(b"", trade) for trade in found], tape.token)
            filled.trades += done.applied
            tape.figures.applied(done)
            tape.figures.repaired(done.applied)
            filled.next_id, attempts = done.last_id + 1, 0

    async def _certain(self, tape: OwnedTape, first: int, seen: int) -> list[Trade] | str:
        """As `_usable`, but asked again while the exchange's REST is behind its stream: it shows not even `seen`."""
        for attempt in range(BEHIND_ATTEMPTS):
            if attempt:
                await asyncio.sleep(BEHIND_PAUSE_S * 2.0 ** (attempt - 1))
            if (found := await self._usable(tape, first, seen)) != BEHIND:
                break
            LAGGING.labels(tape.claim.context.name).inc()
            log.warning("repair_behind", venue=tape.claim.context.name, symbol=tape.claim.symbol, first=first)
        return found

    async def _usable(self, tape: OwnedTape, first: int, seen: int) -> list[Trade] | str:
        """Trades from the oldest on that can be had of `first`..`seen - 1`, or why there are none.

        Futures give aggregate trades of the last 48 h (COIN-M 24 h) and refuse older ids, so a refusal of the first
        id says nothing of the others: the oldest id that is not refused is found by halving.

        Raises:
            RestError, MalformedFrame: ask again later.
        """
        try:
            page = await self._page(tape, first)
        except RequestRefused as refused:
            REFUSED.labels(tape.claim.context.name).inc()
            log.warning("repair_refused", venue=tape.claim.context.name, symbol=tape.claim.symbol, first=first,
                        error=str(refused))  # fmt: skip
            try:
                page = await self._page(tape, seen - 1)
            except RequestRefused:
                return str(refused)
            below, above = first, seen - 1
            while above - below > 1:
                middle = (below + above) // 2
                try:
                    page, above = await self._page(tape, middle), middle
                except RequestRefused:
                    below = middle
        found = [trade for trade in page if first <= trade.trade_id < seen and usable(trade)]
        return found or (NOT_HAD if any(trade.trade_id >= seen for trade in page) else BEHIND)

    async def _page(self, tape: OwnedTape, first: int) -> list[Trade]:
        venue, symbol = tape.claim.context.venue, tape.claim.symbol
        timeout_s = self._settings.trades.repair_timeout_s
        body = await self._rest.get(venue.trades_request(symbol, first), Urgency.BROKEN, timeout_s)
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
