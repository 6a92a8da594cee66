"""Closing windows by the clock where no trade comes that would: quiet ones when they are over, the last of a symbol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.errors import LeaseLost
from workers.model.trades.exchange_clock import ExchangeClock
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.ownership import Ownership
from workers.runtime.quarantine import Quarantine
from workers.settings.schema import TradeSettings
from workers.store.refusals import refusal_of
from workers.store.trades.fold import TradeStore
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

BARS = Counter("fleet_bars_closed_by_clock_total", "Windows closed because they were over", ["venue"])

CLOSE = "close"
"""The work, as the quarantine knows it."""


class Closing:
    """Closes the windows of the tapes one worker owns.

    Args:
        stores: by venue.
        clocks: the exchanges' time, by venue.
    """

    def __init__(
        self,
        stores: Mapping[str, TradeStore],
        clocks: Mapping[str, ExchangeClock],
        ownership: Ownership,
        quarantine: Quarantine,
        settings: TradeSettings,
    ) -> None:
        self._stores = stores
        self._clocks = clocks
        self._ownership = ownership
        self._quarantine = quarantine
        self._settings = settings
        self._waits = Backoff("close")

    def _may(self, tape: OwnedTape) -> bool:
        """Whether the lease surely holds (else it would be another's work), and nothing holds the work back."""
        name, symbol = tape.claim.context.name, tape.claim.symbol
        return (
            self._waits.due(name, symbol)
            and self._ownership.safe(tape.claim)
            and self._quarantine.due(*tape.claim, CLOSE)
        )

    async def close_quiet(self, context: VenueContext, concerned: Iterable[OwnedTape], read_ms: int) -> None:
        """Close what was over when the streams were read (monotonic), of the symbols that had nothing more."""
        now_ms = self._clocks[context.name].now(read_ms)
        if now_ms is None:
            return
        grace_ms = self._settings.close_grace_ms
        due = {
            tape.claim.symbol: tape
            for tape in concerned
            if tape.claim.context.name == context.name
            and tape.next_end_ms
            and tape.caught_up
            and tape.next_end_ms + grace_ms <= now_ms
            and self._may(tape)
        }
        if not due:
            return
        tokens: Mapping[str, str] = {symbol: tape.token for symbol, tape in due.items()}
        results = await self._stores[context.name].close_many(due, now_ms, grace_ms, tokens)
        for symbol, closed in results.items():
            if isinstance(closed, LeaseLost):
                self._ownership.lost(due[symbol].claim, int(due[symbol].token))
            elif isinstance(closed, Exception):
                if isinstance(closed, RedisError) and refusal_of(closed).of_server:
                    self._waits.refused(closed, context.name, symbol)
                else:
                    await self._quarantine.failed(context, symbol, CLOSE, closed)
            else:
                self._waits.accepted(context.name, symbol)
                self._quarantine.worked(context, symbol, CLOSE)
                due[symbol].next_end_ms = closed.next_end
                due[symbol].count_capped(closed.capped, self._settings.latest_max)
                BARS.labels(context.name).inc(closed.bars)

    async def close_last(self, tape: OwnedTape, *, is_over: bool) -> None:
        """Leave no window behind of a symbol that is given up.

        Args:
            is_over: the exchange has ended it: the open windows are closed; else all are brought up to date.
        """
        if is_over and tape.caught_up and tape.next_end_ms and self._settings.close_by_clock:
            day_ms = INTERVALS_MS["1d"]
            await self._close(tape, (tape.next_end_ms // day_ms + 1) * day_ms, tape.last_trade_time)
        elif self._stores[tape.claim.context.name].may_lag(tape.claim.symbol):
            await self.bring_up_to_date(tape)

    async def bring_up_to_date(self, tape: OwnedTape) -> None:
        """Fold into the long windows what only the short ones have so far."""
        await self._close(tape, 0, 0)

    async def _close(self, tape: OwnedTape, over_ms: int, now_ms: int) -> None:
        """Close what ends by `over_ms`, whatever the time is: by that alone trades are trimmed."""
        name, symbol = tape.claim.context.name, tape.claim.symbol
        results = await self._stores[name].close_many(
            [symbol], now_ms, now_ms - over_ms, {symbol: tape.token}
        )
        closed = results[symbol]
        if isinstance(closed, Exception):
            log.error("close_failed", venue=name, symbol=symbol, error=str(closed))
        else:
            BARS.labels(name).inc(closed.bars)
