"""The processes of a suite's fleet: started, started again when they end, and ended with the suite."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from workers.errors import CommandError
from workers.operations.parent import end_with_parent

WATCH_S: Final = 0.05
PAUSE_S: Final = 0.3
"""Between the end of a process and its next start."""
STOP_S: Final = 15.0


class Program:
    """One program: how it is started, and the process that runs it now."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.environment = dict(environment)
        self.held = False
        """Whether it stays down when it ends."""
        self.starts = 0
        self._signalling = threading.Lock()
        """A quota sends its signals from a thread of its own."""
        self._stopped = False
        self._suspended = False
        self._command = list(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_at = 0.0

    @property
    def running(self) -> bool:
        """Whether its process lives (a stopped one does)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that runs it.

        Raises:
            CommandError: none does.
        """
        if self._process is None or not self.running:
            raise CommandError(f"{self.name} does not run; its log is {self._log}.")
        return self._process.pid

    def start(self) -> None:
        """Start it unless it runs."""
        if self.running:
            return
        self.held = False
        self.starts += 1
        with self._log.open("ab") as log, self._signalling:
            self._stopped = self._suspended = False
            self._process = subprocess.Popen(  # noqa: S603 -- our own programs
                self._command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,  # noqa: PLW1509 -- sets one flag of the new process, takes no lock
                process_group=0,  # Linux lets a stopped process of an orphaned group go on, and so end
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process, if there is one."""
        with self._signalling:
            if self._process is not None and self.running:
                if number in (signal.SIGSTOP, signal.SIGCONT):
                    self._stopped, self._suspended = number == signal.SIGSTOP, False
                self._process.send_signal(number)

    def suspend(self) -> None:
        """Let its process stand still until `resume`; one that stands still already is left alone."""
        with self._signalling:
            if self._process is not None and not self._stopped and not self._suspended:
                self._suspended = True
                self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let its process go on after `suspend`; one that was stopped by `signal` stays so."""
        with self._signalling:
            if self._process is not None and not self._stopped and self._suspended:
                self._suspended = False
                self._process.send_signal(signal.SIGCONT)

    def watch(self, now: float) -> None:
        """Start it again a little after it has ended (monotonic seconds)."""
        if self.held or self._process is None or self.running:
            self._ended_at = 0.0
        elif not self._ended_at:
            self._ended_at = now
        elif now - self._ended_at >= PAUSE_S:
            self._ended_at = 0.0
            self.start()

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Wait until its process has ended; False when it has not."""
        deadline = asyncio.get_running_loop().time() + (STOP_S if timeout_s is None else timeout_s)
        while self.running:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True


class Processes:
    """All programs of one suite, in the order of their start."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._logs = home / "log"
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._programs: dict[str, Program] = {}
        self._watching: asyncio.Task[None] | None = None

    def add(self, name: str, command: Sequence[str]) -> Program:
        """Register a program; it is started by `Program.start`."""
        program = Program(name, command, self._environment, self._logs / f"{name}.log")
        self._programs[name] = program
        return program

    def add_role(self, role: str, number: int = 0, of: int = 1) -> Program:
        """Register a worker as supervisord would run it, one `of` so many that share the symbols of a line."""
        name = role if of == 1 and role.startswith(("ingest", "keeper", "api")) else f"{role}-{number}"
        command = [sys.executable, "-P", "-m", "workers.cli", "run", role]
        command += ["--number", str(number), "--of", str(of)]
        return self.add(name, command)

    def add_exchange(self, name: str, settings: str) -> Program:
        """Register a simulated exchange."""
        return self.add(name, [sys.executable, "-P", "-m", f"{__package__}.exchange_process", settings])

    def __getitem__(self, name: str) -> Program:
        return self._programs[name]

    def named(self, *starts: str) -> list[Program]:
        """The programs whose names begin so."""
        return [program for name, program in self._programs.items() if name.startswith(starts)]

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Keep what runs running; end everything on the way out."""
        self._watching = asyncio.create_task(self._watch(), name="conformance: processes")
        try:
            yield
        finally:
            self._watching.cancel()
            await self._end()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for program in self._programs.values():
                program.watch(loop.time())
            await asyncio.sleep(WATCH_S)

    async def _end(self) -> None:
        """Workers first, then the rest; what does not end is killed."""
        last = [
            program for program in self._programs.values() if program.name.startswith(("redis", "exchange"))
        ]
        first = [program for program in self._programs.values() if program not in last]
        for programs in (first, last):
            for program in programs:
                program.held = True
                program.signal(signal.SIGCONT)
                program.signal(signal.SIGTERM)
            for program in programs:
                if not await program.ended():
                    program.signal(signal.SIGKILL)
                    await program.ended()


def plain_environment(environ: Mapping[str, str] = os.environ, **changes: str) -> dict[str, str]:
    """An environment without anything that configures a fleet, and with the changes."""
    kept = {name: value for name, value in environ.items() if not name.startswith("FLEET_")}
    kept.pop("REDIS_URL", None)
    return {**kept, **changes}
