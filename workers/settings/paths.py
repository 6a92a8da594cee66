"""Where things lie: the Lua scripts and shipped configuration, the run directory, the unix sockets."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

SYSTEM_SOCKET_PATH: Final = 107
"""Bytes the path of a unix socket may have."""
LONGEST_SOCKET_PATH: Final = 90
"""Bytes of those of a fleet: supervisord first binds a name a little longer than the final one."""


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


def absolute_home(home: str, *, typed: bool) -> Path:
    """The run directory as an absolute path.

    A relative one that was typed (an environment variable) is relative to the current folder. One of a
    settings file belongs to the checkout when there is one, so that every folder one stands in gives the
    same fleet.
    """
    base = data_folder() if is_checkout() and not typed else Path.cwd()
    return (base / Path(home).expanduser()).resolve()


def socket_path(home: Path, name: str) -> Path:
    """The path of a unix socket of the fleet that runs in `home`.

    It is `<home>/run/<name>`. Where that is too long for the system, it is in a folder in /tmp named by the
    hash of the home: every process finds the same one without being told.
    """
    plain = home / "run" / name
    if len(str(plain).encode()) <= LONGEST_SOCKET_PATH:
        return plain
    digest = sha256(str(home).encode()).hexdigest()[:16]
    return Path("/tmp") / f"fleet-{digest}" / name  # noqa: S108 -- made with mode 0700, and its owner is checked
