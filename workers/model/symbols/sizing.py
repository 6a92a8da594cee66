"""What a trade in `trades:{S}:latest` costs in memory, measured: `bench/latest_memory.py` prints it anew."""

from __future__ import annotations

from typing import Final

from workers.model.trades.latest import Member

MEASURED_BYTES: Final[dict[Member, dict[str, int]]] = {
    "json": {"redis": 350, "valkey": 320},
    "packed": {"redis": 158, "valkey": 111},
}
"""Server memory in bytes per member, by form and server, in sets of a million trades (Redis 7.0, Valkey 9.1)."""


def bytes_per_trade(member: Member, server: str = "") -> int:
    """Server memory that one member of the latest set takes, bytes.

    Args:
        member: the setting `trades.member`.
        server: `redis` or `valkey`; anything else gives the larger of the two.
    """
    measured = MEASURED_BYTES[member]
    return measured.get(server, max(measured.values()))
