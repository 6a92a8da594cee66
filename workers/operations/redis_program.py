"""`fleet run redis`: the fleet's own server, and its orderly end after the workers'.

Every worker waits for the server, so it is started before what only talks and watches is imported.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from workers.errors import FleetError
from workers.masking import mask
from workers.operations.parent import end_with_parent
from workers.operations.run_directory import make_socket_folder
from workers.operations.simulated import mark_or_refuse
from workers.settings.loading import redis_url
from workers.settings.paths import data_folder, socket_path
from workers.settings.schema import Settings
from workers.store import keys
from workers.store.server import find_server, strange_data
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE, EXIT_NOT_STARTED

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

PATIENCE_S: Final = 3.0
"""How long the server waits for one more worker to leave before it stops waiting."""
RETRY_S: Final = 2.0
"""Pause before giving up on a taken port, so that supervisord does not try again at once."""


def server_command(binary: Path, settings: Settings) -> list[str]:
    """The command line of the server: `config/redis.conf` and what depends on the run directory."""
    home = Path(settings.fleet.home)
    return [
        str(binary),
        str(data_folder() / "config" / "redis.conf"),
        *("--dir", str(home / "redis")),
        *("--port", str(settings.redis.port)),
        *("--unixsocket", str(socket_path(home, "redis.sock"))),
        *("--maxmemory", f"{settings.redis.maxmemory_mb}mb"),
        *(("--include", str(_password_file(home))) if settings.redis.password else ()),
    ]


def _password_file(home: Path) -> Path:
    return socket_path(home, "redis.sock").with_name("redis-password.conf")


def write_password(settings: Settings) -> None:
    """Put the password where the server reads it and nobody else: a command line is shown to every user."""
    if not settings.redis.password:
        return
    file = _password_file(Path(settings.fleet.home))
    file.unlink(missing_ok=True)
    with os.fdopen(
        os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as stream:
        stream.write(f"requirepass {_quoted(settings.redis.password)}\n")


def _quoted(text: str) -> str:
    """A word of redis.conf, whatever is in it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def _answers(settings: Settings) -> bool:
    try:
        with Redis.from_url(redis_url(settings), socket_timeout=2) as client:
            client.ping()
    except ResponseError:
        return True  # it wants another password
    except (RedisError, OSError):
        return False
    return True


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    return not listening_problem(host, port)


def listening_problem(host: str, port: int) -> str:
    """Why no server can listen there now, `is taken` where one does; empty where one can."""
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, _, _, address in places:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as asyncio has it
                probe.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        return "is taken" if taken else f"cannot be listened at ({error.strerror or error})"
    except UnicodeError as error:
        return f"cannot be listened at ({error})"
    return ""


def live_workers(client: Redis, roles: Iterable[str]) -> int:
    """How many workers have said that they live and not that they left."""
    seconds, micros = client.time()
    now = int(seconds) * 1000 + int(micros) // 1000
    return sum(int(client.zcount(keys.workers(role), now, "+inf")) for role in roles)


def _wait_for_workers(settings: Settings) -> None:
    """Return when no worker is left, or none has left for a while (a restart of the server alone)."""
    from workers.runtime.process import PORT_OFFSETS  # noqa: PLC0415 -- see the head of this file

    deadline = time.monotonic() + PATIENCE_S
    fewest = -1
    try:
        with Redis.from_url(redis_url(settings), socket_timeout=2) as client:
            while time.monotonic() < deadline:
                left = live_workers(client, PORT_OFFSETS)
                if left == 0:
                    return
                if fewest < 0 or left < fewest:
                    fewest, deadline = left, time.monotonic() + PATIENCE_S
                time.sleep(0.05)
    except (RedisError, OSError):
        return


def run_redis(settings: Settings) -> int:
    """Run the server until told to stop; 0 at once where the settings name another one."""
    if settings.redis.url:
        _logger(settings).info(
            "redis_not_wanted", reason="redis.url names another server", url=mask(settings.redis.url)
        )
        return EXIT_FINE
    home = Path(settings.fleet.home)
    path = socket_path(home, "redis.sock")
    try:
        binary = find_server(os.environ.get("PATH", ""), home / "redis")
        make_socket_folder(home)
        mark_or_refuse(home, simulated=settings.exchange.enabled)
        write_password(settings)
    except FleetError as error:
        return _not_started(settings, str(error))
    taken = f"socket {path}" if _answers(settings) else ""
    if settings.redis.port and not port_is_free("127.0.0.1", settings.redis.port):
        taken = taken or f"port {settings.redis.port}"
    if taken:
        return _not_started(settings, f"Another server has the {taken}: stop it or set FLEET_REDIS__PORT.")
    return _supervise(server_command(binary, settings), path, settings)


def _logger(settings: Settings) -> FilteringBoundLogger:
    from structlog import get_logger  # noqa: PLC0415 -- see the head of this file

    from workers.runtime.logs import configure_logging  # noqa: PLC0415 -- see the head of this file

    configure_logging(settings.fleet.log_level, settings.fleet.log_format)
    logger: FilteringBoundLogger = get_logger()
    return logger


def _not_started(settings: Settings, error: str) -> int:
    _logger(settings).error("redis_not_started", error=error)
    time.sleep(RETRY_S)
    return EXIT_NOT_STARTED


def _supervise(command: list[str], path: Path, settings: Settings) -> int:
    asked = False
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent)  # noqa: S603, PLW1509 -- our own command, and this process has one thread

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log = _logger(settings)
    log.info("redis_started", binary=command[0], pid=server.pid, socket=str(path))
    if settings.redis.port and not settings.redis.password:
        log.warning("redis_open", port=settings.redis.port, reason="every user of this machine may use it",
                    cure="set FLEET_REDIS__PASSWORD, or leave redis.port 0")  # fmt: skip
    while not asked:
        try:
            server.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        why = strange_data(Path(command[0]), Path(settings.fleet.home) / "redis")
        log.error("redis_ended", code=server.returncode, **({"data": why} if why else {}))
        return EXIT_DISAGREEMENT
    _wait_for_workers(settings)
    server.terminate()
    code = server.wait()
    log.info("redis_stopped", code=code)
    return EXIT_FINE if code == 0 else EXIT_DISAGREEMENT
