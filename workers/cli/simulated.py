"""Whether a run directory's server data came from the simulated exchange; the two kinds are never mixed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from workers.errors import CommandError

MARKER: Final = "simulated"


def mark_or_refuse(home: Path, *, simulated: bool) -> None:
    """Make the server's data folder, or check that what it holds is of the wanted kind.

    Raises:
        CommandError: it holds data of the other kind.
    """
    folder = home / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    used = any(folder.iterdir())
    if used and marker.exists() != simulated:
        kind, wanted = ("simulated", "real") if marker.exists() else ("real", "simulated")
        raise CommandError(
            f"{folder} holds {kind} market data and must not be mixed with {wanted} data: "
            "set FLEET_HOME to another folder."
        )
    if simulated and not used:
        marker.touch()


def discard_simulated(home: Path) -> None:
    """Remove the data of an earlier run on the simulated exchange; other data is left alone."""
    folder = home / "redis"
    if (folder / MARKER).exists():
        shutil.rmtree(folder)
