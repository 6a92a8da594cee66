"""The commands of the README, run as they stand there (other ports and folders) against a demo."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from demo_runs import wait_for_books
from fleet_runs import CHECKOUT, plain_environment

from workers.operations.foreground import free_ports

pytestmark = pytest.mark.e2e
README = (CHECKOUT / "README.md").read_text()
DEMO, PROOF, TEST = "./fleet demo", "./fleet demo --for 20s --json", "./fleet test"


def commands() -> list[str]:
    """What stands behind a prompt in the README's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


class Demo(NamedTuple):
    """A running demo, and what stands for the README's folder and ports."""

    environment: dict[str, str]
    instead: dict[str, str]

    def run(self, command: str) -> str:
        """The output of a command of the README."""
        for written, used in self.instead.items():
            command = command.replace(written, used)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("r")
    api_port = str(free_ports(1)[0])
    environment = plain_environment(
        FLEET_HOME=str(home),
        FLEET_API__PORT=api_port,
        PATH=f"{Path(sys.executable).parent}:{Path(shutil.which('sh') or '/bin/sh').parent}:/usr/bin:/bin",
    )
    command = [sys.executable, "-P", "-m", "workers.cli", "demo"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for_books(home, 6).close()
    yield Demo(environment, {"8081": api_port, "/tmp/demo": str(home)})
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"http://127.0.0.1:{api_port}/" in errors


def test_the_readme_names_the_commands_that_are_tested_elsewhere():
    assert {DEMO, PROOF, TEST} <= set(commands())


@pytest.mark.parametrize("command", [one for one in commands() if one not in (DEMO, PROOF, TEST)])
def test_a_command_of_the_readme_does_what_it_says(demo: Demo, command: str):
    if command.startswith("redis-cli") and shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not on this machine")
    found = demo.run(command)
    assert found.strip(), command
    assert "ERR" not in found
    if "LIVE_ORDERBOOK" in command or "curl" in command or "--json" in command:
        assert "title" not in json.loads(found), found  # no problem document
