"""What is measured: processes that read the load generator and write into a Redis server of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from workers.bench.exchange import Sent
from workers.bench.latency import Percentiles
from workers.bench.reader import Reader
from workers.bench.tape import Row, SentTrade
from workers.conformance.fleet.processes import Processes, plain_environment
from workers.operations.redis_program import server_command
from workers.settings.schema import Settings
from workers.store.server import find_server


class Lag(NamedTuple):
    """How far behind a plant says that it is."""

    waiting: int
    """Entries of depth in the log, or before it in the lines' buffers, that no book has yet."""
    behind_ms: int
    """Of the book that is farthest behind, as its status tells."""
    dropped: int
    """Messages that the lines had to drop since they were started."""

    def worse(self, other: Lag) -> Lag:
        """The worse of two looks in each respect."""
        return Lag(*map(max, self, other))


class Plant(Protocol):
    """One plant under way."""

    name: str
    processes: Processes
    url: str
    """Of its server."""
    roles: Sequence[str]
    """The names of its processes, its server's among them."""
    lacks: Sequence[str]
    """What `lacking` looks at, in the order of the data's way."""

    def streams(self, symbol: str) -> list[str]:
        """The streams of a symbol that a reader follows to measure delays."""

    async def ready(self) -> bool:
        """Whether it has every book."""

    async def lag(self) -> Lag | None:
        """What it says of itself; None: it says nothing."""

    async def lacking(self, sent: Mapping[str, Sent]) -> dict[str, int]:
        """At each stage, of how many symbols it lacks the last message that was sent."""

    async def differences(self, sent: Mapping[str, Sent]) -> list[str]:
        """A sentence for each book, and for the trades of each symbol, that are not what was sent."""

    def delays(self, reader: Reader, sent: Mapping[str, Sent]) -> dict[str, Percentiles | None]:
        """By stage, from the sending of an event."""

    async def aclose(self) -> None:
        """Close its clients."""


def begin(home: Path, exchange: int, symbols: int, config: Path | None = None) -> Processes:
    """The processes of a plant, the load generator the first of them."""
    (home / "log").mkdir()
    (home / "redis").mkdir()
    changes: dict[str, str] = {} if config is None else {"FLEET_CONFIG": str(config)}
    processes = Processes(home, plain_environment(os.environ, **changes))
    generator = [sys.executable, "-P", "-m", f"{__package__}.generator", str(exchange), str(symbols)]
    processes.add("exchange", generator)
    return processes


def add_server(processes: Processes, settings: Settings) -> None:
    """A server as the fleet has, but without its file: every plant is measured on the same one."""
    command = server_command(find_server(os.environ.get("PATH", "")), settings)
    processes.add("redis", [*command, "--appendonly", "no"])


def compared_side(held: Sequence[tuple[float, float]], sent: Sequence[Row], least: int) -> bool:
    """Whether a side of a book, as deep as it is held, is what was sent."""
    expected = [(float(price), float(quantity)) for price, quantity in sent[: len(held)]]
    return len(held) >= min(least, len(sent)) and list(held) == expected


def compared_trades(name: str, held: Sequence[SentTrade], sent: Sent) -> list[str]:
    """Whether trades are all that were sent, each once and as sent; nothing is sent before all is subscribed."""
    expected = [sent.tape.trade(number) for number in range(len(sent.trade_ms))]
    wanted = [(one.trade_id, float(one.price), float(one.quantity), one.buyer_is_maker) for one in expected]
    found = [(one.trade_id, float(one.price), float(one.quantity), one.buyer_is_maker) for one in held]
    if found == wanted:
        return []
    return [f"{name}: its {len(found):,} trades are not the {len(wanted):,} that were sent"]
