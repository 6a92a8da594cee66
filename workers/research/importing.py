"""Running the import command."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from workers.archive.files import parquet
from workers.archive.files.storage import Storage, storage_of
from workers.archive.files.transfer import fetched, is_url
from workers.errors import CommandError, RecordingError, WrongArgument
from workers.model.symbols.names import fold_symbol
from workers.operations.running import running_fleet
from workers.recordings.official import OfficialFile
from workers.recordings.records import Market
from workers.recordings.tardis.file import TardisFile, dataset_of
from workers.research.official_import import import_official
from workers.research.outcome import Imported
from workers.research.tardis_import import TardisImport
from workers.research.tardis_machine import is_replay
from workers.research.tardis_replay import import_replay
from workers.settings.loading import Effective
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE
from workers.terminal.output import note, out
from workers.terminal.saying import SoFar
from workers.verification.archive import refuse_other_ids, venue_of_file


class Request(NamedTuple):
    """The command line."""

    files: Sequence[str]
    venue: str
    symbol: str
    market: Market | None


def run_import(request: Request, config: Path | None, *, as_json: bool) -> int:
    """Import files, one after the other; the exit code. What was filed before an interruption stays."""
    parquet.require()
    effective, _ = running_fleet(config)
    archive = effective.settings.archive
    storage = storage_of(archive.url, Path(effective.settings.fleet.home))
    fine = True
    for name in request.files:
        started = time.monotonic()
        try:
            outcome = _import(name, request, effective, storage, archive.compression_level)
        except RecordingError as error:
            outcome = Imported(name, "", request.venue)
            outcome.problem(str(error))
        except OSError as error:
            raise CommandError(f"{name} cannot be filed in {archive.url}: {error}.") from error
        fine &= outcome.fine
        if as_json:
            out.write_json(_shown(outcome))
        else:
            _report(outcome, time.monotonic() - started)
    return EXIT_FINE if fine else EXIT_DISAGREEMENT


def _import(name: str, request: Request, effective: Effective, storage: Storage, level: int) -> Imported:
    if is_replay(name):
        shown = SoFar(of=name)
        return import_replay(name, storage, level, request.venue, os.environ, shown)
    if not is_url(name):
        return _import_file(Path(name), request, effective, storage, level)
    with ExitStack() as copy:
        try:
            path = copy.enter_context(fetched(name))
        except OSError as error:
            raise RecordingError(name, 0, f"it cannot be read: {error}") from error
        outcome = _import_file(path, request, effective, storage, level)
        outcome.rename(str(path), name)
        return outcome


def _import_file(
    path: Path, request: Request, effective: Effective, storage: Storage, level: int
) -> Imported:
    shown = SoFar(of=str(path))
    if path.suffix != ".zip" and dataset_of(path) is not None:
        return TardisImport(TardisFile(path), storage, level, request.venue, shown).run()
    official = OfficialFile(path)
    if request.symbol:
        official.symbol = fold_symbol(request.symbol)
    if not official.symbol:
        raise WrongArgument(f"The name {path.name!r} does not tell the symbol: give --symbol")
    official.verify_checksum()
    kind = official.kind()
    context = venue_of_file(effective, official, request.venue, request.market)
    if kind != "klines":
        refuse_other_ids(kind, context)
    return import_official(official, context.name, storage, level, shown)


def _shown(outcome: Imported) -> dict[str, Any]:
    return {"fine": outcome.fine, **asdict(outcome)}


def _report(outcome: Imported, seconds: float) -> None:
    for text in (*outcome.problems, *outcome.notes):
        note(text)
    named = f"{outcome.kind} of {outcome.venue} {' '.join(outcome.symbols)}" if outcome.symbols else "nothing"
    counts = [f"{outcome.rows:,} rows read", f"{outcome.written:,} rows filed in {outcome.files:,} files"]
    others = ("present", "repeated", "ignored", "unordered", "holes", "crossed", "other_day")
    counts += [
        f"{getattr(outcome, name):,} {name.replace('_', ' ')}" for name in others if getattr(outcome, name)
    ]
    if outcome.problem_count:
        counts.append(f"{outcome.problem_count:,} not usable")
    note(f"{outcome.file}: {named}: {', '.join(counts)}; {seconds:.1f} s.")
