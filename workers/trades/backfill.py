"""Trades that no line received, of a venue whose ids do not show which: REST is asked for the stretch of a break.

The log leaves numbers free behind a break. What REST has of the stretch, and the log has not, is claimed (by name, in
one step, once for ever) and applied under these numbers, so that it stands where it belongs; the fold waits meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace
from prometheus_client import Counter
from redis.asyncio import Redis

from workers.errors import MalformedFrame, RateLimited, RestError
from workers.model.events import Trade
from workers.model.trades.numbering import BREAK_ROOM
from workers.model.trades.stretches import Missing, missing, reaches
from workers.runtime.rest import RestClient
from workers.runtime.steady_clock import steady_ms
from workers.settings.schema import Settings
from workers.store.fleet.budget import Urgency
from workers.store.keys import Keys
from workers.store.log.streams import Delivered
from workers.store.log.stretches import Claimed, Stretches
from workers.store.trades.fold import TradeStore
from workers.trades.repair import BEHIND, EARLIER_MS, HOLES, REPAIRED, Patience, tell_failed, usable
from workers.trades.tape import OwnedTape
from workers.venues.interface import Stretch, Venue

log = structlog.get_logger()

BREAKS = Counter(
    "fleet_trades_breaks_total",
    "Times trades of a symbol stay missing, nobody knows how many, of a venue that does not tell which",
    ["venue"],
)
CONNECTION: Final = "connection"
"""Why trades are missing: nobody was connected, or the connection lost some."""
NOT_WHOLE: Final = "which does not reach back to the beginning"
MOST_ROWS: Final = 2 * BREAK_ROOM
"""Trades asked for of one stretch."""
APPLIED_AT_ONCE: Final = 1_000


class _Asked(NamedTuple):
    """A stretch, and what the log has of it."""

    stretch: Stretch
    known: list[Trade]


class Backfill:
    """Fills the stretches of one venue.

    Args:
        client: for the log.
    """

    def __init__(
        self, rest: RestClient, store: TradeStore, client: Redis, keys: Keys, settings: Settings
    ) -> None:
        self._rest = rest
        self._store = store
        self._stretches = Stretches(client, keys)
        self._settings = settings

    async def go_on(self, tape: OwnedTape, expected: int) -> int:
        """Apply what is left of a stretch whose filling was interrupted; the first number behind it, or `expected`.

        Raises:
            LeaseLost: the symbol is another worker's.
            RedisError: Redis went away; the hole is found again by the next batch.
        """
        claimed = await self._stretches.claimed(tape.claim.symbol)
        if claimed is None or not claimed.number < expected <= claimed.number + BREAK_ROOM:
            return expected
        await self._apply(tape, claimed, expected)
        return claimed.number + BREAK_ROOM + 1

    async def fill(self, tape: OwnedTape, number: int) -> None:
        """Fill the stretch of a break from REST, or accept that trades are missing there; nothing is left of its room.

        Raises:
            LeaseLost: the symbol is another worker's.
            RedisError: Redis went away; the hole is found again by the next batch.
        """
        name, symbol = tape.claim.context.name, tape.claim.symbol
        HOLES.labels(name).inc()
        tape.figures.hole(is_open=True)
        try:
            claimed = await self._claimed(tape, number)
            if isinstance(claimed, str):
                reason = f"{CONNECTION}: {claimed}"
                await self._store.skip(
                    symbol, number, number + BREAK_ROOM, tape.token, reason=reason, passing="break"
                )
                tell_break(tape, number, claimed)
                return
            filled = f"{len(claimed.trades)} over REST" + ("" if claimed.is_whole else f", {NOT_WHOLE}")
            await self._store.skip(
                symbol, number, number, tape.token, reason=CONNECTION,
                passing="fill" if claimed.is_whole else "break", filled=filled,
            )  # fmt: skip
            if not claimed.is_whole:
                tell_break(tape, number, filled)
            await self._apply(tape, claimed, number + 1)
        finally:
            tape.hole_reason = ""
            tape.figures.hole(is_open=False)

    async def _apply(self, tape: OwnedTape, claimed: Claimed, expected: int) -> None:
        """Apply what was claimed from a number on, and pass over the rest of the room."""
        name, symbol, first = tape.claim.context.name, tape.claim.symbol, claimed.number + 1
        applied, left = 0, claimed.trades[expected - first :]
        for at in range(0, len(left), APPLIED_AT_ONCE):
            batch = [
                (b"", _numbered(trade, place))
                for place, trade in enumerate(left[at : at + APPLIED_AT_ONCE], expected + at)
            ]
            done = await self._store.apply(symbol, batch, tape.token)
            applied += done.applied
            tape.figures.applied(done)
            tape.figures.repaired(done.applied)
            REPAIRED.labels(name).inc(done.applied)
            for _, trade in batch:
                tape.judge(trade)
        end = claimed.number + BREAK_ROOM
        await self._store.skip(symbol, first + len(claimed.trades), end, tape.token, passing="pass")
        await self._stretches.forget(symbol)
        log.info("trade_hole_closed", venue=name, symbol=symbol, repaired=applied)

    async def _claimed(self, tape: OwnedTape, number: int) -> Claimed | str:
        """The trades of a stretch that are to be applied, or why there are none."""
        claimed = await self._stretches.claimed(tape.claim.symbol)
        if claimed is not None and claimed.number == number:
            return claimed
        asked = await self._asked(tape, number)
        found = asked if isinstance(asked, str) else await self._find(tape, asked, number)
        if isinstance(found, str):
            return found
        trades, is_whole = found
        for trade in trades:
            trade.name = trade.name or str(trade.trade_id)
        ahead_ms = self._settings.ingest.max_clock_ahead_ms
        good = [trade for trade in trades if usable(tape, trade, ahead_ms)]
        is_whole = is_whole and len(trades) == len(good) <= BREAK_ROOM
        claimed = await self._stretches.claim(
            tape.claim.symbol, number, good[-BREAK_ROOM:], is_whole=is_whole
        )
        return claimed or "a later stretch has been filled"

    async def _asked(self, tape: OwnedTape, number: int) -> _Asked | str:
        """What REST is to be asked for, by the entries on either side of a break."""
        around = await self._stretches.around(tape.key, tape.breaks[number], EARLIER_MS)
        earlier = _decoded(tape, around.earlier) if around else []
        later = _decoded(tape, around.later) if around else []
        if not (earlier and later):
            return "the log does not have the trades on either side"
        return _Asked(Stretch(earlier[0], later[0]), earlier[1:])

    async def _find(self, tape: OwnedTape, asked: _Asked, number: int) -> Missing | str:
        """Ask until there is an answer, or patience is over."""
        settings = self._settings
        rising = tape.claim.context.venue.facts.trade_ids == "rising"
        for_s = min(settings.trades.repair_for_s, settings.streams.trades_ms / 2000)
        patience = Patience(settings.trades.repair_attempts, for_s)
        while True:
            try:
                rows = await self._rows(tape, asked.stretch, patience.urgency, rising=rising)
            except RateLimited:
                continue  # the budget makes the next request wait until it may be sent
            except (RestError, MalformedFrame) as error:
                problem = str(error)
            else:
                if rows is None:
                    return "REST has no trades to ask for"
                found = missing(rows, *asked.stretch, asked.known, rising=rising)
                if found is not None:
                    return found
                if len(rows) >= MOST_ROWS:
                    return f"more than {MOST_ROWS:,} trades"
                problem = BEHIND
            patience.attempts += 1
            tell_failed(tape, number, patience.attempts, problem)
            if patience.over:
                return problem
            await asyncio.sleep(patience.pauses.take())

    async def _rows(
        self, tape: OwnedTape, stretch: Stretch, urgency: Urgency, *, rising: bool
    ) -> list[Trade] | None:
        """What REST has of a stretch, the oldest first; None: it has no trades to ask for.

        Raises:
            RestError, MalformedFrame: ask again later.
        """
        venue, symbol = tape.claim.context.venue, tape.claim.symbol
        now_ms = tape.exchange_ms() or steady_ms()
        request = venue.stretch_request(symbol, stretch, [], now_ms)
        if request is None:
            return None
        rows: list[Trade] = []
        while request is not None and len(rows) < MOST_ROWS:
            body = await self._rest.get(request, urgency, self._settings.trades.repair_timeout_s)
            page = venue.trades(symbol, body)
            joined = _joined(rows, page) if rising else page
            if len(joined) == len(rows):
                break
            rows = joined
            if rising and reaches(rows, *stretch):
                break
            request = venue.stretch_request(symbol, stretch, rows, now_ms)
        return rows


def tell_break(tape: OwnedTape, number: int, problem: str) -> None:
    """Trades stay missing at a number of the log, nobody knows how many."""
    BREAKS.labels(tape.claim.context.name).inc()
    log.error("trades_break", venue=tape.claim.context.name, symbol=tape.claim.symbol, number=number,
              problem=problem)  # fmt: skip


def _decoded(tape: OwnedTape, entries: Sequence[Delivered]) -> list[Trade]:
    """With the venue's own ids; what is no trade is left out."""
    venue: Venue = tape.claim.context.venue
    trades = []
    for entry in entries:
        try:
            trades.append(venue.trade(entry.data, tape.claim.symbol))
        except MalformedFrame:
            continue  # whoever folds it counts and tells it
    return trades


def _joined(rows: list[Trade], page: list[Trade]) -> list[Trade]:
    by_id = {row.trade_id: row for row in (*rows, *page)}
    return [by_id[number] for number in sorted(by_id)]


def _numbered(trade: Trade, number: int) -> Trade:
    return replace(trade, trade_id=number, first_trade_id=number, last_trade_id=number)
