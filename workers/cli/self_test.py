"""`fleet test`: the linters, the type checker and every test, in a checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from workers.cli.output import err
from workers.errors import CommandError
from workers.paths import data_folder, is_checkout

PARALLEL: Final = ("-q", "-n", "2", "--dist", "loadgroup")


def steps(options: Sequence[str]) -> list[tuple[str, list[str]]]:
    """What is run, in order: a name and the module with its arguments.

    Options replace pytest's own here. Without any there are two processes of tests; those that start whole
    fleets are one group, so that they run one after another in one of the two.
    """
    checks = [
        ("ruff check", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("mypy", ["mypy"]),
    ]
    return [*checks, ("pytest", ["pytest", *(options or PARALLEL)])]


def run_tests(options: Sequence[str]) -> int:
    """Run every step up to the first that fails; its exit code.

    Raises:
        CommandError: this is no checkout, or the test tools are not installed.
    """
    if not is_checkout():
        raise CommandError(
            "The tests are in the checkout, not in the installed package: run ./fleet test there."
        )
    if any(find_spec(name) is None for name in ("ruff", "mypy", "pytest", "xdist")):
        raise CommandError("The test tools are not installed: run ./fleet test, or pip install -e '.[test]'.")
    for name, arguments in steps(options):
        err.print(f"fleet test: {name} …", highlight=False)
        code = subprocess.run([sys.executable, "-m", *arguments], cwd=data_folder(), check=False).returncode  # noqa: S603 -- our own tools
        if code:
            err.print(f"fleet test: {name} failed with code {code}.", highlight=False)
            return code
    return 0
