"""How many processes of each role supervisord runs."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from workers.model.symbols.shares import MOST_PROCESSES

AUTO: Final = "auto"
Processes = Annotated[int, Meta(ge=0, le=MOST_PROCESSES)] | Literal["auto"]


class ProcessSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How many processes of a role run. `auto`: by the machine's cores and the symbols of the settings; 0: as many as
    `numprocs` of supervisord.conf says (1, 2 and 2)."""

    ingest: Processes = AUTO
    """Of each line: they share its symbols, each by sockets of its own. Takes effect when the fleet is started."""
    books: Processes = AUTO
    """The same for `books`, which share out the books by leases."""
    trades: Processes = AUTO
    """And for `trades`."""
    balance_s: Annotated[float, Meta(ge=0)] = 30
    """How often the messages of each symbol are counted, and symbols given from a worker of `books` or `trades` that
    has much more of them to one that has fewer; 0: each has as many symbols, whatever they cost."""
