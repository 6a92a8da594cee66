"""Fixtures every test may use: a fakeredis client and a client of a real server, run by the same cases."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import fakeredis
import pytest
import redis as redis_sync
from fleet_runs import plain_environment
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from workers.operations.parent import end_with_parent
from workers.store.server import find_server

# No test asserts wall-clock time, neither of an example nor of drawing it. Every run draws the same examples, as
# hypothesis has it where CI is set: what fails is broken, not unlucky. `--hypothesis-profile=search` draws others.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fleet", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("fleet")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background commands so; what the tests start would ignore the Ctrl-C they send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def recorded_folder() -> Path:
    if not RECORDED.is_dir():
        pytest.skip("the real recordings (../shared/data) are not on this machine")
    return RECORDED


@contextmanager
def running_server(*options: str) -> Iterator[str]:
    """A server on a unix socket until the end of the block; its URL."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-test-"))
    socket = folder / "redis.sock"
    binary = find_server(os.environ.get("PATH", ""))
    base = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(
        [str(binary), *base, *options],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_parent,  # noqa: PLW1509 -- sets one flag of the new process, takes no lock
    )
    client = redis_sync.Redis(unix_socket_path=str(socket))
    for _ in range(3000):
        try:
            client.ping()
            break
        except redis_sync.ConnectionError:
            time.sleep(0.02)
    else:
        raise AssertionError(f"{binary} did not answer within a minute")
    client.close()
    yield f"unix://{socket}"
    process.terminate()
    process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def real_server() -> Iterator[str]:
    """A real server on a unix socket, this test process's own; its URL."""
    with running_server() as url:
        yield url


@pytest.fixture
def spare_server() -> Iterator[str]:
    """A real server that the test may spoil; its URL."""
    with running_server() as url:
        yield url


@pytest.fixture(params=["fake", "real"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """An empty database: once fakeredis, once the real server."""
    if request.param == "fake":
        fake = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        yield fake
        await fake.aclose()
        return
    async with empty(request.getfixturevalue("real_server")) as real:
        yield real


@asynccontextmanager
async def empty(url: str) -> AsyncIterator[Redis]:
    """A client of a server that is made empty."""
    real = Redis.from_url(url, protocol=2)
    await real.flushall()  # the server is this test process's own
    yield real
    await real.aclose()


@pytest.fixture
async def real_client(real_server: str) -> AsyncIterator[Redis]:
    """An empty database of the real server."""
    async with empty(real_server) as real:
        yield real


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: takes minutes; run by `./fleet test --full`, or with `-m full`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whole fleets run one after another also where tests run in several processes (`--dist loadgroup`).

    The conformance suite alone takes as long as the other fleets together, and is a group of its own.
    """
    if "full" not in config.getoption("markexpr"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fleet-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def fleet(folder: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `fleet …` in a run directory of its own; what still runs there is stopped at the end."""
    environment = plain_environment(FLEET_HOME=str(folder / "home"))

    def run(*arguments: str, timeout: float = 300, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "workers.cli", *arguments],
            env={**environment, **changes},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    yield run
    run("stop")
