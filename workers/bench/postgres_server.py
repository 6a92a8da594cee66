"""A PostgreSQL server for tests and measurements: in a folder that goes away, on a unix socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from workers.errors import CommandError
from workers.operations.process_table import family, send, wait_for_end

PORT: Final = "5432"
END_S: Final = 10.0
"""How long its processes may take to be gone once they are killed."""
DEBIAN: Final = "/usr/lib/postgresql"
MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- a folder of our own is made in it


def find_program(name: str) -> Path | None:
    """A program of PostgreSQL: on the PATH, or where Debian has it, the newest."""
    if found := shutil.which(name):
        return Path(found).resolve()
    places = sorted(Path(DEBIAN).glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return places[-1] if places else None


def _user() -> dict[str, Any]:
    """Whom the server runs as: it refuses root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise CommandError("PostgreSQL does not run as root, and there is no user postgres or nobody.")


class PostgresServer:
    """A server that can be killed and started again. It is kept in memory where it can be: syncing is quick there."""

    def __init__(self) -> None:
        initdb, server = find_program("initdb"), find_program("postgres")
        if initdb is None or server is None:
            raise CommandError("There is no PostgreSQL server on this machine (Debian: postgresql).")
        self._server = server
        self._as = _user()
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-pg-", dir=MEMORY if MEMORY.is_dir() else None))
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(  # noqa: S603 -- of the system
            [initdb, "-D", self._data, "-U", "fleet", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            env={"PATH": str(initdb.parent), "LC_ALL": "C.UTF-8"},
            **self._as,
        )

    @property
    def dsn(self) -> str:
        """Its connection string."""
        return f"host={self.folder} port={PORT} user=fleet dbname=postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        options = {"listen_addresses": "", "unix_socket_directories": self.folder, "port": PORT,
                   "max_connections": "30", "shared_buffers": "32MB", "dynamic_shared_memory_type": "mmap"}  # fmt: skip
        self._process = subprocess.Popen(  # noqa: S603 -- as above
            [self._server, "-D", self._data, *(f"--{name}={value}" for name, value in options.items())],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            cwd=self.folder,
            start_new_session=True,
            **self._as,
        )
        self.wait()

    def wait(self) -> None:
        """Return once it takes connections."""
        import psycopg  # noqa: PLC0415 -- an extra

        for _ in range(3000):
            try:
                psycopg.connect(self.dsn, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        raise CommandError(f"PostgreSQL does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9 of the server and of all that it started, as when the machine fails.

        Each of its processes is a group of its own, and keeps the memory without which the next server does not start.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)  # it starts no more
            members = family(self._process.pid)
            send(members, signal.SIGKILL)
            self._process.wait()
            wait_for_end(members, END_S)

    def stop(self) -> None:
        """End it orderly."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def remove(self) -> None:
        """End it, and all it has."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def query(self, statement: str, schema: str = "marketfleet") -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        import psycopg  # noqa: PLC0415 -- an extra

        with psycopg.connect(
            self.dsn, autocommit=True, options=f"-c search_path={schema},public"
        ) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []
