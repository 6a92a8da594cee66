"""The `fleet` command. `fleet run …`, which supervisord uses, loads none of what only a terminal needs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def run() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:2] == ["run"]:
        from workers.operations.role import main  # noqa: PLC0415 -- saves every worker 20 MB of terminal code

        sys.exit(main(sys.argv[2:]))
    _open_closed_streams()
    with _silent_interruption():
        from workers.cli.application import main as terminal  # noqa: PLC0415 -- as above

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _end_as_by_ctrl_c)
    sys.exit(terminal())


def _open_closed_streams() -> None:
    """What is closed is the null device: else what is opened next would be taken for it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w" if number else "r"))


def _end_as_by_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    """So that what was started is ended, and what was made for the time being removed."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script runs us in the background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


@contextmanager
def _silent_interruption() -> Iterator[None]:
    """Meanwhile Ctrl-C ends the process at once: there is nothing to tell but where the import stood."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
