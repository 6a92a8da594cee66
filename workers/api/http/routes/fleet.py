"""Questions about the fleet, its symbols and what went wrong."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from workers.api.http.health import Connections, Health
from workers.api.http.markets import Market, Markets
from workers.api.http.operations import Operation
from workers.api.http.queries import NewestQuery, Nothing, rows
from workers.api.http.state_types import (
    Alive,
    AuditEntry,
    AuditsAnswer,
    Checksums,
    FleetState,
    GapEntry,
    GapsAnswer,
    Healthy,
    Lag,
    Lags,
    LastAudit,
    RedisState,
    StatusAnswer,
    SymbolInfo,
    SymbolsAnswer,
    SymbolState,
    TradesProgress,
    VenueInfo,
)
from workers.api.http.trust import Evidence, trades_problem, trust_of
from workers.runtime.process import Process
from workers.store.books.shown import (
    UNHEARD_MS,
    UNREADABLE,
    SymbolReading,
    read_infos,
    read_memory,
    read_newest,
    read_symbols,
    sentence_of,
    standing,
    whole,
)

ROLES = (
    "ingest-a",
    "ingest-b",
    "books",
    "trades",
    "keeper",
    "archive",
    "orders",
    "postgres",
    "alerts",
    "api",
)
FRESH_S = 0.5
"""How long one reading of the whole fleet is given to everybody who asks; longer where reading takes long."""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
AUDIT_ROUNDS = 10
"""Audits go round the symbols; one this many rounds old is old."""


_GAP = {"channel", "from", "to", "reason", "repaired"}
_AUDIT = {"time", "outcome", "reason", "u", "snapshot_id", "compared", "differing", "differences", "low", "high",
          "waited_s"}  # fmt: skip


class FleetRoutes:
    """`/status`, `/symbols`, `/gaps`, `/audits`, `/healthz`, `/livez`."""

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
            Operation(
                "GET",
                "/healthz",
                "getHealth",
                "Whether the fleet serves what it should",
                "fleet",
                Healthy,
                self.health,
                problems=(422, 503),
                described="Answered at once from what was seen last. 503 with `reasons` where nothing that is live "
                "can be served: Redis is away, no venue's sockets deliver, or every book is withheld. 200 with "
                "`degraded` where some of it cannot.",
            ),
            Operation(
                "GET",
                "/livez",
                "getLiveness",
                "Whether this process answers",
                "fleet",
                Alive,
                self.alive,
                problems=(422,),
            ),
        ]

    async def health(self, _: Nothing) -> Healthy:
        """`GET /healthz`."""
        return self._health.demand()

    async def alive(self, _: Nothing) -> Alive:
        """`GET /livez`."""
        return Alive(ok=True)

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
        workers = await self._process.registry.workers(ROLES)
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
        key = market.context.keys.gaps(market.symbol)
        entries = await self._health.answered(read_newest(self._client, key, self._rows(query)))
        gaps = [
            GapEntry(
                entry_id,
                whole(entry_id.split("-")[0]),
                fields["channel"],
                whole(fields["from"]),
                whole(fields["to"]),
                fields["reason"],
                fields["repaired"],
            )
            for entry_id, fields in entries
            if fields.keys() >= _GAP  # what others wrote into the stream is none
        ]
        return GapsAnswer(market.venue, market.symbol, gaps)

    async def audits(self, query: NewestQuery) -> AuditsAnswer:
        """`GET /audits`."""
        market = self._markets.find(query.symbol, query.venue)
        key = market.context.keys.audit(market.symbol)
        entries = await self._health.answered(read_newest(self._client, key, self._rows(query)))
        audits = [
            AuditEntry(
                id=entry_id,
                time_ms=whole(fields["time"]),
                source=fields.get("source", "snapshot"),
                outcome=fields["outcome"],
                reason=fields["reason"],
                last_update_id=whole(fields["u"], -1),
                snapshot_id=whole(fields["snapshot_id"], -1),
                compared=whole(fields["compared"]),
                differing=whole(fields["differing"]),
                differences=fields["differences"],
                low=fields["low"],
                high=fields["high"],
                waited_s=seconds(fields["waited_s"]),
            )
            for entry_id, fields in entries
            if fields.keys() >= _AUDIT
        ]
        return AuditsAnswer(market.venue, market.symbol, audits)


def _typed(worker: Mapping[str, str]) -> dict[str, str | int | float]:
    """A heartbeat with its numbers as numbers: Redis keeps text alone."""
    return {name: text if name in ("name", "role") else number_or_text(text) for name, text in worker.items()}


def number_or_text(text: str) -> str | int | float:
    """A number that was written plainly, as `int` or `float`; any other text as it is."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def symbol_state(
    market: Market, found: SymbolReading, connected: bool, audit_expected_ms: int, stale_ms: int
) -> SymbolState:
    """An element of `/status`."""
    book, now_ms = found.book, int(time.time() * 1000)
    audit, synced_at = _last_audit(book), whole(book.get("synced_at", ""))
    updated = whole(book.get("updated", ""))
    age = whole(book.get("age_ms", "")) + max(0, now_ms - updated) if updated else None
    state, reason = standing(
        book.get("state", ""),
        book.get("reason", ""),
        owned=bool(found.owner),
        unheard_ms=found.unheard_ms,
        shown=found.shown,
    )
    if found.unreadable:
        state, reason = (state if book else UNREADABLE), sentence_of(found.unreadable[0])
    source = book.get("second_source", "rest")
    checksums = Checksums(whole(book.get("checksums_ok", "")), whole(book.get("checksums_of", "")))
    evidence = Evidence(
        shown=found.shown and bool(found.owner) and found.unheard_ms <= UNHEARD_MS,
        state=state,
        connected=connected,
        synced_for_ms=now_ms - synced_at,
        audit=audit.outcome if audit else "",
        audit_age_ms=now_ms - audit.time_ms if audit else 0,
        audit_expected_ms=audit_expected_ms,
        depth_waiting=found.depth_lag.waiting,
        age_ms=age or 0,
        stale_ms=stale_ms,
        trades_problem=trades_problem(whole(found.trades.get("last_id", ""), -1), *found.trades_log),
        second_source=source,
        checksums=checksums.of,
    )
    return SymbolState(
        venue=market.venue,
        symbol=market.symbol,
        is_connected=connected,
        state=state,
        reason=reason,
        shown=found.shown,
        last_update_id=_number(book, "last_update_id"),
        bids_count=whole(book.get("bids", "")),
        asks_count=whole(book.get("asks", "")),
        history_count=found.history_blocks,
        age_ms=age,
        known_low=book.get("known_low", ""),
        known_high=book.get("known_high", ""),
        sync_count=whole(book.get("sync_count", "")),
        gap_count=whole(book.get("gap_count", "")),
        synced_at_ms=synced_at or None,
        last_audit=audit,
        second_source=source,
        checksums=checksums,
        trust=trust_of(evidence),
        owner=found.owner or None,
        trades=_trades(found.trades, found.trades_status),
        lag=Lags(Lag(*found.depth_lag), Lag(*found.trades_lag)),
    )


def _number(fields: Mapping[str, str], name: str) -> int | None:
    found = whole(fields.get(name, ""), -1)
    return found if found >= 0 else None


def _last_audit(book: Mapping[str, str]) -> LastAudit | None:
    audit = book.get("last_audit", "")
    if not audit:
        return None
    update_id = whole(audit.rpartition("u=")[2], -1)
    return LastAudit(
        whole(book.get("last_audit_ms", "")), audit.partition(" ")[0], update_id if update_id >= 0 else None
    )


def _trades(found: Mapping[str, str], status: Mapping[str, str]) -> TradesProgress:
    return TradesProgress(
        _number(found, "last_id"),
        _number(found, "last_trade_time"),
        whole(found.get("applied_count", "")),
        whole(found.get("repeated_count", "")),
        whole(found.get("missing_count", "")),
        whole(found.get("late_count", "")),
        whole(found.get("not_market_count", "")),
        status.get("state", ""),
        status.get("reason", ""),
    )


def seconds(text: str) -> float:
    """The seconds a text says; 0 for what says none."""
    return float(text) if _NUMBER.fullmatch(text) else 0.0
