"""Which symbols this worker owns: the tasks that take, renew and give back leases, for any role.

Every worker of a role computes the same shares from the same list of live workers, gives back what is another's,
and takes what is its own once it is free. What a lease guards is recovered by the role when it is taken, symbol by
symbol. Renewal waits for none of that: a worker that has much to recover, or little CPU, keeps what it has. But one
whose works finish nothing any more gives it up (`Progress`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.follow_symbols import refreshed
from workers.runtime.process import Process
from workers.runtime.progress import PATIENCE_LEASES, Progress
from workers.runtime.quarantine import Quarantine
from workers.runtime.sharing import Sharing
from workers.runtime.tasks import end
from workers.runtime.unreadable import UnreadableKeys
from workers.store.fleet.leases import Leases
from workers.store.refusals import refusal_of

log = structlog.get_logger()

TAKEN_AT_ONCE = 16
"""Symbols taken and not recovered yet, at most: others may recover the rest meanwhile."""
RECOVERED_AT_ONCE = 2
"""One waits for Redis while the other is folded; more would only make the first come later."""
RENEWED_TIMES = 6
"""In the length of a lease."""
RECOVER, HAND_OVER = "recover", "hand over"
"""The works, as the quarantine knows them."""

OWNED = Gauge("fleet_symbols_owned", "Symbols this worker owns", ["role", "venue"])
TAKEN = Counter("fleet_leases_taken_total", "Symbols taken", ["role", "venue"])
LOST = Counter("fleet_lease_lost_total", "Symbols lost to another worker", ["role", "venue"])


class Claim(NamedTuple):
    """A symbol of a venue, as a role owns it."""

    context: VenueContext
    symbol: str


class Owner(Protocol):
    """What a role does when symbols come and go."""

    async def recover(self, claim: Claim, token: int) -> None:
        """Take up a symbol whose lease was just taken, as long as it is owned. Raises RedisError: tried again later."""

    async def hand_over(self, claim: Claim) -> None:
        """Commit and forget a symbol whose lease is about to be given back."""

    def forget(self, claim: Claim) -> None:
        """Forget a symbol at once: its lease is another worker's."""

    def retired(self, claim: Claim) -> None:
        """A symbol, owned or not, is no more followed by anybody: when it comes back it starts anew."""


class Ownership:
    """The leases of one worker in one role, over all venues.

    Args:
        channel: by whose messages symbols are shared out; empty: by their number.
    """

    def __init__(
        self,
        process: Process,
        role: str,
        contexts: Iterable[VenueContext],
        owner: Owner,
        quarantine: Quarantine | None = None,
        channel: str = "",
    ) -> None:
        self._process = process
        self._role = role
        self._owner = owner
        self._contexts = list(contexts)
        self._usual_ms = process.settings.fleet.lease_ms
        self._leases = {
            context.name: Leases(process.client, context.keys, role, process.name, self._usual_ms)
            for context in self._contexts
        }
        self._ready: set[tuple[str, str]] = set()
        self._queue: asyncio.Queue[Claim] = asyncio.Queue()
        self._unrecovered: set[tuple[str, str]] = set()
        """Taken, and not recovered yet: in the queue, or on the way."""
        self._room = asyncio.Event()
        self._retired: dict[str, list[str]] = {}
        self._unreadable = UnreadableKeys(role)
        self._sharing = Sharing(process, role, self._contexts, channel)
        self._quarantine = quarantine or Quarantine(process.client, role)
        self.progress = Progress(role)
        """Of the role's rounds and of what is done with the leases; to be told of finished pieces."""
        self._is_watched = False
        self._backoff = Backoff("leases")
        self._patient_until = 0.0
        """While Redis was away no heartbeat came through: who lives is not known yet (monotonic seconds)."""

    def safe(self, claim: Claim) -> bool:
        """Whether the lease surely still holds: nothing may be read or written otherwise."""
        return self._leases[claim.context.name].safe(claim.symbol)

    def owns(self, claim: Claim, token: int) -> bool:
        """Whether the lease with this fencing number was not lost, for all that is known."""
        return self._leases[claim.context.name].held.get(claim.symbol) == token

    def lost(self, claim: Claim, token: int) -> None:
        """A script refused a fencing number: the symbol is another's, unless it has been taken again meanwhile."""
        if self.owns(claim, token):
            self._leases[claim.context.name].forget(claim.symbol)
            self._lose(claim)

    def _lose(self, claim: Claim) -> None:
        LOST.labels(self._role, claim.context.name).inc()
        log.warning("lease_lost", role=self._role, venue=claim.context.name, symbol=claim.symbol)
        self._ready.discard((claim.context.name, claim.symbol))
        self._owner.forget(claim)

    async def guard(self, rounds: Coroutine[Any, Any, None]) -> None:
        """Run a role's loop and keep the leases until it ends, or hangs; giving them back is left to `release_all`.

        Raises:
            WorkHung: it hung, or what is done with the leases did; they have not been renewed since.
        """
        self._is_watched = True
        tasks = [
            asyncio.create_task(self.run(), name=f"{self._role}: leases"),
            asyncio.create_task(self._watched("round", rounds), name=f"{self._role}: rounds"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # an error nobody foresaw: without leases, or rounds, this process is of no use
        finally:
            await end(tasks)

    async def _watched(self, name: str, work: Awaitable[None]) -> None:
        async with self.progress.watched(name):
            await work

    async def run(self) -> None:
        """Keep the leases until cancelled."""
        pause_s = self._usual_ms / 1000 / RENEWED_TIMES
        sharing = self._again_and_again(self.share, pause_s, self._room)
        tasks = [
            asyncio.create_task(self._again_and_again(self.renew, pause_s), name="leases: renew"),
            asyncio.create_task(
                self._watched("sharing", sharing) if self._is_watched else sharing, name="leases: share"
            ),
            *(
                asyncio.create_task(self._recover_forever(), name=f"leases: recover {number}")
                for number in range(RECOVERED_AT_ONCE)
            ),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # an error nobody foresaw
        finally:
            await end(tasks)

    async def _again_and_again(
        self, work: Callable[[], Awaitable[None]], pause_s: float, sooner: asyncio.Event | None = None
    ) -> None:
        while True:
            wait_s = pause_s
            try:
                await work()
            except (RedisError, OSError) as error:
                wait_s = max(pause_s, self._backoff.refused(error))
                self._patient_until = (
                    time.monotonic() + 1.5 * self._process.settings.fleet.heartbeat_ms / 1000
                )
            else:
                self._backoff.accepted()
            self.progress.made()
            if sooner is None:
                await asyncio.sleep(wait_s)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(sooner.wait(), wait_s)
            sooner.clear()

    async def renew(self) -> None:
        """Renew every lease, of all venues at once. One that a starved worker holds runs longer.

        Raises:
            RedisError: some were not renewed.
            WorkHung: they were for the last time, as a work hangs.
        """
        length_ms = self._usual_ms + self._process.pulse.extra_ms(self._usual_ms)
        for leases in self._leases.values():
            leases.length_ms = length_ms
        failed = await asyncio.gather(*map(self._renew, self._contexts), return_exceptions=True)
        for error in failed:
            if error is not None:
                raise error
        if self.held:
            self.progress.renewed(RENEWED_TIMES * PATIENCE_LEASES * length_ms // self._usual_ms)

    async def _renew(self, context: VenueContext) -> None:
        for symbol in await self._leases[context.name].renew():
            self._lose(Claim(context, symbol))

    async def share(self) -> None:
        """Give back what is another's, and take what is free and ours as far as there is room for it.

        Raises:
            RedisError: the next call does the rest.
        """
        live = await self._process.registry.live(self._role)
        if self._process.name not in live:
            live = sorted([*live, self._process.name])
        await self._sharing.look(live)
        for context in self._contexts:
            leases = self._leases[context.name]
            removed = self._retired.setdefault(context.name, [])
            removed += (await refreshed(self._process, context, self._unreadable)).removed
            share = self._sharing.share(context, live)
            unrecovered = {symbol for venue, symbol in self._unrecovered if venue == context.name}
            await self._give_back(context, set(leases.held) - share - unrecovered)
            while removed:
                self._owner.retired(Claim(context, removed.pop()))
            await self._take(context, share - set(leases.held) - unrecovered)
            OWNED.labels(self._role, context.name).set(len(leases.held))
            self._unreadable.looked(f"leases of {context.name}", leases.replaced.values())
            leases.replaced.clear()

    async def _give_back(self, context: VenueContext, symbols: Iterable[str]) -> None:
        for symbol in sorted(symbols):
            claim = Claim(context, symbol)
            if (context.name, symbol) in self._ready:
                await self._hand_over(claim)
                self._ready.discard((context.name, symbol))
            await self._leases[context.name].release([symbol])
            log.info("lease_released", role=self._role, venue=context.name, symbol=symbol)
            self.progress.made()

    async def _hand_over(self, claim: Claim) -> None:
        try:
            await self._owner.hand_over(claim)
        except Exception as error:
            # It is given back all the same: the next owner begins with what is stored.
            self._owner.forget(claim)
            await self._quarantine.failed(claim.context, claim.symbol, HAND_OVER, error)

    async def _take(self, context: VenueContext, free: set[str]) -> None:
        """Take what is free, each venue its part of the room, the most important symbols first."""
        room = max(1, TAKEN_AT_ONCE // len(self._contexts))
        room -= sum(1 for venue, _ in self._unrecovered if venue == context.name)
        if room <= 0 or time.monotonic() < self._patient_until:
            return
        wanted = [
            symbol
            for symbol in context.symbols
            if symbol in free and self._quarantine.due(context, symbol, RECOVER)
        ]
        taken = await self._leases[context.name].take(wanted[:room])
        for symbol in wanted:
            if symbol in taken:
                self._unrecovered.add((context.name, symbol))
                self._queue.put_nowait(Claim(context, symbol))

    async def _recover_forever(self) -> None:
        while True:
            await self._recover(await self._queue.get())

    async def recover_taken(self) -> None:
        """Recover what is waiting for it now."""
        while not self._queue.empty():
            await self._recover(self._queue.get_nowait())

    async def _recover(self, claim: Claim) -> None:
        context, symbol = claim
        try:
            token = self._leases[context.name].held.get(symbol)
            if token is None:
                return  # lost while it waited
            TAKEN.labels(self._role, context.name).inc()
            if await self._recovered(claim, token):
                self._ready.add((context.name, symbol))
                log.info("lease_taken", role=self._role, venue=context.name, symbol=symbol, token=token)
        finally:
            self._unrecovered.discard((context.name, symbol))
            self._room.set()

    async def _recovered(self, claim: Claim, token: int) -> bool:
        context, symbol = claim
        leases = self._leases[context.name]
        try:
            if self._is_watched:
                async with self.progress.watched(f"recovery: {context.name}:{symbol}", alone=True):
                    await self._owner.recover(claim, token)
            else:
                await self._owner.recover(claim, token)
        except Exception as error:
            self._owner.forget(claim)
            with suppress(RedisError, OSError):  # it runs out by itself
                await leases.release([symbol])
            leases.forget(symbol)
            if isinstance(error, RedisError | OSError) and refusal_of(error).of_server:
                log.warning("recovery_failed", role=self._role, symbol=symbol, error=str(error))
            else:
                await self._quarantine.failed(context, symbol, RECOVER, error)
            return False
        if not self.owns(claim, token):
            self._owner.forget(claim)
            return False
        self._quarantine.worked(context, symbol, RECOVER)
        return True

    async def release_all(self) -> None:
        """Commit and give back everything, for a worker that stops; what fails holds up nothing else.

        What hung would hang again: then nothing is committed, and the next owner begins with what is stored.
        """
        if self.progress.is_hung:
            self._ready.clear()
        for context in self._contexts:
            for symbol in sorted(self._leases[context.name].held):
                try:
                    await self._give_back(context, [symbol])
                except (RedisError, OSError) as error:
                    log.warning("release_failed", role=self._role, venue=context.name, symbol=symbol,
                                error=str(error))  # fmt: skip
                    if refusal_of(error).of_server:
                        return  # nobody has to wait for a worker that stops: its leases run out

    @property
    def held(self) -> int:
        """Symbols owned now."""
        return sum(len(leases.held) for leases in self._leases.values())
