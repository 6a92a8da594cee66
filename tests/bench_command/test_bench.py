"""`fleet bench` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_runs import plain_environment
from redis.exceptions import RedisError

from workers.bench import report
from workers.bench.suite import Plan
from workers.errors import CommandError

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.e2e


def test_the_fleet_is_measured_and_compared(fleet: Run):
    done = fleet(
        "bench", "--rates", "200", "--symbols", "2", "--for", "2s", "--burst", "10", "--no-idle", "--json"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    (measured,) = result["measured"]
    assert (measured["plant"], measured["symbols"], measured["differences"]) == ("fleet", 2, [])
    assert measured["messages"] > 0
    assert list(measured["cpu_percent"]) == ["exchange", "redis", "keeper", "books-0", "trades-0", "ingest-a"]
    assert all(value > 0 for value in measured["cpu_ms_per_1000"].values())
    assert all(value > 1 for value in measured["resident_mb"].values())
    assert set(measured["run_dry_s"]) == {"log", "books", "trades"}
    for stage in ("log", "book", "reader", "book_paced", "reader_paced"):
        found = measured["delays_ms"][stage]
        assert 0 <= found["p50"] <= found["p99"] <= found["p999"], stage
        assert found["samples"] > 0, stage
    assert result["idle_percent"] is None
    assert result["is_right"] is True
    burst = measured["burst"]
    assert (burst["factor"], burst["seconds"]) == (10, 2)
    assert burst["messages"] > 1_000
    assert burst["caught_up_s"] > 0
    assert set(burst["most"]) == {"waiting", "behind_ms", "dropped"}
    assert burst["most"]["dropped"] == 0
    assert "comparing" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_it_at_once_and_leaves_nothing(folder: Path, number: signal.Signals):
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "workers.cli",
            "bench",
            "--rates",
            "50",
            "--symbols",
            "1",
            "--for",
            "1h",
        ],
        env=plain_environment(FLEET_HOME=str(folder / "home"), TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        assert "starting" in process.stderr.readline()
        os.kill(process.pid, number)
        said, complained = process.communicate(timeout=90)
    finally:
        process.kill()
    assert (process.returncode, said, complained) == (130, "", "")
    assert list(folder.glob("fleet-bench-*")) == []


def test_a_server_that_ends_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    async def run(*_: object) -> None:
        raise RedisError("Connection closed by server.")

    monkeypatch.setattr(report, "run", run)
    with pytest.raises(CommandError, match=r"does not answer any more: Connection closed by server\.$"):
        report.run_bench(Plan([1], 1, 1, 1, False, "", Path()), as_json=True)


@pytest.mark.parametrize(
    "words",
    [
        ("--rates", "fast"),
        ("--rates", "0"),
        ("--rates", "nan"),
        ("--burst", "nan"),
        ("--for", "soon"),
        ("--against", "nobody"),
    ],
)
def test_what_cannot_be_measured_is_refused(fleet: Run, words: tuple[str, str]):
    done = fleet("bench", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert words[0] in done.stderr


def test_a_peer_that_cannot_be_installed_is_said_with_what_it_takes(fleet: Run, folder: Path):
    done = fleet(
        "bench", "--against", "cryptofeed", "--rates", "1", PIP_NO_INDEX="1", PIP_FIND_LINKS="/nowhere"
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "a network and a C compiler" in done.stderr
    log = folder / "home" / "bench" / "install.log"
    assert f"All that was said is in {log}." in done.stderr
    assert "cryptofeed" in log.read_text(encoding="utf-8")
