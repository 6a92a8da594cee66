"""The run directory `<home>`: `run/` with sockets and pids, `log/`, and `redis/` with the server's data."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from workers.errors import CommandError
from workers.settings.paths import socket_path

PRIVATE: Final = 0o700
FOLDERS: Final = ("run", "log", "redis")


@contextmanager
def usable(home: Path) -> Iterator[None]:
    """Say of what the system refuses in a run directory what to do about it.

    Raises:
        CommandError: the system refused something.
    """
    try:
        yield
    except OSError as error:
        what = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise CommandError(
            f"The run directory {home} cannot be used: {what}. Set FLEET_HOME to a folder of your own."
        ) from error


def make_socket_folder(home: Path) -> None:
    """Make the folder of the unix sockets, for this user alone.

    Raises:
        CommandError: the folder belongs to somebody else, or cannot be made.
    """
    folder = socket_path(home, "redis.sock").parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.stat(folder, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise CommandError(f"{folder} belongs to another user; set FLEET_HOME to a folder of your own.")
        if folder != home / "run" and stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise CommandError(f"The folder {folder} cannot be made: {error}.") from error


def make_run_directory(home: Path) -> None:
    """Make the run directory and what every program expects in it, for this user alone.

    Raises:
        CommandError: it cannot be made.
    """
    with usable(home):
        make_private(home, "run", "log")
    make_socket_folder(home)


def make_private(home: Path, *names: str) -> None:
    """Make the run directory and folders in it that nobody else may read: they hold logs and data.

    Raises:
        OSError: one cannot be made.
    """
    is_ours = not home.exists() or any((home / name).is_dir() for name in FOLDERS)
    home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    for name in names:
        (home / name).mkdir(mode=PRIVATE, exist_ok=True)
    for name in FOLDERS:
        if (home / name).is_dir():
            _keep_private(home / name)
    if is_ours and home != _home_of_this_user():  # else it was made for something else too
        _keep_private(home)


def _home_of_this_user() -> Path | None:
    """None where the system knows of none: of a user id without a name, as containers have them."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def closed_by(home: Path) -> str:
    """The user whose run directory this one may not enter; empty where he may, or where there is none."""
    if not os.path.exists(home) or os.access(home, os.R_OK | os.X_OK):
        return ""
    try:
        return home.owner()
    except KeyError:
        return f"user {home.stat().st_uid}"


def _keep_private(folder: Path) -> None:
    """Let nobody else into a folder of ours; one of another user, such as a mounted one, stays as it is."""
    found = folder.stat()
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(PRIVATE)
