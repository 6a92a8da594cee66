"""Which fleet, and whose settings, a command means."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.operations.running import running_fleet
from workers.operations.supervision import Supervisor

VENUE = '[venues.{name}]\nexchange = "binance"\nmarket = "spot"\nsymbols = ["BTCUSDT"]\n'


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A fleet that runs in the home, with the settings file it was started with, and another file."""
    started, other = tmp_path / "started.toml", tmp_path / "other.toml"
    started.write_text(VENUE.format(name="started"))
    other.write_text(VENUE.format(name="other"))
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    monkeypatch.delenv("FLEET_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    environment = {
        "FLEET_HOME": str(tmp_path),
        "FLEET_CONFIG": str(started),
        "FLEET_BOOKS__PUBLISH_MS": "50",
    }
    monkeypatch.setattr(Supervisor, "find", lambda self: 1 if self.home == tmp_path else None)
    monkeypatch.setattr(Supervisor, "environment", lambda self: environment)
    return started, other


@pytest.mark.parametrize("named", [None, "started.toml"])
def test_a_running_fleet_has_the_settings_it_was_started_with(files: tuple[Path, Path], named: str | None):
    effective, supervisor = running_fleet(Path(named) if named else None)
    assert list(effective.settings.venues) == ["started"]
    assert effective.settings.books.publish_ms == 50
    assert supervisor.home == files[0].parent


def test_another_file_named_on_the_command_line_holds(files: tuple[Path, Path]):
    effective, supervisor = running_fleet(files[1])
    assert list(effective.settings.venues) == ["other"]
    assert supervisor.home == files[1].parent


def test_a_demo_below_is_not_meant_by_another_file(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    demo = files[0].parent / "demo"
    monkeypatch.setattr(Supervisor, "find", lambda self: 1 if self.home == demo else None)
    _, supervisor = running_fleet(files[0])
    assert supervisor.home == demo
    effective, supervisor = running_fleet(files[1])
    assert supervisor.home == files[1].parent
    assert list(effective.settings.venues) == ["other"]
