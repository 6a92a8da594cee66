"""Whether a run directory's server data came from the simulated exchange; the two kinds are never mixed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from workers.errors import CommandError
from workers.operations.run_directory import make_private, usable

MARKER: Final = "simulated"


def mark_or_refuse(home: Path, *, simulated: bool) -> None:
    """Make the server's data folder, or check that what it holds is of the wanted kind.

    Raises:
        CommandError: it holds data of the other kind, or the run directory cannot be used.
    """
    folder = home / "redis"
    marker = folder / MARKER
    with usable(home):
        make_private(home, "redis")
        used = any(folder.iterdir())
        was_simulated = marker.exists()
    if used and was_simulated != simulated:
        kind, wanted = ("simulated", "real") if was_simulated else ("real", "simulated")
        raise CommandError(
            f"{folder} holds {kind} market data and must not be mixed with {wanted} data: "
            "set FLEET_HOME to another folder."
        )
    if simulated and not used:
        with usable(home):
            marker.touch()


def discard_simulated(home: Path) -> None:
    """Remove the data of an earlier run on the simulated exchange; other data is left alone.

    Raises:
        CommandError: the run directory cannot be used.
    """
    folder = home / "redis"
    with usable(home):
        if (folder / MARKER).exists():
            shutil.rmtree(folder)
