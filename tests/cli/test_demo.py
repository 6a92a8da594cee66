"""`fleet demo` as a user runs it: everything agrees, and what does not is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_sync
from demo_runs import start, wait_for_books
from fleet_runs import plain_environment

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.e2e
VENUES = [word for name in ("okx", "bybit", "kraken", "coinbase:exchange") for word in ("--venue", name)]
AGREE = ("books_differ", "trades_missing", "trades_doubled", "trades_differ", "bars_differ")


def processes_of(home: Path) -> list[str]:
    """The command lines of processes that belong to a run directory."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            if f"FLEET_HOME={home}".encode() in environment.split(b"\0"):
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_demo_agrees_with_what_really_happened(fleet: Run, folder: Path):
    done = fleet("demo", "--for", "15s", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert {name: result[name] for name in AGREE} == dict.fromkeys(AGREE, 0)
    assert result["problems"] == []
    assert result["symbols"] == result["books_equal"] >= 8
    assert result["book_samples"] > result["symbols"]
    assert result["trades_seen"] > 100
    assert result["bars_equal"] > 7 * result["symbols"]
    assert result["p50_ms"] > 0
    assert "redis-cli" in done.stderr
    assert (folder / "home" / "log" / "books-0.log").stat().st_size > 0
    assert (folder / "home" / "redis" / "appendonlydir").is_dir()
    assert processes_of(folder / "home") == []


def test_a_demo_of_other_exchanges_agrees_with_what_really_happened(fleet: Run):
    done = fleet("demo", "--for", "15s", "--json", *VENUES)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert {name: result[name] for name in AGREE} == dict.fromkeys(AGREE, 0)
    assert result["problems"] == []
    assert result["symbols"] == result["books_equal"] == 23
    assert result["orders_equal"] > 60  # of Kraken, whose three books have 20 prices each
    assert result["orders_differ"] == 0


def test_a_wrong_book_and_a_lost_trade_of_another_exchange_are_found(fleet: Run):
    faults = (
        "corrupt stream=books:BTC-USDT after_s=15",
        "lose stream=publicTrade.BTCUSDT after_s=15 share=0.3",
    )
    texts = [word for fault in faults for word in ("--fault", fault)]
    done = fleet("demo", "--for", "25s", "--json", "--venue", "okx", "--venue", "bybit", *texts)
    assert done.returncode == 1, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["trades_missing"] > 0
    assert (result["books_differ"], result["trades_differ"]) == (1, 0)
    assert any(sentence.startswith("okx:BTC-USDT at update id") for sentence in result["problems"])


def test_a_venue_that_is_not_simulated_is_refused(fleet: Run):
    done = fleet("demo", "--venue", "okx:nosuch")
    assert done.returncode == 2
    assert "okx has no market 'nosuch' (known: spot, swap)" in done.stderr
    done = fleet("demo", "--venue", "nosuch")
    assert done.returncode == 2
    assert (
        "'nosuch' is not simulated besides binance (known: okx, bybit, kraken, coinbase, bitfinex, bitstamp)"
        in done.stderr
    )


def test_a_lost_trade_and_a_wrong_bar_are_found(folder: Path):
    home = folder / "home"
    demo = start(home, "--for", "10s", "--json")
    client = wait_for_books(home, 6)
    deadline = time.monotonic() + 60
    closed = "bars:{BTCUSDT}:100ms"
    while time.monotonic() < deadline and not (
        client.zcard("trades:{BTCUSDT}:latest") > 5 and client.xlen(closed)
    ):
        time.sleep(0.1)
    middle = client.zrange("trades:{BTCUSDT}:latest", 2, 2)
    client.zrem("trades:{BTCUSDT}:latest", *middle)
    bar = client.xrange(closed, count=1)[0]
    client.xadd(closed, {**bar[1], b"volume": b"1234"})
    output, errors = demo.communicate(timeout=300)
    assert demo.returncode == 1, output + errors
    result = json.loads(output)
    assert result["trades_missing"] == 1
    assert result["bars_differ"] >= 1  # the forged entry's id also keeps a true bar out
    assert any("is missing" in sentence for sentence in result["problems"])
    assert any("volume 1234" in sentence for sentence in result["problems"])


def test_ctrl_c_stops_everything_and_says_where_the_logs_are(folder: Path):
    home = folder / "home"
    demo = start(home)
    wait_for_books(home, 1).close()
    second = subprocess.run(
        [sys.executable, "-P", "-m", "workers.cli", "demo"],
        env=plain_environment(FLEET_HOME=str(home)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 3
    assert "already runs" in second.stderr
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=120)
    assert demo.returncode == 0, errors
    assert f"The logs are in {home / 'log'}" in errors
    assert processes_of(home) == []


@pytest.mark.parametrize("way", ["INT", "TERM", "fleet stop"])
def test_everything_ends_also_when_the_run_directory_is_gone(folder: Path, way: str):
    home = folder / "home"
    demo = start(home)
    wait_for_books(home, 1).close()
    shutil.rmtree(home)
    assert len(processes_of(home)) >= 10
    if way == "fleet stop":
        stopped = subprocess.run(
            [sys.executable, "-P", "-m", "workers.cli", "stop"],
            env=plain_environment(FLEET_HOME=str(home)),
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert "Stopped the fleet" in stopped.stderr
    else:
        demo.send_signal(signal.Signals[f"SIG{way}"])
    demo.communicate(timeout=150)
    assert processes_of(home) == []


@pytest.mark.skipif(sys.platform != "linux", reason="ending with the parent is a service of Linux")
def test_nothing_outlives_a_demo_that_was_killed(folder: Path):
    home = folder / "home"
    demo = start(home)
    wait_for_books(home, 1).close()
    os.kill(demo.pid, signal.SIGKILL)
    demo.communicate()
    deadline = time.monotonic() + 120
    while processes_of(home) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(home) == []


def test_a_symbol_that_is_not_listed_is_told_and_the_others_go_on(fleet: Run):
    listed = {
        "FLEET_EXCHANGE__USDM_SYMBOLS": "BTCUSDT,PEPEUSDT",
        "FLEET_VENUES__USDM__SYMBOLS": "btcusdt,NOPEUSDT",
    }
    done = fleet("demo", "--for", "3s", "--json", **listed)
    assert done.returncode == 0, done.stdout + done.stderr
    sentence = "NOPEUSDT: not listed by the exchange; the nearest names: PEPEUSDT."
    assert sentence in done.stderr
    assert json.loads(done.stdout)["unlisted"] == [sentence]
    assert "NOPEUSDT" not in json.loads(done.stdout)["problems"]


def test_real_data_in_the_run_directory_is_told_before_anything_starts(fleet: Run, folder: Path):
    (folder / "home" / "redis").mkdir(parents=True)
    (folder / "home" / "redis" / "appendonly.aof").touch()
    done = fleet("demo", "--for", "5s", timeout=60)
    assert done.returncode == 3
    assert "holds real market data" in done.stderr
    assert "starting" not in done.stderr


def test_a_server_that_does_not_start_ends_the_demo_with_the_end_of_its_log(fleet: Run, folder: Path):
    broken = folder / "bin" / "redis-server"
    broken.parent.mkdir()
    broken.write_text(
        "#!/bin/sh\necho 'Redis server v=7.2.0 sha=0'; [ \"$1\" = --version ] || { echo no such luck; exit 1; }\n"
    )
    broken.chmod(0o755)
    done = fleet("demo", "--for", "5s", timeout=80, PATH=f"{broken.parent}:{os.environ['PATH']}")
    assert done.returncode == 3, done.stderr
    assert "redis does not stay up" in done.stderr
    assert "no such luck" in done.stderr
    assert processes_of(folder / "home") == []


def test_a_server_that_was_named_is_used_and_left_as_it_was(fleet: Run, folder: Path, real_server: str):
    client = redis_sync.Redis.from_url(real_server)
    client.flushall()  # the server is this test process's own
    client.set("mine", "kept")
    done = fleet("demo", "--for", "5s", "--json", REDIS_URL=real_server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert client.get("mine") == b"kept"
    assert not (folder / "home" / "redis").exists()
    again = fleet("demo", "--for", "5s", "--json", REDIS_URL=real_server)
    assert again.returncode == 3
    assert "already holds" in again.stderr
    client.flushall()
    client.close()
