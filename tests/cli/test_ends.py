"""How the command ends when somebody has enough: Ctrl-C before it began, a reader that went away."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fleet_runs import plain_environment

from workers.cli import application
from workers.cli import main as entry
from workers.operations.foreground import STOP_SIGNALS, stop_on_signals
from workers.terminal import output


def test_ctrl_c_is_silent_while_the_code_is_loaded(monkeypatch: pytest.MonkeyPatch):
    handlers = []

    class Loading(ModuleType):
        def __getattr__(self, name: str) -> object:
            if name == "main":
                handlers.append(signal.getsignal(signal.SIGINT))
                return lambda: handlers.append(signal.getsignal(signal.SIGINT)) or 7
            raise AttributeError(name)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *numbers)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setitem(sys.modules, "workers.cli.application", Loading("workers.cli.application"))
        monkeypatch.setattr(sys, "argv", ["fleet", "status"])
        with pytest.raises(SystemExit) as ended:
            entry.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 7
    assert handlers == [signal.SIG_DFL, signal.default_int_handler]


def test_ctrl_c_before_a_command_began_ends_with_130(monkeypatch: pytest.MonkeyPatch):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(application, "_register_others", interrupted)
    assert application.main(["config"]) == 130


@pytest.mark.parametrize(
    "command", [["fault", "--kinds"], ["fault", "--kinds", "--json"], ["config", "--json"]]
)
def test_a_reader_that_went_away_is_no_failure(command: list[str]):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.cli", *command],
        env=plain_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, b"")


def redirected(how: str, *command: str) -> subprocess.CompletedProcess[str]:
    """The command as a shell runs it with a stream closed or led elsewhere."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-P", "-m", "workers.cli", *command],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", [["config"], ["config", "--json"], ["conform", "--list"]])
def test_a_closed_stream_is_no_failure(closed: str, command: list[str]):
    done = redirected(closed, *command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["config"], ["config", "--json"]])
def test_an_answer_that_cannot_be_written_is_told(command: list[str]):
    done = redirected(">/dev/full", *command)
    assert (done.returncode, done.stderr) == (3, "What is written: No space left on device.\n")


async def test_a_hang_up_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup starts a command
    try:
        stop_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "command",
    [
        ["config"],
        ["config", "--json"],
        ["demo", "--help"],
        ["fault", "--kinds"],
        ["status"],
        ["doctor", "--offline"],
    ],
)
def test_a_terminal_that_knows_no_letters_but_english_ones_is_no_failure(command: list[str], tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workers.cli", *command],
        env=plain_environment(
            PYTHONIOENCODING="ascii", FLEET_CONFIG="demo.toml", FLEET_HOME=str(tmp_path), COLUMNS="500"
        ),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.stdout.isascii()
    if command[-1] == "--json":
        assert "币安人生USDT" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


def test_what_an_encoding_lacks_is_written_as_json_has_it():
    output.escape_unencodable()
    text = "é币😀\udc80"
    assert json.loads('"' + text.encode("ascii", output.ESCAPED).decode() + '"') == text
