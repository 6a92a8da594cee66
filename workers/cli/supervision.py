"""supervisord: the copy of supervisord.conf it runs, starting it, talking to it, stopping it.

The top-level supervisord.conf is what people read and edit. What runs is `<home>/run/supervisord.conf`, the
same text with the run directory, the socket and the command filled in, so that it works for any home, for an
installed wheel, and in a path too long for a unix socket.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, cast
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from workers.cli.parent import end_with_parent
from workers.cli.run_directory import make_run_directory, usable
from workers.configuration import Effective, load
from workers.errors import CommandError
from workers.paths import data_folder, socket_path

START_S: Final = 15.0
STOP_S: Final = 90.0
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
    text = text.replace("%(here)s/var", plain(home))
    return text.replace('"%(here)s/.venv/bin/fleet"', f'"{plain(python)}" -P -m workers.cli')


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that decides what the fleet does."""
    return {
        name: value for name, value in environ.items() if name.startswith("FLEET_") or name == "REDIS_URL"
    }


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

    def call(self, method: str, *arguments: object) -> Any:
        """One call of supervisord's own interface, such as `getAllProcessInfo`.

        Raises:
            CommandError: supervisord does not answer or refuses.
        """
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with closing(transport):
            proxy = ServerProxy("http://127.0.0.1", transport=transport)
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except (OSError, HTTPException, RpcError) as error:
                raise CommandError(f"supervisord at {self.socket} did not do {method}: {error}.") from error

    def pid(self) -> int | None:
        """The process id of the running supervisord, None when none answers."""
        try:
            return cast(int, self.call("getPID"))
        except CommandError:
            return None

    def processes(self) -> list[dict[str, Any]]:
        """What supervisord says of every program."""
        return cast(list[dict[str, Any]], self.call("getAllProcessInfo"))

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
        return [sys.executable, "-P", "-m", "workers.cli.supervisord_program", "-c", str(self.conf)]

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
        self._wait_until_up(lambda: None)
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
                raise CommandError(f"supervisord did not start: {said}")

        try:
            self._wait_until_up(check)
            self._put_on_record(environment)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        return child

    def _wait_until_up(self, check: Callable[[], None]) -> None:
        deadline = time.monotonic() + START_S
        while self.pid() is None:
            check()
            if time.monotonic() > deadline:
                raise CommandError(f"supervisord does not answer at {self.socket}; see {self.log}.")
            time.sleep(0.05)

    def stop(self) -> bool:
        """Stop every program and supervisord, and wait; False when there was nothing to stop.

        Raises:
            CommandError: it is still there after a long time.
        """
        pid = self.pid()
        if pid is None:
            return False
        try:
            self.call("stopAllProcesses")
            self.call("shutdown")
        except CommandError:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while _alive(pid):
            if time.monotonic() > deadline:
                raise CommandError(f"supervisord (process {pid}) does not end; see {self.log}.")
            time.sleep(0.05)
        return True


def _alive(pid: int) -> bool:
    """Whether a process runs; a child of ours that has ended is collected on the way."""
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def load_for_supervisor(environ: Mapping[str, str]) -> tuple[Effective, Supervisor]:
    """The settings an environment asks for, and the supervisord of their run directory."""
    effective = load(None, environ)
    return effective, Supervisor(effective.home)
