"""The private server of a replay: a real one, on a unix socket in a folder of its own, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from workers.errors import CommandError
from workers.operations.parent import end_with_parent
from workers.settings.paths import data_folder, temporary_place
from workers.store.server import find_server

START_S: Final = 15.0
STOP_S: Final = 10.0
SOCKET: Final = "redis.sock"


class PrivateServer:
    """Started by `start`, ended by `stop` unless it is to be kept.

    Args:
        keep: it shall outlive this process.
    """

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-replay-", dir=temporary_place(SOCKET)))
        self.socket = self.folder / SOCKET
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Its process; 0 before it was started."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServerNotFound: there is no server to run.
            CommandError: it does not start.
        """
        binary = find_server(os.environ.get("PATH", ""))
        log = self.folder / "redis.log"
        command = [str(binary), str(data_folder() / "config" / "redis.conf")]
        command += ["--dir", str(self.folder), "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--appendonly", "no", "--logfile", str(log)]
        self._process = subprocess.Popen(  # noqa: S603 -- our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; the server ends when we have stopped the workers
            preexec_fn=None if self._keep else end_with_parent,  # noqa: PLW1509 -- this process has one thread yet
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").splitlines() if log.exists() else []
                self.stop()
                raise CommandError(
                    f"The server {binary} does not start: {said[-1] if said else 'it is silent'}."
                )
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with Redis(unix_socket_path=str(self.socket), socket_timeout=2) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def stop(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
