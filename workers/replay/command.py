"""Running the replay command: the recordings, the server, the display, the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import uvloop
from redis.exceptions import RedisError
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from workers.errors import CommandError, RecordingError, WrongArgument
from workers.masking import mask
from workers.operations.foreground import STOP_SIGNALS, ignoring, stop_on_signals
from workers.recordings.exchanges import Source
from workers.recordings.recording import Recording
from workers.recordings.records import Market
from workers.replay.feed import Feeder, Interrupted
from workers.replay.plan import ReplayPlan
from workers.replay.report import tables
from workers.replay.run import Options, replay
from workers.replay.server import PrivateServer
from workers.research.tardis_machine import KEY_VARIABLE, is_replay
from workers.research.tardis_spool import spool
from workers.runtime.logs import configure_logging
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE, EXIT_INTERRUPTED, EXIT_SETTINGS
from workers.terminal.output import PLAIN_EVERY_S, err, note, out, sentence


def run_replay(
    files: Sequence[str],
    *,
    as_json: bool,
    market: Market | None,
    venue: str,
    speed: float | None,
    redis: str,
    add: bool,
    keep: bool,
) -> int:
    """Replay files, and what machines replay, by their names or URLs; the exit code."""
    if redis and keep:
        raise WrongArgument("--keep is for the private server; what --redis names is left as it is anyway")
    try:
        source = Source.parse(venue) if venue else None
    except ValueError as error:
        raise WrongArgument(f"--venue {error}") from error
    configure_logging("critical", "console")
    server = None
    finished = False
    spools = TemporaryDirectory(prefix="fleet-replay-")
    try:
        with err.status("Looking through the recordings") if err.is_terminal else contextlib.nullcontext():
            paths = [_local(name, Path(spools.name)) for name in files]
            plan = ReplayPlan([Recording(path, market, source) for path in paths])
        server = None if redis else PrivateServer(keep=keep)
        if server is not None:
            server.start()
        url = redis or (server.url if server else "")
        home = str(server.folder) if server else ""
        found = uvloop.run(_replay(plan, Options(url, home, speed, add)))
        finished = True
    except RecordingError as error:
        note(str(error))
        return EXIT_SETTINGS
    except (Interrupted, KeyboardInterrupt):
        note("Stopped before the end of the recording.")
        return EXIT_INTERRUPTED
    except (RedisError, OSError) as error:
        raise CommandError(
            f"Redis at {mask(redis) or 'its socket'} does not do its part: {sentence(error)}."
        ) from error
    finally:
        spools.cleanup()
        if server is not None and not (keep and finished):
            with ignoring(STOP_SIGNALS):
                server.stop()
    if server is not None and keep:
        found["redis"] = server.url
        note(f"The server runs on: redis-cli -s {server.socket}")
        # In this order: a server that is told to end writes to its log, which would come back into the folder.
        note(f"To stop it: rm -r {server.folder}; kill {server.pid}")
    if as_json:
        out.write_json(found)
    else:
        out.print(tables(found))
    return EXIT_DISAGREEMENT if found["problems"] else EXIT_FINE


def _local(name: str, folder: Path) -> Path:
    """The file of a name; of a machine's URL what it replays, in a folder that holds nothing else of this name."""
    if not is_replay(name):
        return Path(name)
    place = Path(mkdtemp(dir=folder))
    return asyncio.run(spool(name, place, os.environ.get(KEY_VARIABLE, ""), note))


async def _replay(plan: ReplayPlan, options: Options) -> dict[str, Any]:
    stop = stop_on_signals()
    showing: list[asyncio.Task[None]] = []
    try:
        return await replay(
            plan,
            options,
            stop,
            lambda feeder: showing.append(
                asyncio.create_task(_show(feeder, plan.messages), name="replay: progress")
            ),
        )
    finally:
        for task in showing:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _show(feeder: Feeder, total: int) -> None:
    """A bar on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            note(f"fleet: {feeder.count:,} of {total:,} messages replayed")
    columns = (
        TextColumn("replaying"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,} messages"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as progress:
        task = progress.add_task("", total=total)
        while True:
            progress.update(task, completed=feeder.count)
            await asyncio.sleep(0.2)
