"""One fleet on all other exchanges at once: each has its trouble, then workers are killed, and all is compared."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.conformance.fleet.control import ExchangeControl
from workers.conformance.fleet.processes import Processes, plain_environment
from workers.conformance.fleet.settings import PATIENT, SECTIONS, SIMULATOR
from workers.conformance.result import Result
from workers.conformance.venues.needs import in_band, numbers_books, sees_losses, sends_checksums
from workers.conformance.venues.places import Place
from workers.conformance.venues.world import VenueWorld
from workers.errors import CommandError
from workers.operations.foreground import free_ports
from workers.operations.redis_program import server_command
from workers.operations.run_directory import make_run_directory
from workers.runtime.tasks import end
from workers.settings.loading import load
from workers.settings.paths import socket_path
from workers.store.connection import connect
from workers.store.server import find_server
from workers.verification.fleet import Verification
from workers.verification.stored import Book, FleetReader

START_S: Final = 300.0
WAIT_S: Final = 120.0
POLL_S: Final = 0.1
AFTER_S: Final = 2.0
ROLES: Final = (("keeper", 0), ("books", 0), ("books", 1), ("trades", 0), ("trades", 1))
LINES: Final = ("ingest-a", "ingest-b")
KILLED: Final = ("ingest-a", "books-0", "trades-0", "ingest-b")
"""One after the other, each when every book has gone on; the line that writes a book that nothing numbers is one."""
RATE: Final = 0.25
"""Of what the captured markets did: what is asked of this fleet is to come back, not to bear load."""
SILENT_MS: Final = 2_000
"""How long a writer may be silent before the other line goes on."""


class VenuesFleet:
    """A server, an exchange process for each exchange, both lines, and two workers of each kind.

    Args:
        home: an empty run directory.
        markets: those it follows.
    """

    def __init__(self, home: Path, markets: Sequence[Place]) -> None:
        make_run_directory(home)
        (home / "redis").mkdir(exist_ok=True)
        self.places = {place.name: place for place in markets}
        exchanges = list(dict.fromkeys(place.exchange for place in markets))
        ports = dict(zip(exchanges, free_ports(len(exchanges)), strict=True))
        url = f"unix://{socket_path(home, 'redis.sock')}"
        file = home / "fleet.toml"
        file.write_text(fleet_file(home, markets, ports, url), encoding="utf-8")
        environment = plain_environment(FLEET_CONFIG=str(file))
        self.settings = load(None, environment).settings
        self.processes = Processes(home, environment)
        self.processes.add("redis", server_command(find_server(environment.get("PATH", "")), self.settings))
        for name in exchanges:
            self.processes.add_exchange(f"exchange-{name}", _simulator(name, ports[name], markets))
        for role, number in ROLES:
            self.processes.add_role(role, number)
        for line in LINES:
            self.processes.add_role(line)
        self.client: Redis = connect(url)
        self.controls = {name: ExchangeControl(f"http://127.0.0.1:{port}") for name, port in ports.items()}
        self.reader = FleetReader(self.client, self.settings)
        first = next(iter(self.controls.values()))
        self.verification = Verification(self.reader, first, self.controls)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything, wait until every book is shown, and end everything on the way out.

        Raises:
            CommandError: it did not start.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.client.aclose)
            for control in self.controls.values():
                await stack.enter_async_context(control)
            await stack.enter_async_context(self.processes.watched())
            for program in self.processes.named("redis", "exchange"):
                program.start()
            await self._answering()
            for program in self.processes.named("keeper", "books", "trades", "ingest"):
                program.start()
            if not await self.verification.wait_until_synced(START_S, asyncio.Event()):
                told = " ".join(self.verification.findings.sentences()[:3])
                raise CommandError(f"The fleet of all venues did not start: {told}")
            yield

    async def _answering(self) -> None:
        deadline = time.monotonic() + START_S
        for control in self.controls.values():
            while not await control.ready():
                if time.monotonic() > deadline:
                    raise CommandError(f"The exchange at {control.url} did not start.")
                await asyncio.sleep(POLL_S)
        while True:
            with contextlib.suppress(RedisError, OSError):
                if await self.client.ping():
                    return
            if time.monotonic() > deadline:
                raise CommandError("Redis did not start.")
            await asyncio.sleep(POLL_S)

    def control_of(self, place: Place) -> ExchangeControl:
        """Where the faults of a market are switched."""
        return self.controls[place.exchange]

    async def syncs(self, book: Book) -> int:
        """How often a book came into sync."""
        return int((await self.reader.status(book)).get("sync_count") or 0)

    async def shown_ids(self) -> dict[Book, int]:
        """The update ids of the books that are shown."""
        ids = {}
        with contextlib.suppress(RedisError, OSError):
            for context in self.reader.contexts:
                shown = await self.reader.shown(context)
                for book in self.reader.books:
                    if book.context is context and book.symbol in shown:
                        ids[book] = int(shown[book.symbol]["u"])
        return ids


def _simulator(exchange: str, port: int, markets: Sequence[Place]) -> str:
    symbols = {place.market: place.symbols for place in markets if place.exchange == exchange}
    given = {name: value for name, value in SIMULATOR.items() if not name.startswith(("spot_", "usdm_"))}
    return json.dumps({**given, "rate_scale": RATE, "flavour": exchange, "port": port, "symbols": symbols})


def fleet_file(home: Path, markets: Sequence[Place], ports: Mapping[str, int], redis_url: str) -> str:
    """The settings file of such a fleet."""
    tables: dict[str, dict[str, Any]] = {
        name: {**keys, **PATIENT.get(name, {})} for name, keys in SECTIONS.items()
    }
    tables["fleet"]["home"] = str(home)
    tables["ingest"]["writer_silent_ms"] = SILENT_MS
    tables["redis"] = {"url": redis_url, "port": 0}
    for place in markets:
        port = ports[place.exchange]
        tables[f"venues.{place.name}"] = {
            "exchange": place.exchange,
            "market": place.market,
            "symbols": list(place.symbols),
            "websocket_url": f"ws://127.0.0.1:{port}{place.path}",
            "rest_url": f"http://127.0.0.1:{port}",
        }
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        for name, keys in tables.items()
    )


class Trouble:
    """What happens to the first book of one market, by what its venue knows."""

    def __init__(self, fleet: VenuesFleet, place: Place, problems: list[str]) -> None:
        self._fleet, self._place, self._problems = fleet, place, problems
        self._control = fleet.control_of(place)
        self._book = next(book for book in fleet.reader.books if book.context.name == place.name)
        self._stream = _depth_stream(place)
        self.struck: dict[str, int] = {}
        """By the kind of a fault how often it struck."""

    async def run(self) -> None:
        """One fault after the other, each until the book is back."""
        facts = self._place.facts()
        await self._over("unknown_deletes", "unknown_keys")
        if sees_losses(facts):
            await self._lost("lose count=1")
            await self._lost("truncate count=1")
        if sends_checksums(facts):
            await self._lost("checksum", of_stream=False)
        if numbers_books(facts):
            await self._over("book_ids value=5", of_stream=False)
        if in_band(facts):
            await self._over("silent_stream count=1", "snapshot_first count=1 agent=*line-b*", cut="*line-a*")
        await self._over("refuse_stream count=1 agent=*line-b*", cut="*line-b*")

    async def _fault(self, text: str, *, of_stream: bool = True) -> int:
        scope = f" market={self._place.market} symbol={self._book.symbol}"
        stream = f" stream={self._stream}" if of_stream and self._stream else ""
        self.struck.setdefault(text.partition(" ")[0], 0)
        return await self._control.set_fault(text + scope + stream)

    async def _take_back(self, number: int) -> None:
        row = (await self._control.faults()).get(number)
        if row is not None and row["fault"]["kind"] in self.struck:
            self.struck[row["fault"]["kind"]] += int(row["hits"])
        await self._control.remove_fault(number)

    async def _lost(self, text: str, *, of_stream: bool = True) -> None:
        """A fault by which the book is lost: it must be in sync anew."""
        before = await self._fleet.syncs(self._book)
        number = await self._fault(text, of_stream=of_stream)

        async def anew() -> bool:
            return await self._fleet.syncs(self._book) > before

        await self._until(f"{text.partition(' ')[0]} was seen, and the book in sync anew", anew)
        await self._take_back(number)
        await self._until("the book is shown", self._shown)

    async def _over(self, *texts: str, of_stream: bool = True, cut: str = "") -> None:
        """Faults of a while, which the book bears or comes back from; `cut`: the sockets of a line are reset."""
        numbers = [await self._fault(text, of_stream=of_stream) for text in texts]
        if cut:
            numbers.append(await self._control.set_fault(f"reset market={self._place.market} agent={cut}"))
        await asyncio.sleep(AFTER_S)
        await self._until("the book is shown", self._shown)
        for number in numbers:
            await self._take_back(number)

    async def _shown(self) -> bool:
        shown = await self._fleet.reader.shown(self._book.context)
        return self._book.symbol in shown

    async def _until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        if not await came_true(condition):
            self._problems.append(
                f"{self._place.name}: in {WAIT_S:g} s it did not come true that {what} ({', '.join(self.struck)})."
            )


async def came_true(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until something is so; False when it does not come."""
    deadline = time.monotonic() + WAIT_S
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _depth_stream(place: Place) -> str:
    """What the exchange calls the stream of the first book; empty where it is not told without REST."""
    if not in_band(place.facts()):
        return ""
    world = VenueWorld(place)
    world.until("a book is heard", lambda: bool(world.depth_streams.get(world.symbol)))
    return world.depth_streams.get(world.symbol, "")


async def run_every_venue(result: Result, markets: Sequence[Place], home: Path) -> Result:
    """Run it: start the fleet, let everything happen, compare.

    Raises:
        CommandError: the fleet did not start.
    """
    began = time.monotonic()
    fleet = VenuesFleet(home, markets)
    result.venues = list(fleet.places)
    async with fleet.running():
        stop = asyncio.Event()
        sampling = asyncio.create_task(fleet.verification.run(None, stop), name="conformance: samples")
        try:
            troubles = [Trouble(fleet, place, result.problems) for place in markets]
            await asyncio.gather(*(trouble.run() for trouble in troubles))
            await _kill(fleet, result.problems)
        finally:
            stop.set()
            await end([sampling])
        await fleet.verification.finish()
        found = fleet.verification.findings
        result.problems += found.sentences()
        result.facts = {
            place.name: trouble.struck for place, trouble in zip(markets, troubles, strict=True)
        } | {"book_samples": found.book_samples, "trades": found.trades_seen, "bars": found.bars_equal}
    result.seconds = time.monotonic() - began
    return result


async def _kill(fleet: VenuesFleet, problems: list[str]) -> None:
    for name in KILLED:
        program = fleet.processes[name]
        starts = program.starts
        program.signal(signal.SIGKILL)

        await asyncio.sleep(AFTER_S)
        stood = await fleet.shown_ids()

        async def back(starts: int = starts, name: str = name, stood: dict[Book, int] = stood) -> bool:
            again, now = fleet.processes[name], await fleet.shown_ids()
            gone_on = all(now.get(book, -1) > stood.get(book, -1) for book in fleet.reader.books)
            return again.starts > starts and again.running and gone_on

        if not await came_true(back):
            problems.append(f"In {WAIT_S:g} s not every book went on after {name} was killed.")
