"""How many files, sockets among them, a process may have open."""

from __future__ import annotations

import resource
from typing import Final

WANTED: Final = 65_536
"""More than any role needs; some systems' hard limit is a thousand million, which makes others slow."""


def raise_limit() -> int:
    """Raise the soft limit as far as the hard one allows, up to `WANTED`; what it is then.

    Systems give 1,024 for the sake of programs that use `select`, none of which is ours.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (ValueError, OSError):  # macOS: the kernel's own limit is lower than it says
            return soft
        return most
    return soft
