"""The plugin that makes plain `supervisorctl -c supervisord.conf …` work: it finds or starts supervisord.

supervisorctl calls `make_plugin` before it runs the command, with its own options already read. The plugin
points it at the socket of the run directory in force, starts supervisord there when none answers, and starts
it anew when the environment has changed and nothing runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from workers.errors import CommandError, FleetError, SettingsError
from workers.operations.supervision import Supervisor, inherited, load_for_supervisor
from workers.settings.loading import Effective
from workers.terminal.exit_codes import EXIT_FINE, EXIT_NOT_STARTED, EXIT_SETTINGS

LEAVES_IT_STOPPED: Final = frozenset({"shutdown", "help", "exit", "quit"})
STOPS: Final = frozenset({"stop"})
STARTS: Final = frozenset({"start", "restart"})
JUST_STARTING_S: Final = 5.0
"""How long a supervisord that does not answer may be one that somebody else is just starting."""
BUSY: Final = frozenset({"STARTING", "RUNNING", "BACKOFF", "STOPPING"})


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


class Plugin:
    """What supervisorctl gets; it adds no commands."""

    name = "fleet"


def make_plugin(controller: Any, **_options: str) -> Plugin:
    """Point `controller` at a running supervisord, starting one where the action needs it."""
    action = controller.options.args[0] if controller.options.args else ""
    written = str(controller.options.serverurl)
    try:
        effective, supervisor = load_for_supervisor(os.environ)
        if _started_by_hand(written, supervisor):
            return Plugin()
        controller.options.serverurl = f"unix://{supervisor.socket}"
        if supervisor.pid() is None and not _end_unreachable(supervisor, action):
            if action in STOPS:
                _say("The fleet is not running.")
                sys.exit(EXIT_FINE)
            if action not in LEAVES_IT_STOPPED:
                supervisor.start_daemon(effective, os.environ)
        elif action in STARTS:
            _renew_if_changed(effective, supervisor)
    except SettingsError as error:
        _say(str(error))
        sys.exit(EXIT_SETTINGS)
    except FleetError as error:
        _say(str(error))
        sys.exit(EXIT_NOT_STARTED)
    return Plugin()


def _end_unreachable(supervisor: Supervisor, action: str) -> bool:
    """End a supervisord whose socket or run directory somebody removed, which nothing else can reach.

    Returns whether it answers by now: it was just starting.

    Raises:
        CommandError: something else is wanted of it.
    """
    pid = supervisor.find()
    if pid is None:
        return False
    if action in STOPS | {"shutdown"}:
        supervisor.stop()
        _say("The fleet's socket was gone; everything it had started was ended.")
        sys.exit(EXIT_FINE)
    if action not in LEAVES_IT_STOPPED:
        try:
            supervisor.wait_until_up(JUST_STARTING_S)
        except CommandError:
            raise CommandError(
                f"A fleet runs (supervisord is process {pid}), but its socket {supervisor.socket} is gone or does not "
                "answer: end it with `fleet stop`, then start it anew."
            ) from None
        return True
    return False


def _started_by_hand(written: str, supervisor: Supervisor) -> bool:
    """Whether a supervisord started plainly, without the filled-in copy, answers at the conf's own socket."""
    path = Path(written.removeprefix("unix://"))
    plain = Supervisor(path.parent.parent)
    if path != plain.socket or path == supervisor.socket or not path.exists():
        return False
    return plain.pid() is not None and not plain.environment()


def _renew_if_changed(effective: Effective, supervisor: Supervisor) -> None:
    environment = inherited(os.environ) | {
        "FLEET_HOME": str(supervisor.home),
        "FLEET_CONFIG": str(effective.file),
    }
    before = supervisor.environment()
    if not before or before == environment:
        return
    if any(process["statename"] in BUSY for process in supervisor.processes()):
        changed = sorted(
            name for name in before.keys() | environment if before.get(name) != environment.get(name)
        )
        _say(
            f"The fleet runs with the environment it was started with; {', '.join(changed)} differ now "
            "and take effect after: stop all, start all."
        )
        return
    supervisor.stop()
    supervisor.start_daemon(effective, os.environ)
