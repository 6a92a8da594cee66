"""Symbols whose work a role holds back: a key of theirs cannot be used, or the work failed in a way nobody foresaw.

    quarantine = Quarantine(process.client, "books")
    if quarantine.due(context, symbol, "read"):
        try:
            ...
        except Exception as error:
            await quarantine.failed(context, symbol, "read", error)
        else:
            quarantine.worked(context, symbol, "read")

Each kind of work of a symbol waits by itself, longer each time, and is tried again until it works. What befalls all
symbols alike is no matter of one of them and is raised (`Refusal.of_server`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import FleetError, StateUnreadable
from workers.plain_text import plain
from workers.runtime.context import VenueContext
from workers.store.diagnosis import keys_of_other_types, streams_that_are_full
from workers.store.refusals import Refusal, refusal_of

log = structlog.get_logger()

QUARANTINED = Counter(
    "fleet_symbol_quarantined_total", "Works of symbols that came to be held back", ["role", "venue", "work"]
)
HELD_BACK = Gauge("fleet_symbols_held_back", "Symbols of which some work is held back now", ["role", "venue"])

FIRST_S: Final = 0.5
MOST_S: Final = 15.0
SETTLED_S: Final = 5.0
"""What has worked for this long is over; what fails again sooner goes on, untold."""
UNFORESEEN: Final = "an error nobody foresaw; the log has it"


class _Held:
    """One kind of work of one symbol that is held back."""

    __slots__ = ("pause_s", "reason", "until", "worked_at")

    def __init__(self) -> None:
        self.reason = ""
        self.until = 0.0
        self.pause_s = 0.0
        self.worked_at: float | None = None


class Quarantine:
    """What one role holds back.

    Args:
        client: to look at the keys of a symbol that Redis refuses.
        clock: monotonic seconds.
    """

    def __init__(self, client: Redis, role: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._role = role
        self._clock = clock
        self._held: dict[tuple[str, str], dict[str, _Held]] = {}

    def due(self, context: VenueContext, symbol: str, work: str) -> bool:
        """Whether a kind of work may be tried now. Cost: O(1)."""
        held = self._held.get((context.name, symbol), {}).get(work) if self._held else None
        return held is None or self._clock() >= held.until

    def reason(self, context: VenueContext, symbol: str, work: str = "") -> str:
        """Why a kind of work (any, where none is named) is held back, and what to do; empty where none is."""
        works = self._held.get((context.name, symbol)) if self._held else None
        if not works:
            return ""
        chosen = [works[work]] if work in works else [] if work else works.values()
        return next((held.reason for held in chosen if held.worked_at is None), "")

    async def failed(self, context: VenueContext, symbol: str, work: str, error: BaseException) -> None:
        """Hold a kind of work of a symbol back; counted, and told once for as long as the reason is the same.

        Raises:
            RedisError, OSError: it is the server that refuses, so every symbol.
        """
        if isinstance(error, RedisError | OSError) and refusal_of(error).of_server:
            raise error
        self._hold(context, symbol, work, error, await self._reason(context, symbol, error))

    def stumbled(self, context: VenueContext, symbol: str, work: str, error: Exception) -> None:
        """The same for an error of our own code, which no key explains."""
        self._hold(context, symbol, work, error, UNFORESEEN)

    def _hold(self, context: VenueContext, symbol: str, work: str, error: BaseException, reason: str) -> None:
        held = self._held.setdefault((context.name, symbol), {}).setdefault(work, _Held())
        held.pause_s = min(MOST_S, 2 * held.pause_s or FIRST_S)
        held.until = self._clock() + held.pause_s
        held.worked_at = None
        if held.reason == reason:
            return
        held.reason = reason
        QUARANTINED.labels(self._role, context.name, work).inc()
        self._show(context)
        foreseen = isinstance(error, FleetError | RedisError)
        log.error("symbol_quarantined", role=self._role, venue=context.name, symbol=symbol, work=work, reason=reason,
                  error=plain(str(error)), exc_info=None if foreseen else error)  # fmt: skip

    async def _reason(self, context: VenueContext, symbol: str, error: BaseException) -> str:
        if isinstance(error, StateUnreadable):
            return _told([error])
        if isinstance(error, RedisError):
            if refusal_of(error) is Refusal.WRONG_TYPE:
                bad = await keys_of_other_types(self._client, context.keys, symbol)
                if bad:
                    return _told(bad)
            elif bad := await streams_that_are_full(self._client, context.keys, symbol):
                return _told(bad)
            return plain(str(error))
        return plain(str(error)) if isinstance(error, FleetError) else UNFORESEEN

    def worked(self, context: VenueContext, symbol: str, work: str) -> bool:
        """A kind of work of a symbol was done; True when it was held back until now. Cost: O(1).

        To be called whenever it was done: only what works for a while is over, and told so.
        """
        works = self._held.get((context.name, symbol)) if self._held else None
        held = works.get(work) if works else None
        if works is None or held is None:
            return False
        now = self._clock()
        if held.worked_at is None:
            held.worked_at, held.until = now, 0.0
            return True
        if now - held.worked_at >= SETTLED_S:
            del works[work]
            log.info("symbol_recovered", role=self._role, venue=context.name, symbol=symbol, work=work)
            if not works:
                self.forget(context, symbol)
        return False

    def forget(self, context: VenueContext, symbol: str) -> None:
        """A symbol is not ours any more."""
        if self._held.pop((context.name, symbol), None) is not None:
            self._show(context)

    def _show(self, context: VenueContext) -> None:
        count = sum(1 for venue, _ in self._held if venue == context.name)
        HELD_BACK.labels(self._role, context.name).set(count)


def _told(bad: list[StateUnreadable]) -> str:
    """The sentence for people: what is wrong with which key, and the command that lets it be made anew."""
    return "; ".join(f"{error.key}: {plain(error.problem)} (cure: {error.cure})" for error in bad[:3])
