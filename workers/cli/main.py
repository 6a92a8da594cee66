"""The `fleet` command. `fleet run …`, which supervisord uses, loads none of what only a terminal needs."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:2] == ["run"]:
        from workers.cli.role import main  # noqa: PLC0415 -- saves every worker 20 MB of terminal code

        sys.exit(main(sys.argv[2:]))
    from workers.cli.application import main as terminal  # noqa: PLC0415 -- as above

    sys.exit(terminal())
