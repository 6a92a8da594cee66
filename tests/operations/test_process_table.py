"""Processes are found and ended by pid: their family, one that hangs, one whose number another process has now."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from workers.operations import process_table
from workers.operations.supervision import Supervisor

CHILD = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); "
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
SLEEP = "print('up', flush=True); time.sleep(300)"


def start(code: str, *more: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code, *more], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def test_a_family_is_the_process_and_what_descends_from_it():
    process = start(CHILD + SLEEP)
    members = process_table.family(process.pid)
    assert [member.parent for member in members[1:]] == [process.pid]
    process_table.send(members, signal.SIGKILL)
    assert process_table.wait_for_end(members, 30) == []


def test_a_later_process_of_the_same_number_is_not_taken_for_the_earlier_one():
    process = start("import time; " + SLEEP)
    (member,) = process_table.family(process.pid)
    assert process_table.is_alive(member)
    assert not process_table.is_alive(member._replace(started="1"))
    process_table.send([member._replace(started="1")], signal.SIGKILL)
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_supervisord_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch):
    home = tmp_path / "a home"
    monkeypatch.setattr("workers.operations.supervision.STOP_WITHOUT_FILES_S", 1.0)
    supervisor = Supervisor(home)
    arguments = [process_table.SUPERVISORD, "-c", str(supervisor.conf)]
    process = start(STUBBORN + CHILD + SLEEP, *arguments)
    members = process_table.family(process.pid)
    assert len(members) == 2
    assert supervisor.find() == process.pid
    began = time.monotonic()
    assert supervisor.stop()
    assert time.monotonic() - began < 60
    assert not [member for member in members if process_table.is_alive(member)]
    assert supervisor.find() is None
    assert not supervisor.stop()
