"""Questions about the fleet, its symbols and what went wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from workers.api.http.health import Connections, Health
from workers.api.http.markets import Market, Markets
from workers.api.http.operations import Operation
from workers.api.http.queries import NewestQuery, Nothing, rows
from workers.api.http.state_types import (
    AuditEntry,
    AuditsAnswer,
    FleetState,
    GapEntry,
    GapsAnswer,
    RedisState,
    StatusAnswer,
    SymbolInfo,
    SymbolsAnswer,
    SymbolState,
    VenueInfo,
)
from workers.api.http.symbol_state import symbol_state
from workers.runtime.process import PORT_OFFSETS, Process
from workers.store.books.shown import (
    plain_number,
    read_infos,
    read_memory,
    read_symbols,
    whole,
)
from workers.store.log.recorded import newest_audits, newest_gaps

FRESH_S = 0.5
"""How long one reading of the whole fleet is given to everybody who asks; longer where reading takes long."""
AUDIT_ROUNDS = 10
"""Audits go round the symbols; one this many rounds old is old."""


class FleetRoutes:
    """`/status`, `/symbols`, `/gaps`, `/audits`."""

    def __init__(self, process: Process, markets: Markets, health: Health) -> None:
        self._process = process
        self._health = health
        self._client: Redis = process.client
        self._markets = markets
        self._reading = asyncio.Lock()
        self._status: StatusAnswer | None = None
        self._status_due = 0.0

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/status",
                "getStatus",
                "The fleet and every symbol",
                "fleet",
                StatusAnswer,
                self.status,
                problems=(422, 503),
                described=f"Read at most once in {FRESH_S} s, however many ask.",
            ),
            Operation(
                "GET",
                "/symbols",
                "getSymbols",
                "What is followed, and what the exchange says of it",
                "fleet",
                SymbolsAnswer,
                self.symbols,
                problems=(422, 503),
            ),
            Operation(
                "GET",
                "/gaps",
                "getGaps",
                "Holes that were seen, newest first",
                "fleet",
                GapsAnswer,
                self.gaps,
                NewestQuery,
                problems=(404, 422, 503),
            ),
            Operation(
                "GET",
                "/audits",
                "getAudits",
                "Comparisons with independent snapshots, newest first",
                "fleet",
                AuditsAnswer,
                self.audits,
                NewestQuery,
                problems=(404, 422, 503),
            ),
        ]

    async def status(self, _: Nothing) -> StatusAnswer:
        """`GET /status`."""
        return await self._health.answered(self._status_now())

    async def _status_now(self) -> StatusAnswer:
        async with self._reading:
            began = time.monotonic()
            if self._status is None or began >= self._status_due:
                self._status = await self._read_status()
                ended = time.monotonic()
                self._status_due = ended + max(FRESH_S, 2 * (ended - began))
            return self._status

    async def _read_status(self) -> StatusAnswer:
        workers = await self._process.registry.workers(PORT_OFFSETS)
        memory = await read_memory(self._client)
        connections = Connections(workers)
        symbols: list[SymbolState] = []
        for name in self._markets.contexts:
            symbols += await self.states(
                [one for one in self._markets.all() if one.venue == name], connections
            )
        redis = RedisState(memory.used, memory.limit, memory.version)
        return StatusAnswer(FleetState([_typed(one) for one in workers], redis), symbols)

    async def states(self, markets: list[Market], connections: Connections) -> list[SymbolState]:
        """The state of some markets of one venue."""
        if not markets:
            return []
        names = [market.symbol for market in markets]
        found = await read_symbols(self._client, markets[0].context.keys, names)
        settings = self._process.settings
        expected_ms = int(settings.keeper.audit_s * 1000 * AUDIT_ROUNDS)
        return [
            symbol_state(
                market,
                reading,
                connections.has(market.venue, market.symbol),
                expected_ms,
                settings.books.stale_ms,
            )
            for market, reading in zip(markets, found, strict=True)
        ]

    async def states_of(self, markets: Sequence[Market]) -> list[SymbolState]:
        """The state of some markets of any venues, in their order."""
        connections = Connections(await self._process.registry.workers(("ingest-a", "ingest-b")))
        found: dict[Market, SymbolState] = {}
        for name in self._markets.contexts:
            some = [market for market in markets if market.venue == name]
            found.update(zip(some, await self.states(some, connections), strict=True))
        return [found[market] for market in markets]

    async def symbols(self, _: Nothing) -> SymbolsAnswer:
        """`GET /symbols`."""
        return await self._health.answered(self._symbols_now())

    async def _symbols_now(self) -> SymbolsAnswer:
        venues = [
            VenueInfo(name, one.settings.exchange, one.settings.market, self._markets.default_symbol(name))
            for name, one in self._markets.contexts.items()
        ]
        symbols = []
        for name, context in self._markets.contexts.items():
            names = list(self._markets.symbols(name))
            for symbol, info in zip(names, await read_infos(self._client, context.keys, names), strict=True):
                last = info.get("last_trade_time", "")
                symbols.append(
                    SymbolInfo(
                        name,
                        symbol,
                        info.get("base_asset", ""),
                        info.get("quote_asset", ""),
                        info.get("status", ""),
                        info.get("tick_size", ""),
                        info.get("step_size", ""),
                        whole(last) or None,
                    )
                )
        return SymbolsAnswer(venues, symbols)

    def _rows(self, query: NewestQuery) -> int:
        return rows(query.limit, self._process.settings.api.most_rows)

    async def gaps(self, query: NewestQuery) -> GapsAnswer:
        """`GET /gaps`."""
        market = self._markets.find(query.symbol, query.venue)
        keys = market.context.keys
        gaps = await self._health.answered(newest_gaps(self._client, keys, market.symbol, self._rows(query)))
        return GapsAnswer(market.venue, market.symbol, [GapEntry(*gap) for gap in gaps])

    async def audits(self, query: NewestQuery) -> AuditsAnswer:
        """`GET /audits`."""
        market = self._markets.find(query.symbol, query.venue)
        keys = market.context.keys
        audits = await self._health.answered(
            newest_audits(self._client, keys, market.symbol, self._rows(query))
        )
        return AuditsAnswer(market.venue, market.symbol, [AuditEntry(*audit) for audit in audits])


def _typed(worker: Mapping[str, str]) -> dict[str, str | int | float]:
    """A heartbeat with its numbers as numbers: Redis keeps text alone."""
    typed: dict[str, str | int | float] = {}
    for name, text in worker.items():
        number = None if name in ("name", "role") else plain_number(text)
        typed[name] = text if number is None else number
    return typed
