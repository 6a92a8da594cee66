"""`fleet conform --json`: every scenario that takes no minutes, on both levels, with real processes."""

from __future__ import annotations

import faulthandler
import json
import subprocess
import sys
from pathlib import Path

import pytest

from workers.conformance.catalogue.all import SCENARIOS
from workers.conformance.fleet.processes import plain_environment

LONGEST_S = 1200
"""What the suite may take; far more than it does on an idle machine with two cores."""


@pytest.mark.e2e
@pytest.mark.xdist_group("conformance")
def test_every_scenario_passes(tmp_path: Path):
    scenarios = [scenario for scenario in SCENARIOS if not scenario.takes_long]
    chosen = [option for scenario in scenarios for option in ("--scenario", scenario.name)]
    faulthandler.cancel_dump_traceback_later()  # the suite may take longer than other tests; its own limit follows
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "workers.cli",
            "conform",
            *chosen,
            "--json",
            "--keep",
            str(tmp_path / "fleet"),
        ],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.stdout, done.stderr[-3000:]
    report = json.loads(done.stdout)
    failed = [
        f"{result['name']} ({result['level']} level): {' '.join(result['problems'])}"
        for result in report["scenarios"]
        if not result["passed"]
    ]
    assert not failed, "\n".join(failed)
    assert done.returncode == 0
    assert {(result["name"], result["level"]) for result in report["scenarios"]} == {
        (scenario.name, level) for scenario in scenarios for level in scenario.levels
    }
