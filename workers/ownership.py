"""Which symbols this worker owns: the loop that takes, renews and gives back leases, for any role.

Every worker of a role computes the same shares from the same list of live workers, gives back what is another's,
and takes what is its own once it is free. What a lease guards is recovered by the role when it is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from workers.backoff import Backoff
from workers.context import VenueContext
from workers.following import refreshed
from workers.process import Process
from workers.quarantine import Quarantine
from workers.store.fleet import Leases, share_of
from workers.store.refusals import refusal_of
from workers.unreadable import UnreadableKeys

log = structlog.get_logger()

TAKEN_AT_ONCE = 16
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
        """Take up a symbol whose lease was just taken. Raises RedisError: tried again later."""

    async def hand_over(self, claim: Claim) -> None:
        """Commit and forget a symbol whose lease is about to be given back."""

    def forget(self, claim: Claim) -> None:
        """Forget a symbol at once: its lease is another worker's."""

    def retired(self, claim: Claim) -> None:
        """A symbol, owned or not, is no more followed by anybody: when it comes back it starts anew."""


class Ownership:
    """The leases of one worker in one role, over all venues."""

    def __init__(
        self,
        process: Process,
        role: str,
        contexts: Iterable[VenueContext],
        owner: Owner,
        quarantine: Quarantine | None = None,
    ) -> None:
        self._process = process
        self._role = role
        self._owner = owner
        self._contexts = list(contexts)
        self._leases = {
            context.name: Leases(
                process.client, context.keys, role, process.name, process.settings.fleet.lease_ms
            )
            for context in self._contexts
        }
        self._ready: set[tuple[str, str]] = set()
        self._retired: dict[str, list[str]] = {}
        self._unreadable = UnreadableKeys(role)
        self._quarantine = quarantine or Quarantine(process.client, role)

    def safe(self, claim: Claim) -> bool:
        """Whether the lease surely still holds: nothing may be written otherwise."""
        return self._leases[claim.context.name].safe(claim.symbol)

    def lost(self, claim: Claim) -> None:
        """A script refused our fencing number: the symbol is another's."""
        self._leases[claim.context.name].forget(claim.symbol)
        self._lose(claim)

    def _lose(self, claim: Claim) -> None:
        LOST.labels(self._role, claim.context.name).inc()
        log.warning("lease_lost", role=self._role, venue=claim.context.name, symbol=claim.symbol)
        self._ready.discard((claim.context.name, claim.symbol))
        self._owner.forget(claim)

    async def run(self) -> None:
        """Keep the leases until cancelled."""
        pause, waits = self._process.settings.fleet.lease_ms / 1000 / 6, Backoff("leases")
        while True:
            try:
                await self._round()
                waits.accepted()
            except (RedisError, OSError) as error:
                waits.refused(error)
            await asyncio.sleep(pause)

    async def _round(self) -> None:
        live = await self._process.registry.live(self._role)
        if self._process.name not in live:
            live = sorted([*live, self._process.name])
        for context in self._contexts:
            leases = self._leases[context.name]
            for symbol in await leases.renew():
                self._lose(Claim(context, symbol))
            removed = self._retired.setdefault(context.name, [])
            removed += (await refreshed(self._process, context, self._unreadable)).removed
            share = share_of(self._process.name, context.symbols, live)
            await self._give_back(context, set(leases.held) - share)
            while removed:
                self._owner.retired(Claim(context, removed.pop()))
            wanted = {
                symbol
                for symbol in share - set(leases.held)
                if self._quarantine.due(context, symbol, RECOVER)
            }
            await self._take(context, [symbol for symbol in context.symbols if symbol in wanted])
            OWNED.labels(self._role, context.name).set(len(leases.held))
            self._unreadable.looked(f"leases of {context.name}", leases.replaced.values())
            leases.replaced.clear()

    async def _give_back(self, context: VenueContext, symbols: Iterable[str]) -> None:
        for symbol in sorted(symbols):
            claim = Claim(context, symbol)
            if (context.name, symbol) in self._ready:
                try:
                    await self._owner.hand_over(claim)
                except (
                    Exception
                ) as error:  # it is given back all the same: the next owner begins with what is stored
                    await self._quarantine.failed(context, symbol, HAND_OVER, error)
                    self._owner.forget(claim)
                self._ready.discard((context.name, symbol))
            await self._leases[context.name].release([symbol])
            log.info("lease_released", role=self._role, venue=context.name, symbol=symbol)

    async def _take(self, context: VenueContext, symbols: Sequence[str]) -> None:
        """Take a few at a time, so that the first leases do not run out while the last are recovered."""
        leases = self._leases[context.name]
        for first in range(0, len(symbols), TAKEN_AT_ONCE):
            taken = sorted(await leases.take(symbols[first : first + TAKEN_AT_ONCE]))
            await asyncio.gather(*(self._recover(context, symbol) for symbol in taken))
            for symbol in await leases.renew():
                self._lose(Claim(context, symbol))

    async def _recover(self, context: VenueContext, symbol: str) -> None:
        leases = self._leases[context.name]
        token = leases.held.get(symbol)
        if token is None:
            return  # an answer to a call under the lease before this one has just said `lost`
        TAKEN.labels(self._role, context.name).inc()
        try:
            await self._owner.recover(Claim(context, symbol), token)
        except Exception as error:
            if isinstance(error, RedisError | OSError) and refusal_of(error).of_server:
                log.warning("recovery_failed", role=self._role, symbol=symbol, error=str(error))
            else:
                await self._quarantine.failed(context, symbol, RECOVER, error)
            await leases.release([symbol])
            return
        self._quarantine.worked(context, symbol, RECOVER)
        self._ready.add((context.name, symbol))
        log.info("lease_taken", role=self._role, venue=context.name, symbol=symbol, token=token)

    async def release_all(self) -> None:
        """Commit and give back everything, for a worker that stops."""
        for context in self._contexts:
            try:
                await self._give_back(context, set(self._leases[context.name].held))
            except (RedisError, OSError) as error:
                log.warning("release_failed", role=self._role, venue=context.name, error=str(error))

    @property
    def held(self) -> int:
        """Symbols owned now."""
        return sum(len(leases.held) for leases in self._leases.values())
