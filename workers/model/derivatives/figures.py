"""What is said of a derivative besides its book and its trades: figures, each with its time, and liquidations.

A figure is replaced by one that is as new or newer, whichever message or line brings it. So messages may repeat, come
late, or say only what changed: in any order they leave the same, as long as no two of one figure have the same time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

FIGURES: Final = ("mark_price", "index_price", "funding_rate", "next_funding_time", "open_interest")
"""`funding_rate` is that of the next funding, at `next_funding_time` (ms); `open_interest` is in its own unit."""
NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
"""What a figure may be: the exchange's own text."""
LATEST_MS: Final = 10**14
"""Times from here on are not believed."""


class Figure(NamedTuple):
    """A value, and when the exchange said it."""

    value: str
    """The exchange's own text; of `next_funding_time` ms since 1970."""
    time_ms: int


Figures = Mapping[str, Figure]
"""By its name; what is not known is absent."""


class Liquidation(NamedTuple):
    """A position was closed by force, or is being so."""

    side: Literal["buy", "sell"]
    """Of the order that closes it: `sell` closes a long position."""
    price: str
    """Of the order; the bankruptcy price where the exchange tells that one."""
    quantity: str
    time_ms: int
    """The exchange's, of the order."""
    event_time_ms: int
    """Of the message."""
    average_price: str = ""
    """At which it was filled, where that is told."""
    name: str = ""
    """The exchange's id, where it has one."""


class DerivativesUpdate(NamedTuple):
    """What a message says of a contract."""

    figures: Figures = MappingProxyType({})
    liquidations: tuple[Liquidation, ...] = ()


def merged(known: Figures, newer: Figures) -> dict[str, Figure]:
    """What is known after a message. O(figures)."""
    now = dict(known)
    for name, figure in newer.items():
        before = now.get(name)
        if before is None or figure.time_ms >= before.time_ms:
            now[name] = figure
    return now


def figures_of(time_ms: int, values: Iterable[tuple[str, str]]) -> dict[str, Figure]:
    """The figures of a message; what it leaves empty is absent.

    Raises:
        ValueError: one is no number.
    """
    found = {}
    for name, value in values:
        if value:
            if not NUMBER.fullmatch(value):
                raise ValueError(f"{name} is {value[:40]!r}, which is no number")
            found[name] = Figure(value, time_ms)
    return found


def figures_from(fields: Mapping[bytes, bytes]) -> dict[str, Figure]:
    """The figures of an entry of `derivatives:{S}`: each by its name, its time under `<name>_at`; what is none is left
    out."""
    found = {}
    for name in FIGURES:
        value, at = fields.get(name.encode()), fields.get(f"{name}_at".encode(), b"")
        if value is not None and at.isdigit() and len(at) <= len(str(LATEST_MS)):
            found[name] = Figure(value.decode(errors="replace"), int(at))
    return found
