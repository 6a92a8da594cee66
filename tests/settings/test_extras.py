"""Which command installs an extra."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from shlex import split

import pytest

from workers.extras import install_command

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", ["archive", "frames", "postgres", "socks"])
def test_an_extra_is_installed_package_by_package_into_the_running_python(
    extra: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "executable", "/home/a user/.venv/bin/python")
    interpreter, *words = split(install_command(extra))
    assert interpreter == "/home/a user/.venv/bin/python"
    assert words[:3] == ["-m", "pip", "install"]
    declared = PROJECT["optional-dependencies"][extra]
    named = [requirement.partition(">")[0].partition("<")[0] for requirement in words[3:]]
    assert named == [requirement.partition(">")[0] for requirement in declared]
