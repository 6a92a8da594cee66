"""The values of signals, from what the keys hold; what cannot be read is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from workers.model.alerts.rules import Target
from workers.model.alerts.signals import Signal, Source, Value
from workers.model.books.top_of_book import TopOfBook, decode_top

Fields = Mapping[str, str]
LONGEST_WORD = 1_000
"""Characters of a value that is a word, as many as a condition may have."""
NO_TRADES_MISSING = "no hole"
MOST_MISSING = 1_000_000_000
"""Trades that one entry of `gaps:{S}` can say are missing: more than the busiest symbol has in months. An entry that
says more is damaged."""


def number_of(text: str | None) -> float | None:
    """The finite number a text says, else None."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def shown_values(payload: bytes | None, now_ms: int, *, attended: bool) -> dict[str, Value]:
    """Of what `LIVE_ORDERBOOK` shows of a symbol.

    Args:
        attended: whether a worker lives that would withdraw it; else it says nothing, and counts as withheld.
    """
    names = ("best_bid", "best_ask", "mid", "spread", "spread_bps", "shown_age_ms")
    values: dict[str, Value] = dict.fromkeys(names)
    top = _top(payload) if attended and payload is not None else None
    values["withheld"] = top is None
    if top is None:
        return values
    values["shown_age_ms"] = float(max(0, now_ms - top.published // 1000))
    bid, ask = (Decimal(side[0][0]) if side else None for side in (top.b, top.a))
    values["best_bid"] = None if bid is None else float(bid)
    values["best_ask"] = None if ask is None else float(ask)
    if bid is not None and ask is not None:
        mid = (bid + ask) / 2
        values["mid"], values["spread"] = float(mid), float(ask - bid)
        values["spread_bps"] = float((ask - bid) / mid * 10_000) if mid else None
    return values


def _top(payload: bytes) -> TopOfBook | None:
    try:
        return decode_top(payload)
    except msgspec.MsgspecError:
        return None


def status_values(status: Fields | None, now_ms: int) -> dict[str, Value]:
    """Of `book:{S}:status`; None: it could not be read."""
    told, state = (number_of(status.get("told_ms")), status.get("state")) if status else (None, None)
    unheard = None if told is None else max(0.0, now_ms - told)
    age, behind = (number_of(status.get(name)) if status else None for name in ("age_ms", "behind_ms"))
    return {
        "book_state": _word(state),
        "unheard_ms": unheard,
        "stale_ms": None if age is None or unheard is None else age + unheard,
        "behind_ms": None
        if behind is None or unheard is None
        else behind + (unheard if unheard > 10_000 else 0),
    }


def _word(text: str | None) -> str | None:
    """As much of a word as a rule could compare it with: a longer one is damaged."""
    return None if text is None else text[:LONGEST_WORD]


def field_value(signal: Signal, fields: Fields | None) -> Value:
    """The field of a hash or entry that a signal of a family names."""
    text = None if fields is None else fields.get(signal.field)
    return _word(text) if signal.kind == "word" else number_of(text)


def occurrences(signal: Signal, entries: Sequence[Fields]) -> float:
    """How often something happened, by the new entries of the stream that tells it."""
    return float(sum(_happened(signal, fields) for fields in entries))


def _happened(signal: Signal, fields: Fields) -> int:
    if signal.name == "gap":
        return int(fields.get("repaired") != NO_TRADES_MISSING)
    if signal.name == "missing_trades":
        lacking = fields.get("channel") == "aggTrade" and fields.get("repaired") == "no"
        first, last = number_of(fields.get("from")), number_of(fields.get("to"))
        further = max(0.0, last - first) if first is not None and last is not None else 0.0
        return int(min(further + 1, MOST_MISSING)) * lacking
    if signal.name == "audit_mismatch":
        return int(fields.get("outcome") == "mismatch")
    if signal.source is Source.ANALYTICS_EVENTS:
        return int(fields.get("kind") == signal.name)
    return 1


def worker_values(signals: Sequence[Signal], workers: Sequence[Fields], target: Target) -> dict[str, Value]:
    """Of a venue or of the fleet, by the heartbeats of its workers."""
    lines: dict[str, bool] = {}  # a line may be several processes, each with a share of the symbols
    for worker in workers:
        role = worker.get("role", "")
        if role.startswith("ingest-"):
            lines[role] = lines.get(role, True) and target.venue in worker.get("alive", "").split(",")
    alive = sum(lines.values())
    memory = [
        number_of(worker.get("redis_memory_bytes")) for worker in workers if worker.get("role") == "keeper"
    ]
    known = [size for size in memory if size is not None]
    values: dict[str, Value] = {}
    for signal in signals:
        if signal.name == "lines_alive":
            values[signal.name] = float(alive)
        elif signal.name == "feed_silent":
            values[signal.name] = not alive
        elif signal.name == "redis_memory_mb":
            values[signal.name] = max(known) / 2**20 if known else None
        else:
            values[signal.name] = float(sum(worker.get("role") == signal.field for worker in workers))
    return values
