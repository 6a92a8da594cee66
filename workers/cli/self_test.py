"""`fleet test`: the linters, the type checker and every test, in a checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from workers.cli.output import err
from workers.errors import CommandError
from workers.paths import data_folder, is_checkout

SERIAL = "e2e"


def steps(options: Sequence[str]) -> list[tuple[str, list[str]]]:
    """What is run, in order: a name and the module with its arguments.

    With options there is one run of pytest with just these. Without, the tests that start whole fleets come
    last and one at a time, so that they do not take each other's processor.
    """
    checks = [
        ("ruff check", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("mypy", ["mypy"]),
    ]
    if options:
        return [*checks, ("pytest", ["pytest", *options])]
    return [
        *checks,
        ("tests of parts", ["pytest", "-q", "-n", "2", "-m", f"not {SERIAL}"]),
        ("tests of the whole fleet", ["pytest", "-q", "-m", SERIAL]),
    ]


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
