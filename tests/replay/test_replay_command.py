"""`fleet replay` as a user runs it: output, exit codes, and what is left behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from fleet_runs import plain_environment
from replay_captures import Capture

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the command makes its temporary folders: not so deep that a socket's path would be too long there."""
    with tempfile.TemporaryDirectory(prefix="fleet-test-", dir="/tmp") as folder:
        yield Path(folder)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "workers.cli", "replay", *map(str, arguments)]


@pytest.fixture
def run(temporary: Path) -> Run:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = plain_environment(TMPDIR=str(temporary))
        return subprocess.run(
            command(*arguments), env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def capture() -> Capture:
    return Capture().depth().depth(bids=[("100", "1")]).snapshot().depth(asks=[("101", "2")]).trade().trade()


def test_json_is_one_object_and_nothing_is_left(run: Run, capture: Capture, tmp_path: Path, temporary: Path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"\n".join(capture.lines)))
    done = run(path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert found["books"]["BTCUSDT"]["u"] == capture.last_u
    assert found["messages_per_second"] > 0
    assert "redis" not in found
    assert list(temporary.iterdir()) == []


def test_people_get_tables(run: Run, capture: Capture, tmp_path: Path):
    done = run(capture.quote(("100", "1"), ("101", "2")).write(tmp_path / "a"))
    assert done.returncode == 0, done.stderr
    for text in ("btcusdt@depth@100ms", "BTCUSDT", "synced", "1 of 1", "2 at 101", "501"):
        assert text in done.stdout


def test_a_loss_ends_with_1(run: Run, capture: Capture, tmp_path: Path):
    done = run(capture.trade().lose().trade().write(tmp_path / "a"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["trades"]["BTCUSDT"]["missing"] == 1
    done = run(capture.write(tmp_path / "a"))
    assert "problem: BTCUSDT: 1 trades are missing." in done.stdout


def test_a_cut_file_ends_with_1_and_keeps_what_it_had(run: Run, capture: Capture, tmp_path: Path):
    for number in range(2_000):
        capture.trade(quantity=f"{number + 1}.{number % 97}")
    whole = gzip.compress(b"\n".join(capture.lines))
    (tmp_path / "a.gz").write_bytes(whole[: len(whole) * 3 // 4])
    done = run(tmp_path / "a.gz", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["malformed"] == 1
    assert found["trades"]["BTCUSDT"]["count"] > 500
    assert found["trades"]["BTCUSDT"]["missing"] == 0
    assert re.search(r"a\.gz, line \d+: the gzip data is cut short", found["problems"][0])


@pytest.mark.parametrize(
    ("name", "data", "excerpt"),
    [
        ("a.gz", b"hello", "no gzip data"),
        ("a.zst", b"hello", "no zstandard data"),
        ("a", b"hello\n", "bare frames"),
        ("a", b"wss://ws.gemini.com <-> 1617666422.653664\n", "ws.gemini.com"),
    ],
)
def test_what_is_no_capture_ends_with_2(run: Run, tmp_path: Path, name: str, data: bytes, excerpt: str):
    (tmp_path / name).write_bytes(data)
    done = run(tmp_path / name, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path}/{name}, line 1" in done.stderr
    assert excerpt in done.stderr


@pytest.mark.parametrize(
    ("name", "data"),
    [("a", b""), ("a.gz", b""), ("a.gz", gzip.compress(b""))],
    ids=["plain", "cut off at once", "compressed nothing"],
)
def test_an_empty_file_ends_with_2(run: Run, tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    done = run(tmp_path / name, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path / name}: the file is empty.\n"


def test_a_missing_file_ends_with_2(run: Run, tmp_path: Path):
    done = run(tmp_path / "nothing.gz", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path / 'nothing.gz'}: the file cannot be read: No such file or directory.\n"


def test_kept_keys_can_be_looked_at(run: Run, capture: Capture, tmp_path: Path, temporary: Path):
    done = run(capture.write(tmp_path / "a"), "--json", "--keep")
    assert done.returncode == 0, done.stderr
    end = re.search(r"To stop it: (rm -r \S+; kill \d+)", done.stderr)
    assert end is not None
    url = json.loads(done.stdout)["redis"]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(url.removeprefix("unix://"))
        try:
            with redis.Redis.from_url(url) as client:
                shown = json.loads(client.hget("LIVE_ORDERBOOK", "BTCUSDT"))
                assert shown["u"] == capture.last_u
                assert client.zcard("trades:{BTCUSDT}:latest") == 2
                assert client.xlen("raw:{BTCUSDT}:depth") == 3
        finally:
            subprocess.run(["sh", "-c", end[1]], check=True, timeout=60)
        assert connection.recv(1) == b""  # the server has ended
    assert list(temporary.iterdir()) == []


def test_another_server_can_be_used_once(run: Run, capture: Capture, tmp_path: Path, real_server: str):
    with redis.Redis.from_url(real_server) as client:
        client.flushall()  # the server is this test process's own
        path = capture.write(tmp_path / "a")
        done = run(path, "--json", "--redis", real_server)
        assert done.returncode == 0, done.stderr
        assert client.hexists("LIVE_ORDERBOOK", "BTCUSDT")
        done = run(path, "--json", "--redis", real_server)
        assert (done.returncode, done.stdout) == (3, "")
        assert "already holds" in done.stderr
        done = run(path, "--json", "--redis", real_server, "--add")
        assert done.returncode == 0, done.stderr
        client.flushall()


def test_a_server_that_is_not_there_ends_with_3(run: Run, capture: Capture, tmp_path: Path):
    done = run(capture.write(tmp_path / "a"), "--json", "--redis", f"unix://{tmp_path}/nothing.sock")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing.sock" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_cleanly(capture: Capture, tmp_path: Path, temporary: Path, number: signal.Signals):
    for _ in range(50):
        capture.depth()
    process = subprocess.Popen(
        command(capture.write(tmp_path / "a"), "--json", "--speed", "0.001"),
        env=plain_environment(TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sockets: list[Path] = []
    for _ in range(1_000):
        sockets = list(temporary.glob("*/redis.sock"))
        if sockets and _holds_depth(sockets[0]):
            break
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert sockets
    assert (process.returncode, out) == (130, "")
    assert "Stopped" in err
    assert list(temporary.iterdir()) == []


def _holds_depth(socket: Path) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(socket)) as client:
            return bool(client.xlen("raw:{BTCUSDT}:depth"))
    except redis.RedisError:
        return False


def test_keeping_what_is_not_ours_is_refused(run: Run, capture: Capture, tmp_path: Path, real_server: str):
    done = run(capture.write(tmp_path / "a"), "--redis", real_server, "--keep")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--keep" in done.stderr


def test_a_termination_while_the_recordings_are_looked_through_ends_with_130(tmp_path: Path, temporary: Path):
    os.mkfifo(tmp_path / "a")
    process = subprocess.Popen(
        command(tmp_path / "a", "--json"),
        env=plain_environment(TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with (tmp_path / "a").open("wb"):  # opened by the command now: it waits for our bytes
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert list(temporary.iterdir()) == []
