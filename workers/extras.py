"""The packages that only some of the program needs, and how to install them where this Python looks for them."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires
from shlex import join
from typing import Final

DISTRIBUTION: Final = "marketfleet"


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra beside the running Python.

    It names them one by one, as the metadata of the installed distribution does: the distribution itself need not
    be where pip would look for it.
    """
    try:
        declared = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        declared = []
    packages = [
        requirement.strip()
        for requirement, _, marker in (text.partition(";") for text in declared)
        if marker.replace("'", '"').strip() == f'extra == "{extra}"'
    ]
    return join([sys.executable, "-m", "pip", "install", *(packages or [f"{DISTRIBUTION}[{extra}]"])])
