"""`fleet book`, `trades`, `bars`, `watch`, `tail` as a user types them, and what the shell completes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_sync
from client_world import KEYS, T0, S, World, lay_book
from redis.asyncio import Redis
from test_reads import lay_history
from typer.testing import CliRunner

from workers.cli import application
from workers.cli.application import main

HERE = {"FLEET_CONFIG": "demo.toml"}


@pytest.fixture(scope="module")
def held(real_server: str) -> str:
    """A server that holds a book, fifty trades and a message of a further channel; its URL."""

    async def lay() -> None:
        redis = Redis.from_url(real_server, protocol=2)
        await redis.flushall()  # the server is this test process's own
        world = World(redis)
        await lay_book(world)
        await world.stream(*range(10, 60))
        await world.fold(*range(10, 60))
        await world.stream(*range(10, 2000), symbol="ETHUSDT")
        await redis.xadd(
            KEYS.gaps(S), {"channel": "aggTrade", "from": 3, "to": 4, "reason": "gap", "repaired": "no"}
        )
        candle = {"data": '{"e":"kline","k":{"c":"1.5"}}', "received": 1, "line": "a"}
        await redis.xadd(KEYS.raw(S, "kline_1m"), candle)
        await redis.aclose()

    asyncio.run(lay())
    return real_server


@pytest.fixture
def past(held: str) -> Iterator[None]:
    """The server holds some seconds of a book's past instead; afterwards what it held before."""

    async def lay(make: Callable[[World], Awaitable[object]]) -> None:
        redis = Redis.from_url(held, protocol=2)
        await redis.delete(KEYS.book_checkpoint(S), KEYS.raw(S, "depth"), KEYS.book_top(S))
        await make(World(redis))
        await redis.aclose()

    asyncio.run(lay(lay_history))
    yield
    asyncio.run(lay(lay_book))


def test_the_past(fleet: Callable[..., tuple[int, str, str]], past: None):
    code, said, _ = fleet("history", S, "--json")
    held = json.loads(said)
    assert code == 0
    assert held["seconds_held"] > 5
    assert held["gaps"]
    assert f"{held['seconds_held']} of" in fleet("history", S)[1]
    at = T0 // 1000 + 3
    row = json.loads(fleet("book", S, "--at", str(at * 1000), "--json")[1])
    assert (row["timestamp"], row["bids"]) == (at, [["99", "3"]])
    assert "at 2026-09-22 00:00:03" in fleet("book", S, "--at", "2026-09-22T00:00:03")[1]
    code, _, told = fleet("book", S, "--at", str((T0 // 1000 + 7) * 1000))
    assert (code, "not known" in told) == (3, True)
    span = ("--from", str(at * 1000), "--to", str((at + 4) * 1000))
    rows = json.loads(fleet("history", S, "--price", "99", *span, "--json")[1])["seconds"]
    assert rows[0] == [at, "3"]
    assert rows[4] == [at + 4, None]
    assert fleet("history", S, "--price", "99", *span)[1].splitlines()[4] == "2026-09-22 00:00:07  unknown"
    assert "nothing is held" in fleet("history", "spot:ETHUSDT")[1]
    assert fleet("history", S, "--from", str(at * 1000))[0] == 2


@pytest.fixture
def fleet(
    held: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., tuple[int, str, str]]:
    environment = {**HERE, "REDIS_URL": held, "FLEET_HOME": str(tmp_path_factory.mktemp("h"))}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def test_what_single_orders_would_take(fleet: Callable[..., tuple[int, str, str]]):
    code, _, told = fleet("orders", S)
    assert (code, "those of binance are not followed" in told) == (3, True)


def test_the_book(fleet: Callable[..., tuple[int, str, str]]):
    code, said, _ = fleet("book", "btcusdt", "--json")
    row = json.loads(said)
    assert code == 0
    assert (row["venue"], row["symbol"], row["last_update_id"]) == ("usdm", S, 12)
    assert row["bids"] == [["100.5", "4"], ["99.0", "2"]]
    assert json.loads(fleet("book", f"usdm:{S}", "--depth", "1", "--json")[1])["bids"] == [["100.5", "4"]]
    code, said, _ = fleet("book", S)
    assert code == 0
    assert "update id 12" in said
    assert [word for word in ("100.5", "99.0", "101.0") if word not in said] == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("book", "spot:ETHUSDT"), 3, "not owned"),
        (("book", "kraken:BTCUSDT"), 2, "usdm, spot"),
        (("book", "btc/usdt"), 2, "names no symbol"),
        (("book", "SPOT:ethusdt"), 3, "not owned"),
        (("book", "BTCUSD"), 2, "not followed at usdm; the nearest names: BTCUSDT"),
        (("trades", "spot:ETHUSD"), 2, "not followed at spot; the nearest names: ETHUSDT"),
        (("bars", "NOBODY"), 2, "NOBODY is not followed at usdm"),
        (("history", "NOBODY"), 2, "NOBODY is not followed"),
        (("tail", "NOBODY", "depth"), 2, "is not followed"),
        (("watch", S, "NOBODY"), 2, "is not followed"),
        (("history", S, "--price", "high"), 2, "--price"),
        (("book", S, "--depth", "0"), 2, "--depth"),
        (("trades", S, "--from", "soon"), 2, "2026-11-20T12:00"),
        (("bars", S, "--interval", "2m"), 2, "2m"),
        (("tail", S, "nothing"), 2, "bars:1m"),
        (("watch", S, "--for", "long"), 2, "30s"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    fleet: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], code: int, says: str
):
    found, _, told = fleet(*arguments)
    assert found == code
    assert says in told
    assert "Traceback" not in told


def test_a_symbol_that_was_given_up_can_be_read_while_its_keys_are_held(
    held: str, fleet: Callable[..., tuple[int, str, str]]
):
    with redis_sync.Redis.from_url(held) as redis:
        redis.hset(KEYS.symbol_info("GONEUSDT"), "status", "UNLISTED")
        found = fleet("trades", "GONEUSDT")
        redis.delete(KEYS.symbol_info("GONEUSDT"))
    assert found == (0, "", "No trades of GONEUSDT are held.\n")
    code, _, told = fleet("trades", "GONEUSDT")
    assert (code, "GONEUSDT is not followed" in told) == (2, True)


def test_without_a_server_every_command_says_so(
    fleet: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")
    for arguments in (("book", S), ("trades", S), ("bars", S), ("tail", S, "top"), ("watch", S)):
        code, _, told = fleet(*arguments)
        assert code == 3, arguments
        assert "No fleet answers" in told
        assert "Traceback" not in told


def followed(fleet: Callable[..., tuple[int, str, str]], least: int, *command: str) -> str:
    """What a command says in a while; a longer one where that was too short to say so many lines."""
    for while_s in (1.5, 5, 30):
        code, said, _ = fleet(*command, "--for", f"{while_s}s")
        assert code == 0
        if len(said.splitlines()) >= least:
            break
    return said


def test_trades_held_and_followed(fleet: Callable[..., tuple[int, str, str]]):
    code, said, _ = fleet("trades", S, "--limit", "3", "--json")
    assert code == 0
    assert [row["trade_id"] for row in json.loads(said)["trades"]] == [57, 58, 59]
    code, said, _ = fleet("trades", S, "--from", str(T0 + 37 * 20), "--limit", "2")
    assert [line.split("  ")[1] for line in said.splitlines()] == ["20", "21"]
    assert said.splitlines()[0] == "2026-09-22 00:00:00.740  20  sell  0.250 at 106.50"
    said = followed(fleet, 50, "trades", S, "--from", str(T0), "--follow", "--json")
    assert [json.loads(line)["trade_id"] for line in said.splitlines()] == list(range(10, 60))
    code, said, _ = fleet("trades", S, "--from", str(T0), "--to", str(T0 + 37 * 13), "-f")
    assert (code, len(said.splitlines())) == (0, 3)


def test_bars_held_and_followed(fleet: Callable[..., tuple[int, str, str]]):
    code, said, _ = fleet("bars", S, "--interval", "100ms", "--limit", "4", "--json")
    rows = json.loads(said)["bars"]
    assert code == 0
    assert [row["closed"] for row in rows] == [True, True, True, False]
    assert re.search(
        r"2026-09-22 00:00:02\.100 .* 101\.50 .* 103\.50 .* open", fleet("bars", S, "-i", "100ms")[1]
    )
    said = followed(fleet, 18, "bars", S, "-i", "100ms", "--from", str(T0), "--follow", "--json")
    starts = [json.loads(line)["start_ms"] for line in said.splitlines()]
    assert starts == sorted(starts)
    assert starts[-3:] == [row["start_ms"] for row in rows[:3]]


def test_a_channel_of_the_venue_s_settings_can_be_followed(
    fleet: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = tmp_path / "fleet.toml"
    section = f'[venues.usdm]\nmarket = "usdm"\nsymbols = ["{S}"]\n'
    monkeypatch.setenv("FLEET_CONFIG", str(settings))
    settings.write_text(section)
    code, _, said = fleet("tail", S, "kline_1m", "-n", "1", "--count", "1")
    assert (code, "There is no channel" in said) == (2, True)
    settings.write_text(f'{section}channels = ["kline_1m"]\n')
    code, said, _ = fleet("tail", S, "kline_1m", "-n", "1", "--count", "1")
    assert (code, "e=kline" in said) == (0, True)


@pytest.mark.parametrize(
    ("channel", "says"),
    [
        ("depth", "b=[100.0 x 0]"),
        ("aggTrade", "a=59"),
        ("top", "b=[100.10 x 1.50, 100.00 x 2]"),
        ("gaps", "repaired=no"),
        ("bars:100ms", "trades_count=2"),
    ],
)
def test_every_stream_can_be_followed(fleet: Callable[..., tuple[int, str, str]], channel: str, says: str):
    code, said, _ = fleet("tail", S, channel, "--last", "1", "--count", "1")
    assert (code, len(said.splitlines())) == (0, 1)
    assert says in said
    row = json.loads(fleet("tail", S, channel, "-n", "1", "--count", "1", "--json")[1])
    assert row["id"] in said


def test_followed_from_a_time_and_for_a_while(fleet: Callable[..., tuple[int, str, str]]):
    said = followed(fleet, 10, "tail", S, "aggTrade", "--from", str(T0 + 37 * 50), "--json")
    assert [json.loads(line)["data"]["a"] for line in said.splitlines()] == list(range(50, 60))


def test_who_reads_may_stop_reading(held: str, tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("h")
    tailing = subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.cli", "tail", "ETHUSDT", "aggTrade", "--last", "1990"],
        env={**os.environ, **HERE, "REDIS_URL": held, "FLEET_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert tailing.stdout is not None
    assert tailing.stderr is not None
    try:
        assert b"a=10" in tailing.stdout.readline()
        tailing.stdout.close()  # the rest is more than a pipe holds
        assert tailing.wait(60) == 0
        assert tailing.stderr.read() == b""
    finally:
        tailing.kill()
        tailing.wait()
        tailing.stderr.close()


def test_who_watches_may_stop_reading_too(held: str, tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("h")
    watching = subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.cli", "watch", S],
        env={**os.environ, **HERE, "REDIS_URL": held, "FLEET_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watching.stdout is not None
    watching.stdout.close()
    try:
        _, told = watching.communicate(timeout=60)
        assert (watching.returncode, told) == (0, b"")
    finally:
        watching.kill()
        watching.wait()


def test_watching_elsewhere_than_on_a_terminal_is_lines(fleet: Callable[..., tuple[int, str, str]]):
    said = followed(fleet, 2, "watch", S, "spot:ETHUSDT")
    lines = {line.split("  ")[1]: line for line in said.splitlines()}
    assert "1.50 at 100.10  0.5 at 100.30" in lines[S]
    assert "not owned" in lines["spot:ETHUSDT"]


@pytest.fixture
def terminal(
    held: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    home = tmp_path_factory.mktemp("h")
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        **HERE,
        "REDIS_URL": held,
        "FLEET_HOME": str(home),
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.cli", "watch", S],
        env={**environment, "LINES": "40"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    yield process, ours
    process.kill()
    process.wait()
    os.close(ours)


def on_screen(screen: int, wanted: list[bytes], seconds: float = 40) -> bytes:
    """What the terminal got, once all that is wanted is among it, or the process has ended."""
    seen, deadline = b"", time.monotonic() + seconds
    while not all(word in seen for word in wanted) and time.monotonic() < deadline:
        if select.select([screen], [], [], 0.5)[0]:
            try:
                seen += os.read(screen, 65536)
            except OSError:  # the other end was closed
                break
    return seen


def test_watching_on_a_terminal_is_a_ladder_that_ctrl_c_ends(terminal: tuple[subprocess.Popen[bytes], int]):
    process, screen = terminal
    wanted = [S.encode(), b"100.10", b"100.30", b"spread", "█".encode(), b"Ctrl-C ends"]
    seen = on_screen(screen, wanted)
    assert [word for word in wanted if word not in seen] == []
    process.send_signal(signal.SIGINT)
    rest = on_screen(screen, [b"never written"])
    assert process.wait(60) == 0
    assert b"Traceback" not in rest
    assert b"\x1b[?25h" in rest  # the cursor is shown again


def completed(shell_line: str, environment: dict[str, str]) -> list[str]:
    words = shell_line.split(" ")
    asked = {
        "_FLEET_COMPLETE": "complete_bash",
        "COMP_WORDS": shell_line,
        "COMP_CWORD": str(len(words) - 1),
    }
    application._register_others()
    done = CliRunner().invoke(application.app, [], prog_name="fleet", env={**environment, **asked})
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_symbols():
    assert completed("fleet wat", HERE) == ["watch"]
    assert "--follow" in completed("fleet trades BTCUSDT --f", HERE)
    assert completed("fleet book BTC", HERE) == ["BTCUSDT", "BTCUSDT_261225"]
    assert "spot:PEPEUSDT" in completed("fleet watch BTCUSDT spot", HERE)
    assert completed("fleet bars BTCUSDT --interval 1", HERE) == ["100ms", "1m", "15m", "1h", "1d"]
    assert completed("fleet book BTC", {"FLEET_CONFIG": "no-such-file.toml"}) == []
    assert completed("fleet tail BTCUSDT a", HERE) == ["aggTrade", "audit"]
    assert completed("fleet fault lo", HERE) == ["lose"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(shell: str):
    application._register_others()
    found = CliRunner().invoke(
        application.app, [], prog_name="fleet", env={"_FLEET_COMPLETE": f"source_{shell}"}
    )
    assert found.exit_code == 0
    assert "_FLEET_COMPLETE" in found.stdout
