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
from workers.store.trades import TradeStore
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

HOLES = Counter("fleet_trade_holes_total", "Holes in the trade ids", ["venue"])
REPAIRED = Counter("fleet_trades_repaired_total", "Trades filled in over REST", ["venue"])
MISSING = Counter("fleet_trades_missing_total", "Trades the exchange did not give", ["venue"])


def usable(trade: Trade) -> bool:
    """Whether the fold can hold this trade."""
    try:
        check(trade)
    except BadNumber as bad:
        log.warning("trade_unusable", symbol=trade.symbol, trade_id=trade.trade_id, error=str(bad))
        return False
    return True


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
        first, repaired, attempts = expected, 0, 0
        while first < seen:
            try:
                found = await self._usable(tape, first, seen)
            except RateLimited:
                continue  # the budget makes the next request wait until it may be sent
            except (RestError, MalformedFrame) as error:
                attempts += 1
                log.warning(
                    "repair_failed", venue=context.name, symbol=symbol, attempt=attempts, error=str(error)
                )
                if attempts >= self._settings.trades.repair_attempts:
                    await self._accept(tape, first, seen - 1, str(error))
                    break
                await asyncio.sleep(min(2.0**attempts, 30.0) * 0.5)
                continue
            if isinstance(found, str):
                await self._accept(tape, first, seen - 1, found)
                break
            if found[0].trade_id > first:
                await self._accept(tape, first, found[0].trade_id - 1, "the exchange does not have them")
            done = await self._store.apply(symbol, [(b"", trade) for trade in found], tape.token)
            repaired += done.applied
            tape.figures.applied(done)
            tape.figures.repaired(done.applied)
            first, attempts = done.last_id + 1, 0
        if repaired:
            REPAIRED.labels(context.name).inc(repaired)
            await self.record(tape, expected, first - 1, "sequence", f"{repaired} over REST")
        log.info("trade_hole_closed", venue=context.name, symbol=symbol, repaired=repaired)

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
        return found or "the exchange does not have them"

    async def _page(self, tape: OwnedTape, first: int) -> list[Trade]:
        venue, symbol = tape.claim.context.venue, tape.claim.symbol
        timeout_s = self._settings.trades.repair_timeout_s
        body = await self._rest.get(venue.trades_request(symbol, first), Urgency.BROKEN, timeout_s)
        return venue.trades(symbol, body)

    async def _accept(self, tape: OwnedTape, first: int, last: int, reason: str) -> None:
        done = await self._store.skip(tape.claim.symbol, first, last, tape.token)
        MISSING.labels(tape.claim.context.name).inc(done.missing)
        tape.figures.missing(done.missing)
        log.error("trades_missing", venue=tape.claim.context.name, symbol=tape.claim.symbol, first=first,
                  last=last, reason=reason)  # fmt: skip
        await self.record(tape, first, last, reason, "no")

    async def record(self, tape: OwnedTape, first: int, last: int, reason: str, repaired: str) -> None:
        """Write a hole to the symbol's gaps stream."""
        key = tape.claim.context.keys.gaps(tape.claim.symbol)
        record = GapRecord(TRADES, first, last, reason, repaired)
        await record_gap(self._client, key, record, self._settings.streams.gaps)
