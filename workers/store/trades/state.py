"""How far the trades fold of a symbol has come, as `trades:{S}:state` says."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.model.trades.fills import Range
from workers.plain_text import plain
from workers.store.keys import Keys
from workers.store.replies import unusable

MOST_DIGITS: Final = 16
"""Of a number of the state; Lua's numbers hold 15 for sure."""
_FIELDS: Final = (
    "last_id",
    "last_trade_time",
    "applied_count",
    "repeated_count",
    "not_market_count",
    "missing_count",
    "late_count",
    "hole_next_id",
    "capped_count",
    "ids_since",
    "ids_after",
    "breaks_count",
)


class TradesState(msgspec.Struct, frozen=True):
    """How far the fold of a symbol has come; the counters are totals since it began."""

    last_id: int = -1
    """The last id applied, passed over or accepted as missing; -1 before the first trade."""
    last_trade_time: int = 0
    """Newest trade time, ms."""
    applied: int = 0
    repeated: int = 0
    not_market: int = 0
    missing: int = 0
    late: int = 0
    hole_next_id: int = 0
    """While a hole waits for repair: the id seen after it; else 0."""
    capped: int = 0
    """Trades taken out of the latest set before their time because it held too many."""
    ids_since: int = 0
    """The ms of the first raw entry with ids that began anew lower; 0: they never did."""
    ids_after: int = 0
    """The newest trade time before that, ms."""
    breaks: int = 0
    """Numbers of the log that are no trades: any number may be missing there."""

    long_windows_lag: bool = False
    """Whether trades are folded that the windows of 5 m and longer do not show yet."""

    @property
    def began_id(self) -> int:
        """The id the fold began with: ids are consecutive, and each since then was counted once.

        Below any id where they began anew lower.
        """
        return self.last_id + 1 - self.applied - self.not_market - self.missing - self.breaks


async def read_state(client: Redis, key: str) -> TradesState:
    """Read a state hash. Cost: one round trip.

    Raises:
        StateUnreadable: it holds something else than numbers.
    """
    pipe: Any = client.pipeline(transaction=False)
    [values] = await pipe.hmget(key, [*_FIELDS, "long_windows"]).execute(raise_on_error=False)
    if (problem := unusable(key, values)) is not None:
        raise problem
    if values[0] is None:
        return TradesState()
    *values, long_windows = values
    found: list[Any] = []
    for name, value in zip(_FIELDS, values, strict=True):
        if value is not None and not (value.isdigit() and len(value) <= MOST_DIGITS):
            raise StateUnreadable(key, f"its {name} is {plain(repr(value[:40]))}")
        found.append(int(value or 0))
    found.append(bool(long_windows) and not long_windows.endswith(b"|"))
    return TradesState(*found)


async def read_fills(client: Redis, keys: Keys, symbol: str) -> Range | None:
    """The first and the last fill of the newest hour's trades; None where that cannot be read. One round trip."""
    pipe: Any = client.pipeline(transaction=False)
    shown = [keys.stats(symbol, interval) for interval in ("1h", "1m")]  # the minute never lags
    for key in shown:
        pipe.hmget(key, ["first_trade_id", "last_trade_id"])
    fills: list[int] = []
    for key, values in zip(shown, await pipe.execute(raise_on_error=False), strict=True):
        if unusable(key, values) is not None:
            return None
        if not all(value and value.isdigit() and len(value) <= MOST_DIGITS for value in values):
            return None
        fills += map(int, values)
    return fills[0], max(fills)
