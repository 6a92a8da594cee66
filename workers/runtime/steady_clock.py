"""The time of day when this process began, carried on by the clock that nobody sets."""

from __future__ import annotations

import time
from typing import Final

_BEGAN_NS: Final = time.time_ns() - time.monotonic_ns()


def steady_ms() -> int:
    """ms since 1970 for whatever is compared within this process.

    It does not jump when somebody sets the machine's clock, and is as wrong as that was when the process began: what
    others shall read is stamped with the time of day, what is shared goes by the server's.
    """
    return (_BEGAN_NS + time.monotonic_ns()) // 1_000_000
