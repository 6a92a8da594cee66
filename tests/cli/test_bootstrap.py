"""`./fleet` on a bare machine: it makes its environment, keeps it up to date, and says what is missing."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fleet_runs import CHECKOUT, copy_checkout, plain_environment

NOBODY = 65_534


def bootstrap(checkout: Path, *arguments: str, cwd: Path, user: list[str] | None = None, **changes: str):
    return subprocess.run(
        [*(user or []), str(checkout / "fleet"), *arguments],
        cwd=cwd,
        env=plain_environment(**changes),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def interpreter_without(module: str, folder: Path) -> Path:
    """A Python that lacks a module, as Debian's does before python3-venv is installed."""
    script = folder / "python-without"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *{module}*) exit 1 ;; esac\nexec {shlex.quote(sys.executable)} "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("with a space") / "check out")


def test_a_python_without_venv_is_named_with_its_cure(checkout: Path, tmp_path: Path):
    script = interpreter_without("ensurepip", tmp_path)
    done = bootstrap(checkout, "config", cwd=tmp_path, FLEET_PYTHON=str(script))
    assert done.returncode == 3
    assert "its venv module is missing" in done.stderr
    assert "-venv (or python3-venv)" in done.stderr
    assert not (checkout / ".venv").exists()


def test_an_interpreter_that_is_none_is_refused(checkout: Path, tmp_path: Path):
    done = bootstrap(checkout, "config", cwd=tmp_path, FLEET_PYTHON="/nowhere/python")
    assert done.returncode == 3
    assert "FLEET_PYTHON is /nowhere/python" in done.stderr


def test_no_python_at_all_is_said(checkout: Path, tmp_path: Path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "readlink", "cksum", "cat", "id", "printf"):
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    done = bootstrap(checkout, "config", cwd=tmp_path, PATH=str(tools))
    assert done.returncode == 3
    assert "no Python 3.11 or newer" in done.stderr
    assert "apt install python3" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_checkout_one_may_not_write_to_is_said(folder: Path):
    target = copy_checkout(folder / "checkout")
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not on this machine")
    done = bootstrap(target, "config", cwd=folder, user=as_nobody)
    assert done.returncode == 3
    assert "is not writable for" in done.stderr


def made(checkout: Path, says: str) -> Path:
    """A checkout whose environment is ready; its command says something."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    for name in ("fleet", "pyproject.toml", "constraints.txt"):
        shutil.copy(CHECKOUT / name, checkout)
    for name in ("python", "fleet"):
        (checkout / ".venv" / "bin" / name).write_text(f"#!/bin/sh\n{says}\n", encoding="utf-8")
        (checkout / ".venv" / "bin" / name).chmod(0o755)
    stamp = "cksum <pyproject.toml; cksum <constraints.txt; pwd -P"
    (checkout / ".venv" / "installed").write_bytes(subprocess.check_output(["sh", "-c", stamp], cwd=checkout))
    return checkout


@pytest.mark.parametrize(
    ("given", "used"), [("C", "C.UTF-8"), ("POSIX", "C.UTF-8"), ("de_DE.UTF-8", "de_DE.UTF-8")]
)
def test_a_locale_without_letters_is_replaced(tmp_path: Path, given: str, used: str):
    checkout = made(tmp_path / "prüfstand", 'echo "$LC_ALL"')
    done = bootstrap(checkout, "config", cwd=tmp_path, LC_ALL=given)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{used}\n", "")


def test_the_help_of_the_tests_needs_none_of_their_packages(tmp_path: Path):
    checkout = made(tmp_path / "checkout", 'echo "$@"')
    for option in ("--help", "-h"):
        done = bootstrap(checkout, "test", option, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"test {option}\n", "")


@pytest.mark.e2e
def test_it_makes_its_environment_once_and_renews_it_when_needed(checkout: Path, tmp_path: Path):
    interrupted = subprocess.Popen(
        [str(checkout / "fleet"), "config"],
        env=plain_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (checkout / ".venv" / "bin").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(interrupted.pid, signal.SIGINT)
    assert interrupted.wait(60) != 0

    real = Path(sys.executable).resolve()
    named = tmp_path / "python3"  # the next release of the system may make another version of it
    named.symlink_to(real)
    first, second = (
        subprocess.Popen(
            [str(checkout / "fleet"), "config", "--json"],
            cwd=tmp_path,
            env=plain_environment(FLEET_PYTHON=str(named)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    told = [process.communicate(timeout=600) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], told
    errors = "".join(error for _, error in told)
    assert errors.count("making") == 1
    for output, _ in told:
        assert json.loads(output)["settings"]["fleet.home"]["value"] == str(checkout.resolve() / "var")
    assert f"home = {real.parent}\n" in (checkout / ".venv" / "pyvenv.cfg").read_text(encoding="utf-8")

    again = bootstrap(checkout, "config", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")

    link = tmp_path / "linked"
    link.symlink_to(checkout / "fleet")
    linked = subprocess.run(
        [str(link), "--version"], capture_output=True, text=True, check=False, env=plain_environment()
    )
    assert (linked.returncode, linked.stderr) == (0, "")

    with (checkout / "constraints.txt").open("a", encoding="utf-8") as constraints:
        constraints.write("# changed\n")
    renewed = bootstrap(checkout, "config", cwd=tmp_path)
    assert renewed.returncode == 0
    assert "up to date" in renewed.stderr
    assert bootstrap(checkout, "config", cwd=tmp_path).stderr == ""

    supervisorctl = [str(checkout / ".venv" / "bin" / "supervisorctl"), "-c", "supervisord.conf"]
    environment = plain_environment()
    status = subprocess.run(
        [*supervisorctl, "status"], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert "ingest-a" in status.stdout, status.stderr
    subprocess.run(
        [*supervisorctl, "shutdown"], cwd=checkout, env=environment, capture_output=True, check=False
    )

    moved = checkout.rename(checkout.with_name("moved check out"))
    noticed = bootstrap(moved, "config", cwd=tmp_path, FLEET_PYTHON="/nowhere/python")
    moved.rename(checkout)
    assert "FLEET_PYTHON is /nowhere/python" in noticed.stderr, "its environment points to the old place"


@pytest.mark.e2e
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_runs_the_demo(folder: Path):
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not on this machine")
    checkout = copy_checkout(folder / "checkout")
    home = folder / "user"
    home.mkdir()
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    reachable = subprocess.run(
        [*as_nobody, "python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"],
        env=plain_environment(HOME=str(home), PATH="/usr/local/bin:/usr/bin:/bin"),
        capture_output=True,
        check=False,
    )
    if reachable.returncode:
        pytest.skip("an ordinary user of this machine has no Python 3.11 with venv")
    done = bootstrap(
        checkout,
        *("demo", "--for", "5s", "--json"),
        cwd=home,
        user=as_nobody,
        HOME=str(home),
        USER=pwd.getpwuid(NOBODY).pw_name,
        PATH="/usr/local/bin:/usr/bin:/bin",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["problems"] == []
    assert (checkout / "var" / "demo" / "log" / "books-0.log").stat().st_uid == NOBODY
