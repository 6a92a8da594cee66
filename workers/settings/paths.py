"""Where things lie: the Lua scripts and shipped configuration, the run directory, the unix sockets."""

from __future__ import annotations

import os
import tempfile
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Final

from workers.errors import SettingsError

LONGEST_SOCKET_PATH: Final = 90
"""Bytes of those of a fleet: supervisord first binds a name a little longer than the final one."""

LONGEST_SOCKET: Final = "run/supervisor.sock"
"""The socket with the longest name, in a run directory."""


def data_folder() -> Path:
    """The folder that holds `lua/`, `config/` and `supervisord.conf`: the checkout, or inside the package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    if (checkout / "lua").is_dir() and (checkout / "supervisord.conf").is_file():
        return checkout
    return package / "_data"


def is_checkout() -> bool:
    """Whether this code runs from a checkout rather than from an installed wheel."""
    return data_folder().name != "_data"


def find_file(name: str) -> Path:
    """A settings file by name: as it stands, else among those that come with the package.

    Raises:
        SettingsError: there is no such file.
    """
    shipped = data_folder()
    try:
        for candidate in (Path(name).expanduser(), shipped / "config" / name, shipped / name):
            if candidate.is_file():
                return candidate.absolute()
    except (OSError, RuntimeError) as error:  # a closed folder; `~` of nobody there is
        raise SettingsError(name, f"the file cannot be read: {error}") from error
    known = sorted(path.name for path in (shipped / "config").glob("*.toml"))
    near = get_close_matches(Path(name).name, known, 1)
    problem = f"there is no such settings file (shipped are {', '.join(known)})"
    raise SettingsError(name, problem, near[0] if near else "")


def absolute_home(home: str, place: str) -> Path:
    """The run directory as an absolute path.

    A relative one that was typed (an environment variable) is relative to the current folder. One of a
    settings file belongs to the checkout when there is one, so that every folder one stands in gives the
    same fleet.

    Args:
        place: where it was written.

    Raises:
        SettingsError: it can be none.
    """
    try:
        found = Path(home).expanduser()
        if not found.is_absolute():  # else the current folder may as well be gone
            typed = place.startswith("environment")
            found = (data_folder() if is_checkout() and not typed else Path.cwd()) / found
        found = found.resolve()
        str(found).encode()  # what is written into files and URLs is UTF-8
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(f"{place}, fleet.home", f"{home!r} cannot be a folder: {error}") from error
    return found


def socket_path(home: Path, name: str) -> Path:
    """The path of a unix socket of the fleet that runs in `home`.

    It is `<home>/run/<name>`. Where that of the longest name is too long for the system, all are in a folder in /tmp
    named by the hash of the home: every process finds the same one without being told.
    """
    if len(str(home / LONGEST_SOCKET).encode()) <= LONGEST_SOCKET_PATH:
        return home / "run" / name
    digest = sha256(str(home).encode()).hexdigest()[:16]
    return Path("/tmp") / f"fleet-{digest}" / name  # noqa: S108 -- made with mode 0700, and its owner is checked


def temporary_place(below: str) -> str | None:
    """The folder in which one for the time being is made: the usual one, else `/tmp` where the path of a socket
    `below` the one that is made would be too long for the system."""
    path = os.path.join(tempfile.gettempdir(), "fleet-conform-12345678", below)
    return None if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH else "/tmp"  # noqa: S108 -- made with mode 0700
