"""Holding programs to a share of a core: each runs for a part of every period and stands still for the rest.

    with Quota(processes.named("books", "trades"), 0.1):
        ...  # each of them gets a tenth of a core

A machine that is too small, a neighbour that is too loud, a container's limit: what they do to a program is that it
stands still again and again, which SIGSTOP and SIGCONT do as well, without any rights.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from workers.conformance.fleet.processes import Program
from workers.errors import WrongArgument

PERIOD_S: Final = 0.2
SHARE: Final = 0.1
"""A tenth of a core."""
LEAST: Final = 0.01


class Quota:
    """Holds programs to a share of a core while it is entered, whichever processes run them then.

    The programs take turns, so that few of them run at the same moment. One that a script has stopped stays so, and
    all others go on when it is over. The beat is kept by a thread: a busy event loop would stretch it.

    Args:
        programs: started or not.
        share: of a core, from 0.01 to 1; 1 lets them run as they like.
        period_s: seconds from one turn of a program to its next.

    Raises:
        WrongArgument: the share is none.
    """

    def __init__(self, programs: Sequence[Program], share: float = SHARE, period_s: float = PERIOD_S) -> None:
        self._shares = dict.fromkeys(programs, _checked(share))
        self._period_s = period_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._shares:
            self._thread = threading.Thread(target=self._keep_time, name="quota", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    @contextlib.contextmanager
    def tightened(self, programs: Sequence[Program], share: float = SHARE) -> Iterator[None]:
        """Hold some of the programs to a smaller share for a while; one that has less already keeps that.

        Raises:
            WrongArgument: the share is none.
        """
        before = {program: self._shares[program] for program in programs}
        self._shares.update({program: min(had, _checked(share)) for program, had in before.items()})
        try:
            yield
        finally:
            self._shares.update(before)

    def _keep_time(self) -> None:
        began, spread_s = time.monotonic(), self._period_s / len(self._shares)
        turns = {program: began + spread_s * place for place, program in enumerate(self._shares)}
        try:
            while not self._over.is_set():
                now = time.monotonic()
                upcoming = min(self._turn(program, turns, now) for program in turns)
                self._over.wait(max(0.0, upcoming - time.monotonic()))
        finally:
            for program in turns:
                program.resume()

    def _turn(self, program: Program, turns: dict[Program, float], now: float) -> float:
        """Let a program run or stand still, as is due now; when that changes (monotonic seconds)."""
        share = self._shares[program]
        if share >= 1:
            program.resume()
            return now + self._period_s
        ends = turns[program] + self._period_s * share
        if turns[program] <= now < ends:
            program.resume()
            return ends
        program.suspend()
        if now >= ends:  # turns that were missed are not made up for: that would be more than the share
            turns[program] += self._period_s * (1 + (now - ends) // self._period_s)
        return turns[program]


def _checked(share: float) -> float:
    if not LEAST <= share <= 1:
        raise WrongArgument(f"A share of a core is a number from {LEAST:g} to 1, not {share:g}")
    return share
