"""The keeper role: what the exchange says of the symbols, and the request-weight limits it sets."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from workers.context import VenueContext, venue_contexts
from workers.errors import MalformedFrame, RestError
from workers.keeper.audit import Auditor
from workers.process import Process
from workers.rest import RestClient
from workers.store.budget import Urgency
from workers.store.server import memory_of
from workers.store.symbols import SymbolStore

log = structlog.get_logger()

REFRESHES = Counter("fleet_symbol_refreshes_total", "exchangeInfo read", ["venue", "outcome"])
UNLISTED = Counter("fleet_symbol_unlisted_total", "Configured symbols the exchange does not list", ["venue"])
STATUS_CHANGES = Counter("fleet_symbol_status_changes_total", "Symbols whose status changed", ["venue"])
MEMORY = Gauge("fleet_redis_memory_bytes", "Memory Redis uses for data")
MEMORY_LIMIT = Gauge("fleet_redis_memory_limit_bytes", "maxmemory; 0: none")

REQUEST_TIMEOUT_S = 30.0
RETRY_S = 5.0


class Keeper:
    """Keeps `symbol:{S}:info` true for every symbol of every venue."""

    def __init__(self, process: Process, session: aiohttp.ClientSession) -> None:
        self._process = process
        self._contexts = venue_contexts(process.settings)
        self._rest = {
            context.name: RestClient(session, process.client, context) for context in self._contexts
        }
        self._stores = {context.name: SymbolStore(process.client, context.keys) for context in self._contexts}
        self._auditor = Auditor(process, self._contexts, self._rest)
        self._due = {context.name: 0.0 for context in self._contexts}
        self._told_unlisted: set[tuple[str, str]] = set()

    async def _refresh(self, context: VenueContext) -> None:
        body = await self._rest[context.name].get(
            context.venue.info_request(), Urgency.START, REQUEST_TIMEOUT_S
        )
        info = context.venue.info(body)
        if info.weight_limit:
            await self._rest[context.name].budget.learn(info.weight_limit)
            self._auditor.learned(context, info.weight_limit)
        found = [info.symbols[symbol] for symbol in context.symbols if symbol in info.symbols]
        for change in await self._stores[context.name].store(found):
            STATUS_CHANGES.labels(context.name).inc()
            log.warning("symbol_status_changed", venue=context.name, symbol=change.symbol,
                        before=change.before, now=change.now)  # fmt: skip
        for symbol in context.symbols:
            if symbol not in info.symbols and (context.name, symbol) not in self._told_unlisted:
                self._told_unlisted.add((context.name, symbol))
                UNLISTED.labels(context.name).inc()
                log.error("symbol_unlisted", venue=context.name, symbol=symbol)
        REFRESHES.labels(context.name, "done").inc()
        log.info("symbols_refreshed", venue=context.name, listed=len(info.symbols), followed=len(found))

    async def step(self, now: float) -> None:
        """One round (monotonic seconds): refresh the venues that are due, look after Redis."""
        for context in self._contexts:
            if now < self._due[context.name]:
                continue
            try:
                await self._refresh(context)
                self._due[context.name] = now + self._process.settings.keeper.info_s
            except (RestError, MalformedFrame) as error:
                self._due[context.name] = now + RETRY_S
                REFRESHES.labels(context.name, "failed").inc()
                log.warning("symbol_refresh_failed", venue=context.name, error=str(error))
        for context in self._contexts:
            await self._stores[context.name].keep_last_trade_times(context.symbols)
            await self._stores[context.name].withdraw_orphans()
        used, limit = await memory_of(self._process.client)
        MEMORY.set(used)
        MEMORY_LIMIT.set(limit)
        self._process.details = {
            "symbols": sum(len(context.symbols) for context in self._contexts),
            "redis_memory_bytes": used,
            **self._auditor.details,
        }

    async def run(self) -> None:
        """Serve until told to stop."""
        auditing = asyncio.create_task(self._auditor.run())
        try:
            while not self._process.stop.is_set():
                try:
                    await self.step(time.monotonic())
                except (RedisError, OSError) as error:
                    log.warning("redis_trouble", role="keeper", error=str(error))
                if auditing.done():
                    auditing.result()  # an error nobody foresaw
                await self._process.sleep(1.0)
        finally:
            auditing.cancel()
            await asyncio.gather(auditing, return_exceptions=True)


async def main(process: Process) -> None:
    """The role's loop."""
    async with aiohttp.ClientSession() as session:
        await Keeper(process, session).run()
