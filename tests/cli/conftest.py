"""A fleet as a user has it: a run directory of its own and a command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet_runs import plain_environment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole fleets run one after another also where tests run in several processes (`--dist loadgroup`)."""
    for item in items:
        if item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fleet-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def fleet(folder: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `fleet …` in a run directory of its own; what still runs there is stopped at the end."""
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
