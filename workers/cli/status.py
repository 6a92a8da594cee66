"""`fleet status` and `fleet stop`: looking at a running fleet, and ending it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape
from rich.table import Table

from workers.errors import CommandError
from workers.masking import mask
from workers.model.symbols.shares import Share
from workers.operations.run_directory import closed_by
from workers.operations.running import running_fleet
from workers.reading.opening import reaching
from workers.runtime.process import PORT_OFFSETS
from workers.settings.loading import Effective, redis_url
from workers.store.books.shown import UNREADABLE, SymbolReading, sentence_of, standing, whole
from workers.store.connection import connect
from workers.store.fleet.leases import Registry, milliseconds_of
from workers.store.keys import FOLDS
from workers.terminal.exit_codes import EXIT_FINE, EXIT_NOT_STARTED
from workers.terminal.output import note, out
from workers.verification.stored import Book, FleetReader


def run_stop(config: Path | None) -> int:
    """Stop the fleet; 0 also when there was none."""
    _, supervisor = running_fleet(config)
    if owner := closed_by(supervisor.home):
        raise CommandError(f"{supervisor.home} belongs to {owner}: run this as that user.")
    if supervisor.stop():
        note(f"Stopped the fleet in {supervisor.home}.")
    else:
        note(f"No fleet runs in {supervisor.home}.")
    return EXIT_FINE


def run_status(config: Path | None, *, as_json: bool) -> int:
    """Show the fleet; 3 when its Redis does not answer."""
    effective, supervisor = running_fleet(config)
    with reaching(effective):
        found = asyncio.run(_read(effective))
    found["home"] = str(supervisor.home)
    found["supervisord"] = supervisor.find()
    if as_json:
        out.write_json(found)
    else:
        for row in found["symbols"]:
            for trouble in row["unreadable"]:
                note(f"{row['symbol']}: {trouble}")
        for table in (_workers_table(found["workers"]), symbols_table(found["symbols"])):
            out.print(table)
        for worker in found["workers"]:
            if worker.get("redis_evicts") == "1":
                note(
                    "When its memory is full Redis deletes keys of its choice, and nothing tells which: "
                    "redis-cli CONFIG SET maxmemory-policy noeviction"
                )
            if worker.get("disk_low") == "1":
                note(
                    f"The disk of {found['home']} is filling: {worker['disk_free_mb']} MB are free. "
                    "On a full disk Redis refuses every write."
                )
    return EXIT_FINE if found["workers"] else EXIT_NOT_STARTED


async def _read(effective: Effective) -> dict[str, Any]:
    settings = effective.settings
    client = connect(redis_url(settings))
    try:
        await client.ping()
        reader = FleetReader(client, settings)
        await reader.refresh()
        registry = Registry(client, settings.fleet)
        workers = await registry.workers(PORT_OFFSETS)
        rows, owned = await symbol_rows(reader), dict[str, int]()
        refused = refused_by(workers)
        for row, book in zip(rows, reader.books, strict=True):
            row["refused"] = refused.get((book.context.name, book.symbol), [])
            for owner in row["owners"].values():
                owned[owner] = owned.get(owner, 0) + 1
        now = await registry.server_ms()
        for worker in workers:
            worker["beat_age_ms"] = str(now - (milliseconds_of(worker, "beat_ms") or now))
            worker["symbols_owned"] = str(owned.get(worker["name"], 0))
        return {"redis": mask(redis_url(settings)), "workers": workers, "symbols": rows}
    finally:
        await client.aclose()


def refused_by(workers: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], list[str]]:
    """By venue and symbol, a sentence for each stream the exchange refuses to a line, as the line tells."""
    found: dict[tuple[str, str], list[str]] = {}
    for worker in workers:
        try:
            reasons = msgspec.json.decode(worker.get("refused_why") or "{}", type=dict[str, str])
        except msgspec.MsgspecError:
            continue  # rubbish
        for name, why in reasons.items():
            venue, _, stream = name.partition(":")
            symbol, _, channel = stream.partition("@")
            line = worker["role"].removeprefix("ingest-")
            sentence = f"line {line}: the exchange refuses {channel}: {why}"
            found.setdefault((venue, symbol), []).append(sentence)
    return found


async def symbol_rows(reader: FleetReader) -> list[dict[str, Any]]:
    """A row for every symbol, whatever one of them holds."""
    return [
        await _symbol(reader, book, reading)
        for context in reader.contexts
        for book, reading in await reader.readings(context)
    ]


async def _symbol(reader: FleetReader, book: Book, reading: SymbolReading) -> dict[str, Any]:
    status = reading.book
    groups = {channel: await reader.group(book, channel, group) for channel, group in FOLDS}
    event_time, audited_ms = whole(status.get("event_time", "")), whole(status.get("last_audit_ms", ""))
    now_ms = int(time.time() * 1000)
    owners = {group: await reader.owner(book, group) for _, group in FOLDS}
    state, reason = standing(
        status.get("state", ""),
        status.get("reason", ""),
        owned=bool(owners["books"]),
        unheard_ms=reading.unheard_ms,
    )
    troubles = [sentence_of(problem) for problem in reading.unreadable]
    if trouble := reading.trades_status.get("reason"):
        troubles.append(trouble)
    if reading.unreadable and not status:
        state, reason = UNREADABLE, troubles[0]
    if why := book.context.symbols.why_silent(book.symbol):
        state, reason = "not listed", why
    return {
        "symbol": book.name,
        "state": state,
        "reason": reason,
        "unreadable": troubles,
        "update_id": whole(status.get("last_update_id", "")),
        "age_ms": now_ms - event_time if event_time else None,
        "levels": whole(status.get("levels", "")),
        "known_low": status.get("known_low", "inf"),
        "known_high": status.get("known_high", "0"),
        "syncs": whole(status.get("sync_count", "")),
        "depth_gaps": whole(status.get("gap_count", "")),
        "last_audit": status.get("last_audit", ""),
        "last_audit_age_ms": now_ms - audited_ms if audited_ms else None,
        "gaps": await reader.gaps(book),
        "last_trade_id": await reader.last_trade_id(book),
        "waiting": {channel: group.waiting for channel, group in groups.items()},
        "pending": {channel: group.pending for channel, group in groups.items()},
        "owners": owners,
    }


def _workers_table(workers: list[dict[str, str]]) -> Table:
    table = Table(title="workers")
    for name in ("role", "pid", "heartbeat", "symbols owned", "metrics"):
        table.add_column(name, justify="left" if name in ("role", "metrics") else "right")
    for worker in workers:
        beat = f"{int(worker['beat_age_ms']) / 1000:.1f} s ago"
        table.add_row(
            name_of(worker),
            worker.get("pid", ""),
            beat,
            worker["symbols_owned"],
            escape(worker.get("metrics", "")),
        )
    return table


def name_of(worker: Mapping[str, str]) -> str:
    """A worker's role, and of a line with several processes which one it is."""
    share = Share.from_heartbeat(worker)
    return worker["role"] if share.processes <= 1 else f"{worker['role']}-{share.number} of {share.processes}"


def symbols_table(rows: list[Mapping[str, Any]]) -> Table:
    """The rows for people."""
    table = Table(title="symbols")
    names = ("symbol", "state", "last loss", "update id", "age", "known range", "levels", "gaps", "last audit",
             "last trade", "waiting", "pending")  # fmt: skip
    for name in names:
        left = name in ("symbol", "state", "last loss", "last audit")
        table.add_column(name, justify="left" if left else "right")
    for row in rows:
        audited = ""
        if row["last_audit_age_ms"] is not None:
            audited = f"{row['last_audit'].partition(' ')[0]} {row['last_audit_age_ms'] / 1000:.0f} s ago"
        table.add_row(
            escape(row["symbol"]),
            escape(row["state"]),
            escape("; ".join(filter(None, [row["reason"], *row.get("refused", ())]))),
            str(row["update_id"]),
            "" if row["age_ms"] is None else f"{row['age_ms'] / 1000:.1f} s",
            _range(row["known_low"], row["known_high"]),
            str(row["levels"]),
            str(row["gaps"]),
            escape(audited),
            str(row["last_trade_id"] or ""),
            "/".join(str(value) for value in row["waiting"].values()),
            "/".join(str(value) for value in row["pending"].values()),
        )
    return table


def _range(low: str, high: str) -> str:
    """The prices at which a book is complete; `0` and `inf` are a side that is complete to its end."""
    if low == "inf" or high == "0":
        return "nothing"
    return f"{'all' if low == '0' else low} … {'all' if high == 'inf' else high}"
