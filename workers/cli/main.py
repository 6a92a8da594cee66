"""The `fleet` command. `fleet run …`, which supervisord uses, loads none of what only a terminal needs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def run() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:2] == ["run"]:
        from workers.operations.role import main  # noqa: PLC0415 -- saves every worker 20 MB of terminal code

        sys.exit(main(sys.argv[2:]))
    with _silent_interruption():
        from workers.cli.application import main as terminal  # noqa: PLC0415 -- as above

    sys.exit(terminal())


@contextmanager
def _silent_interruption() -> Iterator[None]:
    """Meanwhile Ctrl-C ends the process at once: there is nothing to tell but where the import stood."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
