"""Looking whether silent trade streams are dead: the exchange is asked for a trade after the last one we have."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.errors import FleetError, MalformedFrame, RestError
from workers.model.events import Trade
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.dead_streams import revive
from workers.runtime.living_lines import LivingLines
from workers.runtime.process import Process
from workers.runtime.rest import RestClient
from workers.runtime.steady_clock import steady_ms
from workers.store.fleet.budget import Urgency
from workers.store.keys import TRADES
from workers.store.log.activity import NewestTrade, newest_trades

log = structlog.get_logger()

CHECKED = Counter(
    "fleet_tapes_checked_total",
    "Silent trade streams compared with the exchange's trades",
    ["venue", "outcome"],
)
FAILED = Counter("fleet_tape_check_failed_total", "Of those, requests that failed", ["venue"])

STEP_S: Final = 2.0
PAUSES: Final = 4.0
"""A stream is looked at once it is silent this many times longer than its longest recent pause."""
FORGETTING: Final = 0.9
"""What a look that found new trades leaves of the longest pause before it."""
BETWEEN_S: Final = 10.0
"""Between two requests of one venue: at most 120 of 2,400 of USD-M's weight a minute, 24 of spot's 6,000."""
STANDING_S: Final = 3.0
"""The stream may be a little later than the reply; a dead one is so still after this."""
FAR_MS: Final = 7 * 86_400_000
"""What is this far ahead of our clock is no trade: it spoils its stream, which others say."""
MOST_PAUSE_S: Final = 600.0
"""Longest pause between two looks at a market without trades."""


@dataclass
class _Tape:
    """The trade stream of one symbol; monotonic seconds."""

    last: NewestTrade
    moved_at: float
    longest_s: float = 0.0
    due: float = 0.0
    pause_s: float = 0.0
    is_dead: bool = False
    """It was found dead, and has brought nothing since."""


class TapeWatch:
    """Finds dead trade streams, and has them subscribed anew.

    Args:
        rest: by venue.
        silence_s: a stream silent for less is never looked at; 0: none is.
    """

    def __init__(
        self,
        process: Process,
        contexts: Sequence[VenueContext],
        rest: Mapping[str, RestClient],
        silence_s: float,
    ) -> None:
        self._process = process
        self._contexts = [one for one in contexts if one.settings.trades != "none"]
        self._rest = rest
        self._silence_s = silence_s
        self._tapes: dict[str, dict[str, _Tape]] = {one.name: {} for one in self._contexts}
        self._next = dict.fromkeys(self._tapes, 0.0)
        self._waits = Backoff("tapes")
        self._lines = LivingLines(process.registry)

    async def run(self) -> None:
        """Look until told to stop; at once over if nobody wants it."""
        while self._silence_s and not self._process.stop.is_set():
            for context in self._contexts:
                try:
                    await self.step(context, time.monotonic())
                    self._waits.accepted(context.name)
                except (RedisError, OSError) as error:
                    self._waits.refused(error, context.name)
                except Exception as error:  # of one look: the next one, and the other venues, go on
                    FAILED.labels(context.name).inc()
                    log.error("tape_check_failed", venue=context.name, exc_info=error)
            await self._process.sleep(STEP_S)

    async def step(self, context: VenueContext, now: float) -> None:
        """One look at the trade streams of a venue (monotonic seconds), and at most one request."""
        symbols, tapes = list(context.symbols), self._tapes[context.name]
        asked = [(context.keys, symbol) for symbol in symbols]
        newest = dict(zip(symbols, await newest_trades(self._process.client, asked), strict=True))
        for symbol in [symbol for symbol in tapes if symbol not in newest]:
            del tapes[symbol]
        for symbol, last in newest.items():
            tape = tapes.setdefault(symbol, _Tape(last, now))
            if last != tape.last:
                tape.longest_s = max(now - tape.moved_at, tape.longest_s * FORGETTING)
                tape.last, tape.moved_at, tape.pause_s, tape.is_dead = last, now, 0.0, False
        await self._lines.ask(now)
        silent = [
            symbol
            for symbol, tape in tapes.items()
            if self._suspicious(tape, now) and self._lines.listen_to(context.name, symbol)
        ]
        if silent and now >= self._next[context.name]:
            self._next[context.name] = now + BETWEEN_S
            await self._check(context, min(silent, key=lambda symbol: tapes[symbol].due), now)

    def _suspicious(self, tape: _Tape, now: float) -> bool:
        silent_s = now - tape.moved_at
        return (
            tape.last.number >= 0
            and tape.last.ms <= steady_ms() + FAR_MS
            and silent_s > max(self._silence_s, tape.longest_s * PAUSES)
            and now >= tape.due
        )

    async def _check(self, context: VenueContext, symbol: str, now: float) -> None:
        """Ask for the trades after the last one of a stream; if there are, and they do not come, it is dead."""
        tape, venue = self._tapes[context.name][symbol], context.venue
        tape.pause_s = min(max(self._silence_s, tape.pause_s * 2), MOST_PAUSE_S)
        tape.due = now + tape.pause_s
        by_id, last = venue.facts.trade_ids == "consecutive", tape.last
        request = venue.trades_request(symbol, last.number + 1 if by_id else None, last.ms)
        try:
            body = await self._rest[context.name].get(
                request, Urgency.AUDIT, self._process.settings.trades.repair_timeout_s
            )
            later = _later(venue.trades(symbol, body), last, by_id=by_id)
        except (RestError, MalformedFrame) as error:
            self._failed(context, symbol, error)
            return
        outcome = "quiet"
        if later:
            await self._process.sleep(STANDING_S)
            [standing] = await newest_trades(self._process.client, [(context.keys, symbol)])
            outcome = "late" if (standing.number if by_id else standing.ms) >= min(later) else "dead"
        CHECKED.labels(context.name, outcome).inc()
        if outcome == "dead":
            tape.due = now + self._silence_s
            what, until = ("trade", last.number) if by_id else ("a trade of", last.ms)
            evidence = f"the exchange has {what} {max(later)}, the log none after {until}"
            is_news, tape.is_dead = not tape.is_dead, True
            await revive(self._process.client, context, symbol, TRADES, evidence, is_news=is_news)

    @staticmethod
    def _failed(context: VenueContext, symbol: str, error: FleetError) -> None:
        FAILED.labels(context.name).inc()
        log.warning("tape_check_failed", venue=context.name, symbol=symbol, error=str(error))


def _later(trades: Sequence[Trade], last: NewestTrade, *, by_id: bool) -> list[int]:
    """The ids of those after the last one; where ids do not tell, the times, ms."""
    if by_id:
        return [trade.trade_id for trade in trades if trade.trade_id > last.number]
    return [trade.trade_time for trade in trades if trade.trade_time > last.ms]
