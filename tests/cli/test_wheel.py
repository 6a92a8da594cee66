"""The built wheel, in an environment of its own, far from any checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fleet_runs import CHECKOUT, copy_checkout, plain_environment

pytestmark = pytest.mark.e2e


def call(*command: str | Path, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=plain_environment(**changes),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_wheel_alone_runs_the_demo(folder: Path):
    source = copy_checkout(folder / "source")
    built = call(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", source),
        cwd=folder,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    wheel = next((folder / "dist").glob("*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [path for part in ("lua", "config") for path in (CHECKOUT / part).rglob("*") if path.is_file()]
    for path in [*shipped, CHECKOUT / "supervisord.conf"]:
        assert f"workers/_data/{path.relative_to(CHECKOUT)}" in names
    for path in (CHECKOUT / "workers/api/dashboard/page").iterdir():
        assert f"{path.relative_to(CHECKOUT)}" in names

    elsewhere = folder / "else where"
    elsewhere.mkdir()
    assert call(sys.executable, "-m", "venv", "own", cwd=elsewhere).returncode == 0
    installed = call(
        *("own/bin/python", "-m", "pip", "install", "-q", "-c", CHECKOUT / "constraints.txt", wheel),
        cwd=elsewhere,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    fleet = elsewhere / "own" / "bin" / "fleet"
    shown = call(fleet, "config", "--json", "-c", "demo.toml", cwd=elsewhere)
    assert json.loads(shown.stdout)["settings"]["fleet.home"]["value"] == str(
        elsewhere.resolve() / "var" / "demo"
    )

    done = call(fleet, "demo", "--for", "10s", "--json", cwd=elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["books_equal"] == result["symbols"] >= 8

    refused = call(fleet, "test", cwd=elsewhere)
    assert refused.returncode == 3
    assert "in the checkout" in refused.stderr
