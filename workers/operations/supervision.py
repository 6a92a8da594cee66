"""supervisord: the copy of supervisord.conf it runs, starting it, talking to it, stopping it.

The top-level supervisord.conf is what people read and edit. What runs is `<home>/run/supervisord.conf`, the
same text with the run directory, the socket and the command filled in, so that it works for any home, for an
installed wheel, and in a path too long for a unix socket.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, cast
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from workers.errors import CommandError
from workers.operations import process_table
from workers.operations.parent import end_with_parent
from workers.operations.process_numbers import cores, process_numbers, with_numbers
from workers.operations.run_directory import make_run_directory, usable
from workers.settings.loading import Effective, load
from workers.settings.paths import data_folder, socket_path

START_S: Final = 15.0
ANSWER_S: Final = 10.0
STOP_S: Final = 90.0
STOP_WITHOUT_FILES_S: Final = 30.0
"""The same where the run directory is gone: nothing can be stored there any more."""
KILLED_S: Final = 10.0
CONF: Final = "supervisord.conf"


def fill_in(text: str, home: Path, python: str) -> str:
    """A supervisord.conf for one run directory and one interpreter.

    Raises:
        CommandError: a path has characters that such a file cannot hold.
    """
    for path in (str(home), python):
        if any(character in path for character in '"\\\n\r\t') or " ;" in path or " #" in path:
            raise CommandError(f"supervisord cannot work with the path {path!r}; use a plainer one.")

    def plain(value: object) -> str:
        return str(value).replace("%", "%%")

    text = text.replace("%(here)s/var/run/supervisor.sock", plain(socket_path(home, "supervisor.sock")))
    # supervisord expands these twice
    text = text.replace("stdout_logfile=%(here)s/var", f"stdout_logfile={plain(plain(home))}")
    text = text.replace("%(here)s/var", plain(home))
    return text.replace('"%(here)s/.venv/bin/fleet"', f'"{plain(python)}" -P -m workers.cli')


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that decides what the fleet does."""
    return {
        name: value for name, value in environ.items() if name.startswith("FLEET_") or name == "REDIS_URL"
    }


class _Connection(HTTPConnection):
    """HTTP over a unix socket; supervisor's own waits for ever for a supervisord that hangs."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Transport(SupervisorTransport):  # type: ignore[misc]  # supervisor has no types
    """supervisor's transport with a time limit."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(None, None, f"unix://{path}")
        self._get_connection = lambda: _Connection(path, seconds)


class Supervisor:
    """The supervisord of one run directory.

    Args:
        home: the run directory.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = socket_path(home, "supervisor.sock")
        self.conf = home / "run" / CONF
        self.log = home / "log" / "supervisord.log"
        self._record = home / "run" / "started.json"

    def call(self, method: str, *arguments: object, seconds: float = STOP_S) -> Any:
        """One call of supervisord's own interface, such as `getAllProcessInfo`.

        Args:
            seconds: how long an answer is waited for.

        Raises:
            CommandError: supervisord does not answer or refuses.
        """
        transport = _Transport(self.socket, seconds)
        with closing(transport):
            proxy = ServerProxy("http://127.0.0.1", transport=transport)
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except (OSError, HTTPException, RpcError) as error:
                raise CommandError(f"supervisord at {self.socket} did not do {method}: {error}.") from error

    def pid(self) -> int | None:
        """The process id of the running supervisord, None when none answers."""
        try:
            return cast(int, self.call("getPID", seconds=ANSWER_S))
        except CommandError:
            return None

    def find(self) -> int | None:
        """The process id of supervisord, also when its socket or the whole run directory is gone."""
        return self.pid() or process_table.supervisord_of(self.conf)

    def processes(self) -> list[dict[str, Any]]:
        """What supervisord says of every program."""
        return cast(list[dict[str, Any]], self.call("getAllProcessInfo", seconds=ANSWER_S))

    def started(self) -> dict[str, Any]:
        """What is on record of the last start: `pid`, and `environment`, the part that decides what runs."""
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def environment(self) -> dict[str, str]:
        """The environment the running supervisord was started with; empty when we did not start it."""
        record = self.started()
        return cast(dict[str, str], record["environment"]) if record and record["pid"] == self.pid() else {}

    def prepare(self, effective: Effective, environ: Mapping[str, str]) -> dict[str, str]:
        """Make the run directory, write the conf; the environment to start supervisord with."""
        make_run_directory(self.home)
        text = (data_folder() / CONF).read_text(encoding="utf-8")
        with usable(self.home):
            text = with_numbers(text, process_numbers(effective.settings, cores()))
            self.conf.write_text(fill_in(text, self.home, sys.executable), encoding="utf-8")
        full = {**environ, "FLEET_HOME": str(self.home)}
        if effective.file:
            full["FLEET_CONFIG"] = str(effective.file)
        return full

    def _put_on_record(self, environment: Mapping[str, str]) -> None:
        self._record.unlink(missing_ok=True)
        # It may hold a Redis password.
        with os.fdopen(os.open(self._record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as record:
            json.dump({"pid": self.pid(), "environment": inherited(environment)}, record, indent=1)

    def _command(self) -> list[str]:
        return [sys.executable, "-P", "-m", process_table.SUPERVISORD, "-c", str(self.conf)]

    def start_daemon(self, effective: Effective, environ: Mapping[str, str]) -> None:
        """Start supervisord in the background and wait until it answers.

        Raises:
            CommandError: it does not start.
        """
        environment = self.prepare(effective, environ)
        done = subprocess.run(  # noqa: S603 -- our own interpreter and file
            self._command(),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"supervisord did not start: {(done.stderr or done.stdout).strip()}")
        self.wait_until_up()
        self._put_on_record(environment)

    def start_child(self, effective: Effective, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start supervisord as our child, which ends when we do, and wait until it answers.

        Raises:
            CommandError: it does not start.
        """
        environment = self.prepare(effective, environ)
        output = self.home / "log" / "supervisord.out"
        with usable(self.home):
            stream = output.open("wb")
        with stream:
            child = subprocess.Popen(  # noqa: S603 -- our own interpreter and file
                [*self._command(), "--nodaemon", "--silent"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 -- nothing here runs threads before the fork
            )

        def check() -> None:
            if child.poll() is not None:
                said = output.read_text(encoding="utf-8", errors="replace").strip()
                raise CommandError(f"supervisord did not start: {said or 'somebody else has ended it'}")

        try:
            self.wait_until_up(START_S, check, child.pid)
            self._put_on_record(environment)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        return child

    def wait_until_up(
        self, seconds: float = START_S, check: Callable[[], None] = lambda: None, wanted: int | None = None
    ) -> None:
        """Wait for an answer; of the process that is wanted, as another start may have been quicker.

        Raises:
            CommandError: there is none.
        """
        deadline = time.monotonic() + seconds
        while (pid := self.pid()) is None or (wanted is not None and pid != wanted):
            check()
            if time.monotonic() > deadline:
                raise CommandError(f"supervisord does not answer at {self.socket}; see {self.log}.")
            time.sleep(0.05)

    def stop(self) -> bool:
        """End every program and supervisord, and wait; False when there was nothing to end.

        They are asked first, then terminated, then killed: each by its pid, so that neither a run directory that
        somebody removed nor a program that hangs keeps anything alive.

        Raises:
            CommandError: something cannot be ended, since it belongs to another user.
        """
        answering = self.pid()
        pid = answering or process_table.supervisord_of(self.conf)
        if pid is None:
            return False
        members = process_table.family(pid)
        try:
            if answering is None:
                raise CommandError(f"supervisord does not answer at {self.socket}.")
            self.call("stopAllProcesses")
            self.call("shutdown")
        except CommandError:
            process_table.send(members[:1], signal.SIGTERM)
        left = process_table.wait_for_end(members, STOP_S if self.is_orderly() else STOP_WITHOUT_FILES_S)
        for parent in tuple(left):  # what was started meanwhile
            left += [process for process in process_table.family(parent.pid) if process not in left]
        if left:  # a supervisord that was killed would be brought back
            process_table.send(process_table.foreground_of(members[0]), signal.SIGTERM)
        process_table.send(left, signal.SIGKILL)
        left = process_table.wait_for_end(left, KILLED_S)
        if left:
            numbers = ", ".join(str(process.pid) for process in left)
            raise CommandError(
                f"Not ended, though killed: process {numbers}. Does it belong to another user?"
            )
        return True

    def is_orderly(self) -> bool:
        """Whether the run directory is there, so that programs can store what they have."""
        return self.conf.exists()


def load_for_supervisor(environ: Mapping[str, str]) -> tuple[Effective, Supervisor]:
    """The settings an environment asks for, and the supervisord of their run directory."""
    effective = load(None, environ)
    return effective, Supervisor(effective.home)
