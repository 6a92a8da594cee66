"""A whole fleet in the foreground: started with the command, watched, and stopped with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO, cast

from workers.errors import CommandError
from workers.operations.redis_program import listening_problem, port_is_free
from workers.operations.supervision import Supervisor
from workers.plain_text import plain
from workers.runtime.logs import UnfailingStream
from workers.settings.loading import Effective, load
from workers.terminal.output import note

PORTS: Final = range(20_000, 32_000)
"""Where free ports are looked for: below the range the system gives to outgoing connections."""
SETTLED: Final = frozenset({"RUNNING", "EXITED"})
STOPPING: Final = frozenset({"STOPPING", "STOPPED"})
STOP_S: Final = 20.0
"""How long a fleet that somebody stops may need from its first missing program to its end."""
REVIVE_S: Final = 5.0
"""Pause between two tries to start a supervisord that ended by itself."""
RESTARTS: Final = 3
"""Processes of one program, all ended by themselves, after which it is called failing."""
LINES: Final = 5
LINE_LENGTH: Final = 500
LOG_BYTES: Final = 65_536
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def free_ports(count: int) -> list[int]:
    """Different loopback ports nobody listens on now.

    Raises:
        CommandError: not so many were found.
    """
    found = [port for port in random.sample(PORTS, 50 + count) if port_is_free("127.0.0.1", port)]
    if len(found) < count:
        raise CommandError("No free loopback port was found.")
    return found[:count]


class ForegroundFleet:
    """The fleet of one run directory, run as our child.

    Args:
        config: the settings file to use.
        environ: the environment the fleet gets.
    """

    def __init__(self, config: Path | None, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self.effective: Effective = load(config, self.environ)
        self.supervisor = Supervisor(self.effective.home)
        self._child: subprocess.Popen[bytes] | None = None
        self._revive_at = 0.0
        self._pids: dict[str, set[int]] = {}
        """By program, the processes it has been."""
        self.failed = ""
        """What `failing` has found."""

    @property
    def home(self) -> Path:
        """The run directory."""
        return self.effective.home

    @property
    def ended(self) -> bool:
        """Whether somebody else has stopped supervisord."""
        return self._child is not None and self._child.poll() == 0

    def revive(self) -> None:
        """Start supervisord again if it ended though nobody stopped it; says so. To be called now and then.

        Its programs have ended with it, and the new ones go on from what Redis holds. What does not start, because
        the disk is full, is tried again after a pause.
        """
        if self._child is None or self._child.poll() in (None, 0) or time.monotonic() < self._revive_at:
            return
        code, self._revive_at = self._child.returncode, time.monotonic() + REVIVE_S
        try:
            self._child = self.supervisor.start_child(self.effective, self.environ)
            self.supervisor.call("startAllProcesses", False)
            said = "it was started again"
        except (CommandError, OSError) as error:
            said = f"it does not start: {error}"
        note(f"supervisord ended with code {code}; {said}")

    def is_being_stopped(self) -> bool:
        """Whether somebody else stops the fleet; waits for its end then, which is near.

        To be asked when the server or the exchange does not answer any more. False at once when they were not
        told to stop.
        """
        deadline = time.monotonic() + STOP_S
        while not self.ended and time.monotonic() < deadline:
            # while it shuts down supervisord refuses to answer
            with contextlib.suppress(CommandError):
                if not any(process["statename"] in STOPPING for process in self.supervisor.processes()):
                    return False
            time.sleep(0.05)
        return self.ended

    def refuse_if_running(self) -> None:
        """Raise if a fleet runs in this home.

        Raises:
            CommandError: it does.
        """
        pid = self.supervisor.find()
        if pid is not None:
            raise CommandError(
                f"A fleet already runs in {self.home} (supervisord is process {pid}): "
                "end it with `fleet stop`, or set FLEET_HOME to another folder."
            )

    def refuse_taken_ports(self) -> None:
        """Raise if a port of the settings is taken.

        Raises:
            CommandError: it is.
        """
        settings = self.effective.settings
        ports = {"redis": ("127.0.0.1", 0 if settings.redis.url else settings.redis.port)}
        ports["api"] = (settings.api.host, settings.api.port)
        if settings.exchange.enabled:
            ports["exchange"] = (settings.exchange.host, settings.exchange.port)
        keys = {f"{section}.port": place for section, place in ports.items()}
        if settings.exchange.enabled:
            for name, port in settings.exchange.flavours.items():
                keys[f"exchange.flavours.{name}"] = (settings.exchange.host, port)
        for key, (host, port) in keys.items():
            if port and (problem := listening_problem(host, port)):
                variable = f"FLEET_{key.replace('.', '__').upper()}"
                raise CommandError(f"Port {port} of {host} ({key}) {problem}; set {variable} to another.")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start everything; stop everything on the way out, whatever the way is.

        From now on what cannot be said on standard error, of a full disk or a terminal that is gone, ends nothing.
        """
        sys.stderr = cast(TextIO, UnfailingStream(sys.stderr))
        self.refuse_if_running()
        self.refuse_taken_ports()
        self._child = self.supervisor.start_child(self.effective, self.environ)
        try:
            self.supervisor.call("startAllProcesses", False)
            yield
        finally:
            with ignoring(STOP_SIGNALS):
                self.supervisor.stop()
                self._child.wait(STOP_S)

    def failing(self) -> str:
        """The first program that will not run, with the end of its log; empty while there is none.

        To be called again and again: a program that supervisord starts over and over is RUNNING most of the time.
        """
        try:
            processes = self.supervisor.processes()
        except CommandError:
            return ""
        for process in processes:
            pids = self._pids.setdefault(process["name"], set())
            pids.add(process["pid"])
            restarted = len(pids - {0}) >= RESTARTS and process["exitstatus"]
            if restarted or process["statename"] == "FATAL":
                self.failed = (
                    f"{process['name']} does not stay up; the end of its log:\n{_end_of_log(process, LINES)}"
                )
        return self.failed

    def troubles(self) -> list[str]:
        """Programs that do not run as they should, with the last line each has said."""
        if self.failing():
            return [self.failed]
        try:
            processes = self.supervisor.processes()
        except CommandError as error:
            return [str(error)]
        return [
            f"{process['name']} is {process['statename']}: {_end_of_log(process, 1)}"
            for process in processes
            if process["statename"] not in SETTLED
            or (process["statename"] == "EXITED" and process["exitstatus"])
        ]


def _end_of_log(process: Mapping[str, Any], lines: int) -> str:
    """The last lines a program has said."""
    try:
        with Path(process["stdout_logfile"]).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
            said = log.read().decode(errors="replace").splitlines()
    except OSError:
        said = []
    return "\n".join(plain(line, LINE_LENGTH) for line in said[-lines:]) or str(process["description"])


@contextlib.contextmanager
def ignoring(numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Ignore signals: a second Ctrl-C must not leave half a fleet behind."""
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def stop_on_signals() -> asyncio.Event:
    """An event of the running loop that Ctrl-C, a hang-up or a termination sets."""
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def given(environ: Mapping[str, str], section: str) -> bool:
    """Whether the environment names a port of a section."""
    return f"FLEET_{section.upper()}__PORT" in environ


def with_free_ports(effective: Effective, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, with a free port for each of ours that it does not name.

    Venues whose URLs point at the simulated exchange follow it to its port.
    """
    environment = dict(environ)
    sections = [section for section in ("exchange", "api") if not given(environ, section)]
    exchange = effective.settings.exchange
    played = [name for name, port in exchange.flavours.items() if port]
    free = free_ports(len(sections) + len(played))
    for section, port in zip(sections, free, strict=False):
        environment[f"FLEET_{section.upper()}__PORT"] = str(port)
    unchanged = {name: value for name, value in environ.items() if name != "FLEET_EXCHANGE__PORT"}
    moved = {load(effective.file, unchanged).settings.exchange.port: environment["FLEET_EXCHANGE__PORT"]}
    for name, port in zip(played, free[len(sections) :], strict=True):
        variable = f"FLEET_EXCHANGE__FLAVOURS__{name.upper()}"
        moved[exchange.flavours[name]] = environment.setdefault(variable, str(port))
    for name, venue in effective.settings.venues.items():
        for key in (*venue.socket_urls, "rest_url"):
            url: str = getattr(venue, key)
            for old, new in moved.items():
                if f"//{exchange.host}:{old}/" in f"{url}/":
                    variable = f"FLEET_VENUES__{name}__{key}".upper()
                    environment[variable] = url.replace(f":{old}", f":{new}", 1)
    return environment
