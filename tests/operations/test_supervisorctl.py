"""`supervisorctl -c supervisord.conf …` on a checkout: no supervisord running, nothing else set up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_sync
from fleet_runs import CHECKOUT, plain_environment

from workers.operations.ctl_plugin import _end_unreachable
from workers.operations.foreground import with_free_ports
from workers.operations.supervision import Supervisor
from workers.settings.loading import load, redis_url
from workers.store.connection import connect
from workers.verification.fleet import Verification
from workers.verification.stored import FleetReader
from workers.verification.truth_source import TruthSource

PROGRAMS = {
    "redis",
    "exchange",
    "ingest-a",
    "ingest-b",
    "books:books-0",
    "books:books-1",
    "trades:trades-0",
    "trades:trades-1",
    "keeper",
    "archive",
    "orders",
    "postgres",
    "alerts",
    "analytics",
    "api",
}


class Supervisorctl:
    def __init__(self, environment: dict[str, str], conf: Path = CHECKOUT / "supervisord.conf") -> None:
        self.environment = environment
        self.conf = conf

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / "supervisorctl"), "-c", str(self.conf), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def states(self) -> dict[str, str]:
        lines = self("status").stdout.splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}


@pytest.fixture
def supervisorctl(folder: Path) -> Iterator[Supervisorctl]:
    environment = plain_environment(FLEET_CONFIG="demo.toml", FLEET_HOME=str(folder / "home"))
    ctl = Supervisorctl(with_free_ports(load(None, environment), environment))
    yield ctl
    ctl("shutdown")
    deadline = time.monotonic() + 60
    while (folder / "home" / "run" / "supervisord.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def test_status_starts_supervisord_and_no_program(supervisorctl: Supervisorctl, folder: Path):
    states = supervisorctl.states()
    assert set(states) == PROGRAMS
    assert set(states.values()) == {"STOPPED"}
    mode = (folder / "home" / "run" / "supervisor.sock").stat().st_mode
    assert mode & 0o777 == 0o700


def test_of_two_starts_at_once_the_later_one_waits_for_the_supervisord_of_the_other(folder: Path):
    supervisor, away = Supervisor(folder / "home"), folder / "away"
    environment = plain_environment(FLEET_HOME=str(supervisor.home))
    child = supervisor.start_child(load(None, environment), environment)
    try:
        supervisor.socket.rename(away)  # as long as it is not there yet
        assert supervisor.pid() is None
        back = threading.Timer(1.0, away.rename, [supervisor.socket])
        back.start()
        assert _end_unreachable(supervisor, "start")
        assert supervisor.pid() == child.pid
        back.join()
    finally:
        supervisor.stop()
        child.wait(60)


def test_stopping_what_does_not_run_is_fine(supervisorctl: Supervisorctl, folder: Path):
    done = supervisorctl("stop", "all")
    assert done.returncode == 0
    assert "not running" in done.stderr
    assert not (folder / "home").exists()


def test_a_mistake_in_the_settings_is_one_sentence(supervisorctl: Supervisorctl):
    supervisorctl.environment["FLEET_BOOKS__PUBLSH_MS"] = "5"
    done = supervisorctl("start", "all")
    assert done.returncode == 2
    assert "publish_ms" in done.stderr
    assert "Traceback" not in done.stderr
    del supervisorctl.environment["FLEET_BOOKS__PUBLSH_MS"]


def test_a_very_long_path_works(folder: Path, supervisorctl: Supervisorctl):
    home = folder / ("long " * 8) / ("x" * 120)
    long = Supervisorctl({**supervisorctl.environment, "FLEET_HOME": str(home)})
    try:
        assert long("start", "redis").returncode == 0
        deadline = time.monotonic() + 90
        client = redis_sync.Redis.from_url(redis_url(load(None, long.environment).settings))
        while time.monotonic() < deadline:
            try:
                client.ping()
                break
            except redis_sync.ConnectionError:
                time.sleep(0.1)
        client.close()
        assert long.states()["redis"] == "RUNNING"
        assert (home / "log" / "redis.log").exists()
    finally:
        long("shutdown")


def test_a_server_of_somebody_else_needs_none_of_ours(supervisorctl: Supervisorctl, real_server: str):
    supervisorctl.environment |= {"REDIS_URL": real_server, "FLEET_EXCHANGE__ENABLED": "false"}
    assert supervisorctl("start", "redis", "exchange").returncode == 0
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        states = supervisorctl.states()
        if {states["redis"], states["exchange"]} == {"EXITED"}:
            break
        time.sleep(0.2)
    assert {states["redis"], states["exchange"]} == {"EXITED"}


def test_changed_settings_take_effect_when_nothing_runs(supervisorctl: Supervisorctl, folder: Path):
    pid = folder / "home" / "run" / "supervisord.pid"
    supervisorctl("start", "redis")
    first = pid.read_text()
    supervisorctl.environment["FLEET_FLEET__LOG_LEVEL"] = "debug"
    told = supervisorctl("start", "keeper")
    assert "FLEET_FLEET__LOG_LEVEL" in told.stderr
    assert pid.read_text() == first
    supervisorctl("stop", "all")
    assert supervisorctl("start", "redis").returncode == 0
    assert pid.read_text() != first


@pytest.mark.e2e
async def test_start_restart_and_stop_lose_and_double_nothing(supervisorctl: Supervisorctl):
    done = await asyncio.to_thread(supervisorctl, "start", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    effective = load(None, supervisorctl.environment)
    settings = effective.settings
    client = connect(redis_url(settings))
    exchange = f"http://{settings.exchange.host}:{settings.exchange.port}"
    async with TruthSource(exchange) as source:
        verification = Verification(FleetReader(client, settings), source)
        stop = asyncio.Event()
        assert await verification.wait_until_synced(120, stop), verification.findings.problems
        states = await asyncio.to_thread(supervisorctl.states)
        assert states == {
            **dict.fromkeys(PROGRAMS, "RUNNING"),
            "archive": "EXITED",
            "orders": "EXITED",
            "postgres": "EXITED",
            "alerts": "EXITED",
            "analytics": "EXITED",
        }  # they are not enabled
        await verification.run(2, stop)
        for group in ("books:*", "trades:*", "ingest-a"):
            done = await asyncio.to_thread(supervisorctl, "restart", group)
            assert done.returncode == 0, done.stdout + done.stderr
        await verification.run(8, stop)
        await verification.finish()
        report = await verification.report()
    await client.aclose()
    assert report["problems"] == []
    assert (report["trades_missing"], report["trades_doubled"], report["bars_differ"]) == (0, 0, 0)
    assert (report["books_differ"], report["resyncs"], report["gaps"]) == (0, 0, 0)
    done = await asyncio.to_thread(supervisorctl, "stop", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    states = await asyncio.to_thread(supervisorctl.states)
    assert states == {
        **dict.fromkeys(PROGRAMS, "STOPPED"),
        **dict.fromkeys(("archive", "orders", "alerts", "analytics", "postgres"), "EXITED"),
    }
