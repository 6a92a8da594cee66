"""What the model level asks of a book, so that anybody's book can be run against the same scenarios."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from workers.errors import WrongArgument

Levels = Sequence[tuple[str, str]]
Sides = tuple[Levels, Levels]
"""Bids and asks as (price, quantity) texts, each best first."""


class BookAdapter(Protocol):
    """One symbol's book as its library would keep it.

    It gets what the exchange sends, as bytes, in the order in which it arrives, and is asked after each message
    what it would show. Nothing it does may take time of its own: `wait` says how time passes.
    """

    def __init__(self, symbol: str, rule: str, limit: int) -> None:
        """Begin without a book; `rule` is `spot` or `futures`, `limit` the levels a side of every snapshot."""

    def on_event(self, wire_json: bytes) -> None:
        """Take a `depthUpdate`, as `data` of a combined stream has it."""

    def on_snapshot(self, wire_json: bytes) -> None:
        """Take the reply to `GET depth`."""

    def wants_snapshot(self) -> bool:
        """Whether it would ask for a snapshot now."""

    def in_sync(self) -> bool:
        """Whether it would show its book to anybody now."""

    def last_update_id(self) -> int:
        """The update id its book stands at; asked only while it is in sync."""

    def top(self, count: int) -> Sides:
        """The best `count` levels of each side; fewer only where it does not know more."""

    def levels(self) -> Sides:
        """Every level it would show."""

    def known_range(self) -> tuple[str, str] | None:
        """The lowest and the highest price it vouches for (`0`, `inf`: to the end); None: it does not say."""

    def begin_check(self) -> None:
        """A snapshot nobody asked for will follow, to compare the book with. A book without audits ignores it."""

    def wait(self, milliseconds: int) -> None:
        """Let time pass in which no message comes."""


AdapterClass = type[BookAdapter]


def load_adapter(name: str) -> AdapterClass:
    """The adapter class named `module:Class`; modules of the current folder are found too.

    Raises:
        WrongArgument: there is none.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise WrongArgument(f"{name!r} names no adapter; write module:Class")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise WrongArgument(f"The adapter {name} cannot be loaded: {error}") from error
    missing = [
        method
        for method in vars(BookAdapter)
        if not method.startswith("_") and not callable(getattr(found, method, None))
    ]
    if missing:
        raise WrongArgument(f"The adapter {name} lacks {', '.join(missing)}")
    return cast("AdapterClass", found)
