"""What `/status` and the live channel of states say of one symbol, made of what its keys hold."""

from __future__ import annotations

import time
from collections.abc import Mapping

from workers.api.http.markets import Market
from workers.api.http.state_types import Checksums, Lag, Lags, LastAudit, SymbolState, TradesProgress
from workers.api.http.trust import Evidence, trades_problem, trust_of
from workers.store.books.shown import (
    UNHEARD_MS,
    UNREADABLE,
    SymbolReading,
    sentence_of,
    standing,
    whole,
)


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
