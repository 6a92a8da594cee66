"""The settings of each exchange: found by its folder, so that a new one is a folder and nothing else.

The class is the only `VenueSettings` that `workers/venues/<exchange>/settings.py` defines.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import msgspec

from workers.settings.schema import VenueSettings
from workers.settings.signed import KEY_FIELDS

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


def description(settings: VenueSettings) -> dict[str, Any]:
    """What of a section says how its messages are read: no symbols or limits, and no key and no address: one may hold a
    secret."""
    general = {*VenueSettings.__struct_fields__, *KEY_FIELDS, *settings.socket_urls} - {
        "exchange",
        "market",
        "trades",
    }
    found: dict[str, Any] = msgspec.to_builtins(settings)
    return {name: value for name, value in found.items() if name not in general}


def described(description: Mapping[str, Any]) -> VenueSettings:
    """Settings that read the same. Raises: ValueError, where it describes no exchange there is."""
    exchange = description.get("exchange")
    if exchange not in exchanges():
        raise ValueError(f"there is no exchange {exchange!r}")
    return msgspec.convert({**description, "symbols": []}, settings_of(exchange))
