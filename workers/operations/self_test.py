"""`fleet test`: the linters, the type checker and every test, in a checkout."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Final

import msgspec

from workers.errors import CommandError
from workers.settings.paths import data_folder, is_checkout
from workers.terminal.output import err

DURATIONS: Final = "var/test-durations.json"
USUAL_S: Final = {
    "ruff check": 2.0, "ruff format": 2.0, "mypy": 60.0, "pytest": 1_200.0, "running demo": 180.0,
    "starved": 900.0, "soak": 640.0,
}  # fmt: skip
"""Seconds on a machine of two cores, until a first run has shown how long it takes here."""
PARALLEL: Final = ("-q", "-n", "3", "--dist", "loadgroup")
"""Most tests of workers wait: three processes keep two cores half busy."""


FULL: Final = "--full"
STARVED: Final = (
    "burst-on-starved-workers", "redis-killed-under-load", "too-little-for-all",
    "stream-dead-on-both-lines", "trades-three-seconds-late",
    "stall-over-minute", "wrong-snapshot", "rubbish-in-every-key", "server-fail-over", "list-with-one-bad-symbol",
    "kill-books", "kill-trades", "zombie-books",
)  # fmt: skip
"""Scenarios that `--full` runs with every worker held to a tenth of a core; what takes long is here only."""
SOAK: Final = ("bench/soak.py", "--minutes", "10", "--symbols", "20", "--rate", "2")


def steps(options: Sequence[str]) -> list[tuple[str, list[str]]]:
    """What is run, in order: a name, and the module or the script with its arguments.

    Options replace pytest's own here. Without any there are three processes of tests; those that start whole
    fleets are one group, so that they run one after another in one of the three. `--full` alone adds what takes longer:
    tests that are marked so, scenarios on starved workers, ten minutes of kills, freezes, starvation and rubbish at
    random, and other examples for the property tests.
    """
    checks = [
        ("ruff check", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("mypy", ["mypy"]),
    ]
    if list(options) != [FULL]:
        return [*checks, ("pytest", ["pytest", *(options or PARALLEL)])]
    starved = ["workers.cli", "conform", "--level", "fleet", "--cpu-share", "0.1"]
    for name in STARVED:
        starved += ["--scenario", name]
    minutes = ["pytest", "-q", "-m", "full"]
    search = [
        "pytest",
        *PARALLEL,
        "--hypothesis-profile=search",
        "tests/model",
        "tests/store",
        "tests/ingest",
    ]
    return [
        *checks,
        ("pytest", ["pytest", *PARALLEL]),
        ("running demo", minutes),
        ("starved", starved),
        ("soak", list(SOAK)),
        ("other examples", search),
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
    took = _durations()
    chosen = [] if list(options) == [FULL] else list(options)
    for name, arguments in steps(options):
        began = time.monotonic()
        err.print(
            f"fleet test: {name} … {expected(took.get(name, USUAL_S.get(name)), chosen)}", highlight=False
        )
        how = [] if arguments[0].endswith(".py") else ["-m"]
        command = [sys.executable, *how, *arguments]
        code = subprocess.run(command, cwd=data_folder(), check=False).returncode  # noqa: S603 -- our own tools
        if code:
            err.print(f"fleet test: {name} failed with code {code}.", highlight=False)
            return code
        if not chosen:
            took[name] = round(time.monotonic() - began, 1)
            _record(took)
    return 0


def expected(seconds: float | None, options: Sequence[str]) -> str:
    """How long a step takes, as far as that is known; of chosen tests it is not."""
    if seconds is None or options:
        return ""
    return f"(about {seconds:.0f} s)" if seconds < 100 else f"(about {seconds / 60:.0f} minutes)"


def _durations() -> dict[str, float]:
    """How long each step took the last time, here."""
    try:
        return msgspec.json.decode((data_folder() / DURATIONS).read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError):
        return {}


def _record(took: Mapping[str, float]) -> None:
    path = data_folder() / DURATIONS
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.encode(dict(took)))
