"""The settings of each exchange: found by its folder, so that a new one is a folder and nothing else.

The class is the only `VenueSettings` that `workers/venues/<exchange>/settings.py` defines.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from workers.settings.schema import VenueSettings

_FOLDER: Final = "workers.venues"
DEFAULT: Final = "binance"
"""Of a section that names none."""


@cache
def exchanges() -> tuple[str, ...]:
    """The exchanges there are settings for, in alphabetical order."""
    package = import_module(_FOLDER)
    folders = sorted(name for _, name, is_folder in pkgutil.iter_modules(package.__path__) if is_folder)
    return tuple(name for name in folders if find_spec(f"{_FOLDER}.{name}.settings") is not None)


@cache
def settings_of(exchange: str) -> type[VenueSettings]:
    """The settings of a market of an exchange, which is one of `exchanges()`."""
    module = import_module(f"{_FOLDER}.{exchange}.settings")
    [found] = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, VenueSettings) and item.__module__ == module.__name__
    ]
    return found
