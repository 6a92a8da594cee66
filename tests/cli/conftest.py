"""A fleet as a user has it: a copy of the checkout, a run directory of its own, a command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "var", "dist", "build", "__pycache__", ".*_cache", ".hypothesis", "bootstrap.log"
)


def plain_environment(**changes: str) -> dict[str, str]:
    """Our environment without anything that configures a fleet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
    kept.pop("REDIS_URL", None)
    return {**kept, **changes}


def copy_checkout(target: Path) -> Path:
    """The checkout as a fresh clone would be."""
    shutil.copytree(CHECKOUT, target, ignore=NOT_COPIED, symlinks=True)
    return target


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fleet-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def fleet(folder: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `fleet …` of this checkout in a run directory of its own; what still runs there is stopped at the end."""
    environment = plain_environment(FLEET_HOME=str(folder / "home"))

    def run(*arguments: str, timeout: float = 300, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "workers.cli", *arguments],
            env={**environment, **changes},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    yield run
    run("stop")
