"""A whole fleet for the suite: a real server, the simulated exchange, every worker, and eyes on all of it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.conformance.fleet import settings as fleet_settings
from workers.conformance.fleet.control import ExchangeControl
from workers.conformance.fleet.observer import Observer
from workers.conformance.fleet.processes import Processes, Program, plain_environment
from workers.conformance.fleet.quota import Quota
from workers.errors import CommandError
from workers.operations.foreground import free_ports
from workers.operations.redis_program import server_command
from workers.operations.run_directory import make_run_directory
from workers.settings.loading import load
from workers.settings.paths import socket_path
from workers.store.connection import connect
from workers.store.server import find_server
from workers.verification.stored import Book, FleetReader

ROLES: Final = (("keeper", 0), ("books", 0), ("books", 1), ("trades", 0), ("trades", 1), ("api", 0))
LINES: Final = ("ingest-a", "ingest-b")
WORKERS: Final = ("keeper", "books", "trades", "api", "ingest", "archive")
"""How the names of the workers' programs begin."""
START_S: Final = 400.0
RECONNECT_S: Final = 90.0


class FleetWorld:
    """One running fleet and everything a scenario may do to it.

    Args:
        home: an empty run directory.
        names: every book it follows, as `venue:SYMBOL`.
        unlisted: those of them the exchange does not list at first.
        faults: what is wrong from the start.
        cpu_share: of a core, to which every worker is held once all books are shown.
        patient: whether its lines bear silent sockets for long, because no scenario on it silences whole ones.
    """

    def __init__(
        self,
        home: Path,
        names: Sequence[str],
        unlisted: Sequence[str],
        faults: Sequence[str],
        cpu_share: float = 1.0,
        *,
        patient: bool = False,
    ) -> None:
        self.home = home
        symbols = fleet_settings.symbols_of(names)
        ports = dict(zip(("exchange", "brief", "api"), free_ports(3), strict=True))
        make_run_directory(home)
        (home / "redis").mkdir(exist_ok=True)
        file = home / "fleet.toml"
        url = f"unix://{socket_path(home, 'redis.sock')}"
        text = fleet_settings.fleet_file(home, symbols, ports, url, patient=patient)
        file.write_text(text, encoding="utf-8")
        self.environment = plain_environment(FLEET_CONFIG=str(file))
        self.settings = load(None, self.environment).settings
        self.processes = Processes(home, self.environment)
        self.client: Redis = connect(url)
        self.control = ExchangeControl(f"http://127.0.0.1:{ports['exchange']}")
        self.brief = ExchangeControl(f"http://127.0.0.1:{ports['brief']}")
        self.reader = FleetReader(self.client, self.settings)
        self._by_name = {f"{book.context.name}:{book.symbol}": book for book in self.reader.books}
        self.observer = Observer(self.client, self.reader.books, self.source_of)
        self.probes: dict[Book, int] = {}
        self._unlisted = {self._by_name[name] for name in unlisted}
        listed = fleet_settings.symbols_of(name for name in names if name not in unlisted)
        self._add_programs(symbols, listed, ports, faults)
        self.quota = Quota(self.processes.named(*WORKERS), cpu_share)
        self._roots: set[tuple[str, ...]] = set()

    def _add_programs(
        self,
        symbols: Mapping[str, Sequence[str]],
        listed: Mapping[str, Sequence[str]],
        ports: Mapping[str, int],
        faults: Sequence[str],
    ) -> None:
        binary = find_server(self.environment.get("PATH", ""))
        self.processes.add("redis", server_command(binary, self.settings))
        everything = {venue: names for venue, names in listed.items() if venue != "brief"}
        self.processes.add_exchange(
            "exchange",
            fleet_settings.simulator(ports["exchange"], everything, faults),
        )
        brief = {"brief": symbols.get("brief", ())}
        self.processes.add_exchange(
            "exchange-brief", fleet_settings.simulator(ports["brief"], brief, [fleet_settings.SHORT_DAY])
        )
        for role, number in ROLES:
            self.processes.add_role(role, number)
        for line in LINES:
            self.processes.add_role(line)
        self.processes.add_role("archive")  # started by the scenario that kills it

    def source_of(self, book: Book) -> ExchangeControl:
        """The exchange a book is of."""
        return self.brief if book.context.name == "brief" else self.control

    def book(self, name: str) -> Book:
        """The book written `venue:SYMBOL`."""
        return self._by_name[name]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything, wait until every book is shown, and end everything on the way out.

        Raises:
            CommandError: something did not start.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.client.aclose)
            await stack.enter_async_context(self.control)
            await stack.enter_async_context(self.brief)
            await stack.enter_async_context(self.processes.watched())
            await self._start()
            watching = asyncio.create_task(self.observer.run(), name="conformance: observer")
            stack.callback(watching.cancel)
            await self._until_ready()
            stack.enter_context(self.quota)
            yield

    async def _start(self) -> None:
        for name in ("redis", "exchange"):
            self.processes[name].start()
        await self._until("the exchange answers", self.control.ready)
        for book in self.reader.books:
            if book.context.name != "brief":
                self.probes[book] = await self.control.set_fault(
                    f"rest_slow value=0 market={book.context.settings.market} symbol={book.symbol} path=*/depth"
                )
        await self._until("Redis answers", self.redis_answers)
        for program in self.processes.named("keeper", "books", "trades", "api", "ingest"):
            program.start()

    async def redis_answers(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False

    async def api_answers(self) -> bool:
        """Whether the API answers a request."""
        api = self.settings.api
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{api.host}:{api.port}/livez") as reply,
            ):
                return reply.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    def expected_books(self) -> list[Book]:
        """The books that can be in sync now."""
        return [
            book for book in self.reader.books if book.context.name != "brief" and book not in self._unlisted
        ]

    async def _until_ready(self) -> None:
        def shown() -> bool:
            sights = self.observer.sights
            return all(
                sights[book].shown and sights[book].status.get("state") == "synced"
                for book in self.expected_books()
            )

        await self._until("every book is shown", shown)
        self._roots = _delivering(await self.control.connections())

    async def _until(self, what: str, condition: Any) -> None:
        deadline = time.monotonic() + START_S
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            if time.monotonic() > deadline:
                missing = [
                    book.name for book in self.expected_books() if not self.observer.sights[book].shown
                ]
                raise CommandError(
                    f"The fleet did not start: {what} did not come true in {START_S:g} s "
                    f"(not shown: {', '.join(missing[:5])}); see {self.home / 'log'}."
                )
            await asyncio.sleep(0.05)

    async def reconnected(self) -> bool:
        """Wait until each line has sockets that deliver where it had at the start; False when not in time."""
        deadline = time.monotonic() + RECONNECT_S
        while time.monotonic() < deadline:
            try:
                rows = await self.control.connections()
            except CommandError:
                rows = []
            if self._roots <= _delivering(rows):
                return True
            await asyncio.sleep(0.1)
        return False

    async def requests(self, book: Book) -> int:
        """How often the exchange was asked for a snapshot of a book."""
        if book not in self.probes:
            return 0
        return int((await self.control.faults())[self.probes[book]]["hits"])

    async def restart(self, program: Program, environment: dict[str, str]) -> None:
        """Let a program end in good order and start it in another environment."""
        program.held = True
        program.signal(signal.SIGTERM)
        if not await program.ended():
            raise CommandError(f"{program.name} did not end.")
        program.environment = environment
        program.start()

    async def lose_data(self) -> None:
        """End the server, remove what it had stored, and start it."""
        server = self.processes["redis"]
        server.held = True
        server.signal(signal.SIGKILL)
        await server.ended()
        shutil.rmtree(self.home / "redis")
        (self.home / "redis").mkdir()
        server.start()


def _delivering(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, ...]]:
    """Which lines have sockets on which roots; their number says little, as one in rotation has a successor."""
    return {(row["agent"], row["market"], row["path"]) for row in rows if row["delivering"]}
