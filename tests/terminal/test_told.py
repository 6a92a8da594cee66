"""What the command says for people: groups of commands, counts, limits, what is not held or not archived."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fleet_runs import plain_environment

from workers.archive.files import parquet
from workers.cli import application, demo
from workers.errors import ExtraMissing, SettingsError
from workers.operations import self_test
from workers.operations.foreground import ForegroundFleet
from workers.operations.redis_cli import redis_cli_line
from workers.settings.loading import load
from workers.terminal.output import counted
from workers.terminal.saying import say_nothing


def test_every_command_of_the_help_is_in_a_group():
    application._register_others()
    grouped = [name for names in application.PANELS.values() for name in names]
    shown = [command for command in application.app.registered_commands if not command.hidden]
    assert sorted(map(application._name_of, shown)) == sorted(grouped)
    assert all(command.rich_help_panel for command in shown)


@pytest.mark.parametrize(("number", "text"), [(0, "0 warnings"), (1, "1 warning"), (1200, "1,200 warnings")])
def test_one_is_no_plural(number: int, text: str):
    assert counted(number, "warning") == text


def test_the_soft_limit_of_open_files_is_raised():
    code = (
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard));"
        "from workers.operations.open_files import raise_limit;"
        "print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain_environment()
    )
    answer, soft, hard = map(int, told.stdout.split())
    assert answer == soft == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))


def test_nothing_held_is_said_and_the_future_named(capsys: pytest.CaptureFixture[str]):
    say_nothing("trades of BTCUSDT", int(time.time() * 1000) + 86_400_000, None)
    assert "That is in the future." in capsys.readouterr().err
    say_nothing("trades of BTCUSDT", 1_790_000_000_000, 1_790_000_060_000)
    told = capsys.readouterr().err
    assert (
        told == "No trades of BTCUSDT from 2026-09-21 14:13:20.000 until 2026-09-21 14:14:20.000 are held.\n"
    )


def test_an_archive_that_cannot_be_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def missing() -> None:
        raise ExtraMissing("Archives", "pyarrow", "archive")

    monkeypatch.setattr(parquet, "require", missing)
    environ = {"FLEET_HOME": str(tmp_path), "FLEET_ARCHIVE__ENABLED": "true"}
    demo.introduce(ForegroundFleet(Path("demo.toml"), environ))
    told = capsys.readouterr().err
    assert "nothing is archived" in told
    assert "pyarrow" in told
    assert "(starting)" in told


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("redis://example.net:6380/5", "redis-cli -h example.net -p 6380 -n 5 PING"),
        ("unix:///run/a%20b.sock?db=1", "redis-cli -s '/run/a b.sock' -n 1 PING"),
        (
            "rediss://fleet:secret@example.net",
            "redis-cli -h example.net -p 6379 --user fleet --askpass --tls PING",
        ),
        ("redis+sentinel://:secret@one:26379,two/mymaster", ""),
    ],
)
def test_the_line_to_paste_works_with_the_server_in_use_or_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, line: str
):
    fleet = ForegroundFleet(Path("demo.toml"), {"FLEET_HOME": str(tmp_path), "REDIS_URL": url})
    assert redis_cli_line(fleet.effective.settings, fleet.home, "PING") == line
    demo.introduce(fleet)
    told = capsys.readouterr().err
    assert ("redis-cli" in told) == bool(line)
    assert "secret" not in told


def test_a_list_of_words_says_which_there_are():
    with pytest.raises(SettingsError, match="each is one of 'trades', 'bars', 'depth'"):
        load(Path("default.toml"), {"FLEET_ARCHIVE__KINDS": "trades,books"})


def test_the_self_test_says_how_long_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(self_test, "data_folder", lambda: tmp_path)
    assert self_test._durations() == {}
    self_test._record({"pytest": 1234.5})
    assert self_test._durations() == {"pytest": 1234.5}
    assert self_test.expected(1234.5, []) == "(about 21 minutes)"
    assert self_test.expected(12.3, []) == "(about 12 s)"
    assert self_test.expected(12.3, ["-k", "book"]) == ""
