"""Mending of the tapes, beside the rounds: holes in the ids are filled, ids that begin anew are followed or refuted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import structlog
from redis.exceptions import RedisError

from workers.errors import FleetError, LeaseLost
from workers.model.trades.fold import Hole
from workers.model.trades.numbering import LowerRun
from workers.runtime.context import VenueContext
from workers.runtime.ownership import Ownership
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.quarantine import Quarantine
from workers.runtime.rest import RestClient
from workers.runtime.tasks import end
from workers.store.refusals import refusal_of
from workers.store.trades.fold import TradeStore
from workers.trades.backfill import Backfill
from workers.trades.log_holes import LogHoles
from workers.trades.reading import TapeReading
from workers.trades.repair import Repair
from workers.trades.restarts import Restarts
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

APPLY = "apply"
"""The work that a tape is held back from while it cannot be mended, as the quarantine knows it."""
AGAIN_S = 0.5
"""Pause after a mending that was cut short; the next round comes upon the same hole."""


class VenueMending:
    """What mends the tapes of one venue."""

    def __init__(self, process: Process, context: VenueContext, rest: RestClient, store: TradeStore) -> None:
        settings = process.settings
        self.repair = Repair(rest, store, process.client, settings)
        self.log_holes = LogHoles(store, Backfill(rest, store, process.client, context.keys, settings))
        self.restarts = Restarts(rest, store, settings.ingest.id_reset_ms, settings.trades.repair_timeout_s)


def mending_of(
    process: Process, sessions: Sessions, contexts: Iterable[VenueContext], stores: Mapping[str, TradeStore]
) -> dict[str, VenueMending]:
    """What mends the tapes of each venue, by name."""
    return {
        context.name: VenueMending(
            process,
            context,
            RestClient(sessions.rest(context), process.client, context),
            stores[context.name],
        )
        for context in contexts
    }


class Mending:
    """The tasks that mend tapes: one a tape at most, and the fold of the tape waits meanwhile.

    Args:
        venues: by name.
        mended: called with the key of a tape whose fold may go on.
    """

    def __init__(
        self,
        venues: Mapping[str, VenueMending],
        reading: TapeReading,
        ownership: Ownership,
        quarantine: Quarantine,
        mended: Callable[[str], None],
    ) -> None:
        self._venues = venues
        self._reading = reading
        self._ownership = ownership
        self._quarantine = quarantine
        self._mended = mended
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        """Those of symbols given up: a cancellation may get lost (see `end`), the end of the worker is not."""

    @property
    def under_way(self) -> int:
        """How many tapes are being mended."""
        return len(self._tasks)

    def fill(self, tape: OwnedTape, hole: Hole) -> None:
        """Fill a hole that the fold stands at."""
        self._start(tape, partial(self._fill, tape, hole))

    def follow(self, tape: OwnedTape, run: LowerRun) -> None:
        """Find out whether ids began anew, and follow them or pass them over."""
        self._start(tape, partial(self._venues[tape.claim.context.name].restarts.settle, tape, run))

    def forget(self, key: str) -> None:
        """The tape of a raw stream is another worker's."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)

    async def close(self) -> None:
        """End what is under way."""
        await end([*self._tasks.values(), *self._cancelled])

    def _start(self, tape: OwnedTape, mending: Callable[[], Awaitable[None]]) -> None:
        tape.repairing = True
        self._tasks[tape.key] = asyncio.create_task(
            self._mend(tape, mending), name=f"trades: repair of {tape.claim.symbol}"
        )

    async def _fill(self, tape: OwnedTape, hole: Hole) -> None:
        if await self._reading.read_elsewhere(tape, hole):
            return
        venue = self._venues[tape.claim.context.name]
        seen = tape.waiting[0][1].trade_id if tape.waiting else hole.seen  # some of them may have been there
        if tape.is_numbered:
            await venue.log_holes.pass_over(tape, hole.expected, seen)
        else:
            await venue.repair.fill(tape, hole.expected, seen)

    async def _mend(self, tape: OwnedTape, mending: Callable[[], Awaitable[None]]) -> None:
        try:
            await mending()
        except LeaseLost:
            self._ownership.lost(tape.claim, int(tape.token))
        except RedisError as error:
            if refusal_of(error).of_server:
                await self._interrupted(tape, error)
            else:  # a key of the symbol cannot be written: what waits would come upon the hole at once again
                await self._quarantine.failed(*tape.claim, APPLY, error)
        except (OSError, FleetError) as error:
            await self._interrupted(tape, error)
        except Exception as error:  # a page, or a tape, that nobody foresaw
            self._quarantine.stumbled(*tape.claim, APPLY, error)
        finally:
            tape.repairing = False
            self._mended(tape.key)
            if self._tasks.get(tape.key) is asyncio.current_task():
                del self._tasks[tape.key]

    @staticmethod
    async def _interrupted(tape: OwnedTape, error: Exception) -> None:
        log.warning("repair_interrupted", symbol=tape.claim.symbol, error=str(error))
        await asyncio.sleep(AGAIN_S)
