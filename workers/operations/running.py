"""The fleet a command is about: the one that runs in the home of the settings, as it was started."""

from __future__ import annotations

import os
from pathlib import Path

from workers.operations.supervision import Supervisor
from workers.settings.loading import Effective, load


def running_fleet(config: Path | None) -> tuple[Effective, Supervisor]:
    """The fleet meant: the one of the settings' home, else a demo's below it, as it was started.

    Its settings are those it was started with, which the environment of this command need not repeat. Where `config`
    names another file than the fleet was started with, that file holds, and a demo below is not meant.
    """
    effective = load(config, os.environ)
    for home in (effective.home, effective.home / "demo"):
        supervisor = Supervisor(home)
        if supervisor.find() is not None:
            started = supervisor.environment()
            if not started:
                return effective, supervisor
            ours = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
            ours.pop("REDIS_URL", None)
            running = load(None, {**ours, **started})
            if config is None or _same(running.file, effective.file):
                return running, supervisor
            if home == effective.home:
                return effective, supervisor
    return effective, Supervisor(effective.home)


def _same(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and one.resolve() == other.resolve()
