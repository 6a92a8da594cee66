"""The keeper role: the symbols and what becomes of them, audits, and the health of Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.keeper.announcements import AnnouncementReader
from workers.keeper.audit import Auditor
from workers.keeper.derivatives import DerivativesFold
from workers.keeper.disk import DiskWatch
from workers.keeper.given_up import GivenUpVenues
from workers.keeper.listings import Listings
from workers.keeper.memory import MemoryWatch
from workers.keeper.open_interest import OpenInterest
from workers.keeper.tapes import TapeWatch
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.rest import RestClient
from workers.runtime.tasks import end
from workers.venues.messages import ContractNotice

log = structlog.get_logger()

STEP_S: Final = 1.0

STUMBLED = Counter("fleet_keeper_stumbled_total", "Rounds over which the keeper's own code failed")
_told: Final[set[str]] = set()
"""Errors of its own code that the log has already."""


class Keeper:
    """Keeps the lists of symbols and `symbol:{S}:info` true for every venue."""

    def __init__(self, process: Process, sessions: Sessions) -> None:
        self._process = process
        self._sessions = sessions
        self._contexts = venue_contexts(process.settings)
        rest = {
            context.name: RestClient(sessions.rest(context), process.client, context)
            for context in self._contexts
        }
        self._listings = {
            context.name: Listings(process, context, rest[context.name]) for context in self._contexts
        }
        self._auditor = Auditor(process, self._contexts, rest)
        self._tapes = TapeWatch(process, self._contexts, rest, process.settings.keeper.trades_silence_s)
        self._derivatives = DerivativesFold(process, self._contexts)
        self._polls = {
            context.name: OpenInterest(process, context, rest[context.name]) for context in self._contexts
        }
        self._given_up = GivenUpVenues(process)
        self._memory = MemoryWatch(process.client)
        self._disk = DiskWatch(Path(process.settings.fleet.home), process.settings.keeper.disk_low_mb)

    def _announcements(self, context: VenueContext) -> AnnouncementReader | None:
        where, listings = context.venue.announcements(), self._listings[context.name]
        if where is None:
            return None

        def take(notice: ContractNotice) -> None:
            listings.announced(notice, time.monotonic())

        def opened() -> None:
            listings.read_soon(time.monotonic())

        return AnnouncementReader(self._sessions.sockets(context), context.venue, where, take, opened)

    async def _tend(self, context: VenueContext) -> None:
        """Look after a venue's list; a slow exchange holds up no other venue."""
        listings, waits = self._listings[context.name], Backoff("symbols")
        while True:
            with _redis_may_fail(waits):
                await listings.step(time.monotonic())
                if listings.weight_limit:
                    self._auditor.learned(context, listings.weight_limit)
                    self._polls[context.name].learned(listings.weight_limit)
            await asyncio.sleep(STEP_S)

    async def _watch(self) -> None:
        """Keep what changes every second, and look after Redis."""
        waits = Backoff("watch")
        while True:
            with _redis_may_fail(waits):
                for context in self._contexts:
                    await self._listings[context.name].keep_keys()
                await self._given_up.step()
                memory = await self._memory.look()
                self._process.details = {
                    "symbols": sum(len(context.symbols) for context in self._contexts),
                    **memory,
                    **self._auditor.details,
                    **self._disk.look(),
                }
            await asyncio.sleep(STEP_S)

    async def run(self) -> None:
        """Serve until told to stop."""
        with _redis_may_fail(Backoff("watch")):
            await self._given_up.step()
        readers = [reader for context in self._contexts if (reader := self._announcements(context))]
        stopping = asyncio.create_task(self._process.stop.wait(), name="keeper: stop")
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._watch(), name="keeper: watch"),
            asyncio.create_task(self._auditor.run(), name="keeper: audits"),
            asyncio.create_task(self._tapes.run(), name="keeper: tapes"),
            asyncio.create_task(self._derivatives.run(), name="keeper: derivatives"),
            *(asyncio.create_task(poll.run(), name="keeper: polls") for poll in self._polls.values()),
            *(
                asyncio.create_task(self._tend(context), name=f"keeper: {context.name}")
                for context in self._contexts
            ),
            *(asyncio.create_task(reader.run(), name="keeper: announcements") for reader in readers),
        ]
        left: set[asyncio.Task[Any]] = {stopping, *tasks}
        try:
            while not stopping.done():
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # an error nobody foresaw, or audits nobody wants
        finally:
            await end([stopping, *tasks])


@contextmanager
def _redis_may_fail(waits: Backoff) -> Iterator[None]:
    """What Redis interrupts is done by the next round."""
    try:
        yield
        waits.accepted()
    except (RedisError, OSError) as error:
        waits.refused(error)
    except Exception as error:  # of one venue's list: the others, and the audits, go on
        STUMBLED.inc()
        if (told := f"{type(error).__name__}: {error}") not in _told:
            _told.add(told)
            log.error("keeper_stumbled", exc_info=error)


async def main(process: Process) -> None:
    """The role's loop."""
    async with Sessions() as sessions:
        await Keeper(process, sessions).run()
