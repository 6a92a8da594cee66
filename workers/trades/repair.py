"""Filling a hole in the trade ids from the exchange's REST history, within the fleet's budget."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import Counter

from workers.errors import MalformedFrame, RateLimited, RequestRefused, RestError
from workers.model.events import Trade
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
            page: list[Trade] | None = None
            try:
                page = await self._page(tape, first)
            except RateLimited:
                continue  # the budget makes the next request wait until it may be sent
            except (RequestRefused, RestError, MalformedFrame) as error:
                attempts += 1
                log.warning(
                    "repair_failed", venue=context.name, symbol=symbol, attempt=attempts, error=str(error)
                )
                if isinstance(error, RequestRefused) or attempts >= self._settings.trades.repair_attempts:
                    await self._accept(tape, first, seen - 1, str(error))
                    break
                await asyncio.sleep(min(2.0**attempts, 30.0) * 0.5)
                continue
            usable = [trade for trade in page if first <= trade.trade_id < seen]
            if not usable:
                await self._accept(tape, first, seen - 1, "the exchange does not have them")
                break
            if usable[0].trade_id > first:
                await self._accept(tape, first, usable[0].trade_id - 1, "the exchange does not have them")
            done = await self._store.apply(symbol, [(b"", trade) for trade in usable], tape.token)
            repaired += done.applied
            tape.figures.applied(done)
            tape.figures.repaired(done.applied)
            first = done.last_id + 1
        if repaired:
            REPAIRED.labels(context.name).inc(repaired)
            await self.record(tape, expected, first - 1, "sequence", f"{repaired} over REST")
        log.info("trade_hole_closed", venue=context.name, symbol=symbol, repaired=repaired)

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
